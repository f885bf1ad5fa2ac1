"""`data pull`, and the mapping that `data profile --map` keeps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import fields
from waltzrl_tui.cli.options import Options
from waltzrl_tui.datasets.reading.mappings import (
    corrected,
    guess_mapping,
    in_words,
    parse_choices,
    usable_mapping,
)
from waltzrl_tui.datasets.reading.read import first_objects, open_dataset
from waltzrl_tui.errors import DatasetError

GUESS = "guess"
"""What `--map` is given to go back to the guess."""


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

    found = await asyncio.to_thread(
        hub.pull,
        context.workspace,
        options.repo,
        config=options.config,
        split=options.split,
        revision=options.revision,
        name=options.out,
        on_progress=shown,
    )
    document: dict[str, Any] = {**found.to_json(), "format": "", "mapping": None}
    try:
        dataset = await asyncio.to_thread(open_dataset, found.path)
    except DatasetError as error:
        # It was pulled all the same; the user may know which field is what.
        mapping = f"{error.message} {error.hint}"
    else:
        mapping = in_words(dataset.mapping)
        document |= {"format": dataset.format, "mapping": dataset.mapping.to_json()}
    many = len(found.files)
    shown_fields = [
        ("file", str(found.path)),
        ("from", f"{found.repo}, {found.config}, {found.split}, commit {found.revision[:12]}"),
        ("size", _size(found.bytes) + (f", {many:,} files made one" if many > 1 else "")),
        ("licence", found.licence or "not told: look at the set's page"),
        ("fields", mapping),
        ("not taken", ", ".join(found.others)),
    ]
    context.out.result(document, fields([each for each in shown_fields if each[1]]))
    return 0


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.1f} KB"


async def keep_mapping(context: Context, path: str, text: str) -> None:
    """Keep what the user says about the fields of the file at `path`; `guess` forgets it.

    Raises:
        UsageError: The text is no mapping, or names a field that the file does not have.
        DatasetError: The file cannot be read.
    """
    if text.strip() == GUESS:
        async with context.store() as store:
            await store.mappings.clear(path)
        return
    choices = parse_choices(text)
    objects = await asyncio.to_thread(first_objects, path)
    async with context.store() as store:
        before = usable_mapping(await store.mappings.get(path), objects)
        mapping = corrected(before or guess_mapping(objects), choices, objects)
        await store.mappings.set(path, mapping.to_json())
