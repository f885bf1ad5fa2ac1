"""Fetch the files of a hub dataset: resume, verify, and join them into one file."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from waltzrl_tui.datasets.reading.formats import format_of
from waltzrl_tui.datasets.reading.to_jsonl import jsonl_lines
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line
from waltzrl_tui.words import size

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo

Progress = Callable[[int, int], None]
"""Called with the bytes fetched so far and all of them."""

TIMEOUT = 30.0
"""Seconds to wait for an answer other than a file."""
_SPARE = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PulledFile:
    """One file of the dataset; `sha256` is that of the fetched bytes."""

    name: str
    bytes: int
    sha256: str


def check_space(folder: Path, needed: int, repo: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DatasetError(
            f"{repo} needs {size(needed)}, and only {size(free)} are free in {folder}.",
            hint="Free some space, or choose another workspace with --home DIR.",
        )


class FetchProgress:
    """Adds up the bytes fetched, over all files."""

    def __init__(self, on_progress: Progress | None, total: int) -> None:
        self._on_progress = on_progress
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        if self._on_progress:
            self._on_progress(self._done, self._total)

    def bar(self) -> type:
        """A progress bar class for the client that reports here instead of drawing."""
        progress = self

        class Bar:
            def __init__(self, *, initial: int = 0, **_: Any) -> None:
                progress.add(initial)

            def update(self, n: float | None = 1) -> None:
                progress.add(int(n or 0))

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

        return Bar


def fetch(
    api: HfApi, repo: str, commit: str, file: str, target: Path, progress: FetchProgress
) -> None:
    """Fetch one file, from where an earlier call stopped.

    The client's own `hf_hub_download` discards an incomplete file when it is stopped, so only
    its building blocks are used.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if target.exists():
        progress.add(target.stat().st_size)
        return
    url = hf_hub_url(repo, file, repo_type="dataset", revision=commit, endpoint=api.endpoint)
    metadata = api.get_hf_file_metadata(url=url, timeout=TIMEOUT)
    headers = build_hf_headers(library_name="waltzrl-tui")
    if urlsplit(metadata.location).netloc != urlsplit(url).netloc:
        # Storage elsewhere takes a signed address and must not see the token.
        headers.pop("authorization", None)
    part = target.with_name(f"{target.name}.part")
    if part.exists() and part.stat().st_size > (metadata.size or 0):
        part.unlink()
    with part.open("ab") as out:
        http_get(
            metadata.location,
            out,
            resume_size=out.tell(),
            headers=headers,
            expected_size=metadata.size,
            displayed_filename=file,
            tqdm_class=cast("Any", progress.bar()),
        )
    part.replace(target)


def verify(info: DatasetInfo, files: Sequence[PulledFile], staging: Path) -> None:
    known = {file.rfilename: file.lfs for file in info.siblings or []}
    for file in files:
        lfs = known.get(file.name)
        if lfs is not None and lfs.sha256 != file.sha256:
            shutil.rmtree(staging, ignore_errors=True)
            raise DatasetError(
                f"{one_line(file.name)} was damaged in transit: its SHA-256 is not the hub's.",
                hint="Pull it again.",
            )


def put(fetched: Sequence[Path], target: Path, staging: Path) -> str:
    """Join the fetched files into `target`, whole or not at all, and return its SHA-256."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        if len(fetched) == 1:
            shutil.copyfile(fetched[0], part)
        else:
            with part.open("wb") as out:
                for path in fetched:
                    for line in jsonl_lines(path, format_of(path), lambda _: None, staging):
                        out.write(line + b"\n")
        part.chmod(0o600)
        digest = sha256_of(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return digest


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
