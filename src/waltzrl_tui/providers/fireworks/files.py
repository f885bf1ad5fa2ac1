"""Files to and from Fireworks: datasets under their hash, metrics and logs read as they grow."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO, Final

from waltzrl_tui.network import async_transport, transport
from waltzrl_tui.providers.errors import InvalidRequestError, MissingError, UnavailableError
from waltzrl_tui.providers.file_stream import sent_file
from waltzrl_tui.providers.protocol import Progress, RemoteMetric, TrainingUpload
from waltzrl_tui.providers.sdk_errors import of_status, translating, without_keys

_TITLE: Final = "Fireworks"
_DIRECT_BYTES: Final = 150_000_000
"""Files above go through a signed address (limit of the vendor's documentation)."""

_PIECE_BYTES: Final = 1 << 18
_TAIL_BYTES: Final = 16 << 20
_CHECK_SECONDS: Final = 1.5
_CHECKS: Final = 400
_SECONDS: Final = 60.0

_LOSS: Final = ("train/loss", "loss")
# The vendor documents no name for the loss of the evaluation dataset: the usual ones.
_VALID_LOSS: Final = ("eval/loss", "val/loss", "validation/loss", "eval_loss")
_RATE: Final = ("train/lr", "train/learning_rate", "learning_rate")
_EPOCH: Final = ("train/epoch", "epoch")


def dataset_id(sha256: str) -> str:
    """The id of the dataset that holds the file of this hash: known again without a list."""
    return f"waltzrl-{sha256[:32]}"


async def send_dataset(api: Any, sync: Any, file: TrainingUpload, progress: Progress) -> None:
    """Make the file's dataset, fill it and wait until it is ready; nothing where it is so already.

    Args:
        api: The vendor's asynchronous client.
        sync: Its synchronous one, used and closed in a thread: it reads the file as it sends.

    Raises:
        InvalidRequestError: The file was refused; `words` has the reason.
    """
    name = dataset_id(file.sha256)
    try:
        async with translating(_TITLE):
            state = str((await api.datasets.get(name)).state)
    except MissingError:
        state = await _create_dataset(api, name, file)
    if state == "READY":
        return
    async with translating(_TITLE, effect=True):
        with sent_file(file.path, progress) as content:
            await asyncio.to_thread(_send, sync, name, file, content)
    await _checked(api, name)


async def _create_dataset(api: Any, name: str, file: TrainingUpload) -> str:
    try:
        async with translating(_TITLE, effect=True):
            dataset = await api.datasets.create(
                dataset_id=name,
                dataset={
                    "display_name": file.name[:60],
                    "example_count": str(file.rows),
                    "user_uploaded": {},
                },
            )
            return str(dataset.state)
    except InvalidRequestError as error:
        if not is_duplicate(error):
            raise
        return "UPLOADING"  # another process was a moment faster


def _send(sync: Any, name: str, file: TrainingUpload, content: BinaryIO) -> None:
    with sync as client:
        if file.bytes <= _DIRECT_BYTES:
            client.datasets.upload(name, file=(file.name, content))
            return
        places = client.datasets.get_upload_endpoint(
            name, filename_to_size={file.name: str(file.bytes)}
        )
        _put((places.filename_to_signed_urls or {})[file.name], content, file.bytes)
        client.datasets.validate_upload(name, body={})


def _put(url: str, content: BinaryIO, size: int) -> None:
    import httpx2

    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        # Part of what the vendor signs: the store takes this many bytes and no others.
        "x-goog-content-length-range": f"{size},{size}",
    }
    pieces = iter(lambda: content.read(_PIECE_BYTES), b"")
    try:
        # A client of its own: the signature is the permission, the key is not sent.
        with httpx2.Client(timeout=_SECONDS, transport=transport(httpx2)) as client:
            answer = client.put(url, content=pieces, headers=headers)
    except httpx2.HTTPError as error:
        raise UnavailableError(
            f"The upload to {_TITLE} was interrupted.", words=without_keys(str(error)), sent=True
        ) from error
    if answer.status_code == 403:
        raise UnavailableError(
            "The upload address has expired; a new one is requested.",
            words=without_keys(answer.text),
        )
    if not answer.is_success:
        raise of_status(answer.status_code, answer.text, _TITLE, effect=True)


async def _checked(api: Any, name: str) -> None:
    for _ in range(_CHECKS):
        async with translating(_TITLE):
            dataset = await api.datasets.get(name)
        if dataset.state == "READY":
            return
        if dataset.status is not None and dataset.status.code not in (None, "OK"):
            raise InvalidRequestError(
                f"{_TITLE} refused the training file.",
                words=str(dataset.status.message or dataset.status.code),
                hint="Correct those rows, or leave them out, and launch again.",
            )
        await asyncio.sleep(_CHECK_SECONDS)
    raise UnavailableError(f"{_TITLE} did not finish checking the file.")


def is_duplicate(error: InvalidRequestError) -> bool:
    """Whether it was refused because something of this id is there already."""
    status = getattr(error.__cause__, "status_code", None)
    return status == 409 or "already exists" in error.words.lower()


async def read_tail(url: str, offset: int, *, ended: bool) -> tuple[str, int]:
    """The lines that were added to a file behind a signed address, and how far was read.

    A file that is not there yet, or cannot be had now, has nothing new: the job itself is seen
    all the same. At most 16 MiB come at once.

    Args:
        offset: Bytes that were read before.
        ended: Nothing is added any more: a last line without a line end is whole.
    """
    import httpx2

    # Not compressed: a range of what is sent must be one of the file.
    headers = {"Range": f"bytes={offset}-{offset + _TAIL_BYTES - 1}", "Accept-Encoding": "identity"}
    try:
        async with httpx2.AsyncClient(
            timeout=_SECONDS, transport=async_transport(httpx2)
        ) as client:
            answer = await client.get(url, headers=headers)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return "", offset
    if answer.status_code == 206:
        content = answer.content
    elif answer.status_code == 200:
        content = answer.content[offset:]
    else:
        return "", offset
    end = len(content) if ended else content.rfind(b"\n") + 1
    return content[:end].decode("utf-8", "replace"), offset + end


def metrics_of(lines: str) -> list[RemoteMetric]:
    """The figures of a metrics file, one row a step.

    JSON lines with `step` and the figures beside it or, in older files, in `data`. The vendor
    does not document it: these are the shapes that users of the API have published. What is
    not such a line is left out.
    """
    steps: dict[int, dict[str, float | None]] = {}
    for line in lines.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict):
            continue
        data = row["data"] if isinstance(row.get("data"), dict) else row
        step = _first(row, ("step",))
        if step is None:
            continue
        known = steps.setdefault(int(step), {})
        for field, names in (
            ("loss", _LOSS),
            ("valid_loss", _VALID_LOSS),
            ("learning_rate", _RATE),
            ("epoch", _EPOCH),
        ):
            if (value := _first(data, names)) is not None:
                known[field] = value
    return [
        RemoteMetric(
            step,
            loss=known.get("loss"),
            valid_loss=known.get("valid_loss"),
            epoch=known.get("epoch"),
            learning_rate=known.get("learning_rate"),
        )
        for step, known in sorted(steps.items())
        if known
    ]


def _first(data: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = data.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None
