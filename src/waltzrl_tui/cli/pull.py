"""`data pull`, and the mapping that `data profile --map` stores."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import fields
from waltzrl_tui.cli.options import Options
from waltzrl_tui.datasets.reading.mappings import (
    correct_mapping,
    describe_mapping,
    guess_mapping,
    parse_choices,
    stored_mapping,
)
from waltzrl_tui.datasets.reading.read import first_objects, open_dataset
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.words import size

GUESS = "guess"
"""The value of `--map` that goes back to the guess."""


@dataclass(frozen=True, kw_only=True)
class PullOptions(Options):
    """The options of `data pull`."""

    repo: str
    split: str | None
    config: str | None
    revision: str | None
    out: str | None


async def pull(context: Context, options: PullOptions) -> int:
    """`data pull REPO`."""
    from waltzrl_tui.datasets.hub import pull as hub

    def shown(done: int, total: int) -> None:
        # The hub does not always know how large a file is.
        context.out.progress("fetching", done // 1024, max(done, total) // 1024, "KB")

    download = await asyncio.to_thread(
        hub.pull,
        context.workspace,
        options.repo,
        config=options.config,
        split=options.split,
        revision=options.revision,
        name=options.out,
        on_progress=shown,
    )
    document: dict[str, Any] = {**download.to_json(), "format": "", "mapping": None}
    try:
        dataset = await asyncio.to_thread(open_dataset, download.path)
    except DatasetError as error:
        # The file stays; the user may know which field is what.
        mapping = f"{error.message} {error.hint}"
    else:
        mapping = describe_mapping(dataset.mapping)
        document |= {"format": dataset.format, "mapping": dataset.mapping.to_json()}
    many, commit = len(download.files), download.revision[:12]
    shown_fields = [
        ("file", str(download.path)),
        ("from", f"{download.repo}, {download.config}, {download.split}, commit {commit}"),
        ("size", size(download.bytes) + (f", merged from {many:,} files" if many > 1 else "")),
        ("licence", download.licence or "not stated: see the dataset's page"),
        ("fields", mapping),
        ("not downloaded", ", ".join(download.others)),
    ]
    context.out.result(document, fields(shown_fields))
    return 0


async def store_mapping(context: Context, path: str, text: str) -> None:
    """Store the user's mapping of the fields of the file at `path`; `guess` drops it.

    Raises:
        UsageError: The text is not a mapping, or names a field that the file does not have.
        DatasetError: The file cannot be read.
    """
    if text.strip() == GUESS:
        async with context.store() as store:
            await store.mappings.clear(path)
        return
    choices = parse_choices(text)
    objects = await asyncio.to_thread(first_objects, path)
    async with context.store() as store:
        before = stored_mapping(await store.mappings.get(path), objects)
        mapping = correct_mapping(before or guess_mapping(objects), choices, objects)
        await store.mappings.set(path, mapping.to_json())
