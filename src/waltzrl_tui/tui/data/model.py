"""The Data screen without Textual: the files, the open dataset, and its mapping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.datasets.data_folder import DataFile, first_files, list_files
from waltzrl_tui.datasets.query.search import export_bad_rows
from waltzrl_tui.datasets.reading.mappings import guess_mapping
from waltzrl_tui.datasets.reading.parse import BadLine, parse_object
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.datasets.sampling.recipe import SampleRecipe
from waltzrl_tui.datasets.sampling.sampling import SampleCounts
from waltzrl_tui.datasets.starter import STARTER
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.store import Store
from waltzrl_tui.tui.shell.background import in_thread
from waltzrl_tui.tui.tables.pages import OpenDataset
from waltzrl_tui.workspace import Workspace

AUTOMATIC: Final = 32 * 1024 * 1024
"""Bytes up to which a dataset is profiled and its sample counted without a key press: a second or
two of one core."""

_HEAD: Final = 100


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """The sample in the form, and its size.

    Attributes:
        counts: None when not known.
        roles: The agents that it can train, as far as is known.
    """

    recipe: SampleRecipe
    counts: SampleCounts | None = None
    roles: tuple[Role, ...] = ROLES


@dataclass(frozen=True, slots=True)
class FileHead:
    """The first lines of a dataset, the objects among them, and the mapping guessed from these."""

    lines: Sequence[bytes]
    objects: Sequence[dict[str, Any]]
    guess: Mapping


class DataModel:
    """The files of a workspace and the one dataset that is open.

    Attributes:
        path: The file that is open, or that failed to open.
        dataset: Its rows; None while it opens and when it cannot be opened.
    """

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self.path: Path | None = None
        self.dataset: OpenDataset | None = None
        self._store = store
        self._workspace = workspace

    async def find_files(self) -> tuple[list[DataFile], Path | None]:
        """The files, and the one to open first: the bundled dataset where it is there.

        Raises:
            DatasetError: The folder cannot be read or written.
        """
        files = await asyncio.to_thread(first_files, self._workspace.data)
        by_name = {file.path.name: file.path for file in files}
        return files, by_name.get(STARTER) or next((file.path for file in files), None)

    async def look_again(self) -> tuple[list[DataFile], Path | None]:
        """The files as they are now, and the one to open because the open one has changed.

        Raises:
            DatasetError: The folder cannot be read.
        """
        files = await asyncio.to_thread(list_files, self._workspace.data)
        dataset, path = self.dataset, self.path
        if dataset is not None and not await asyncio.to_thread(dataset.index.changed):
            return files, None
        if path is None or all(file.path != path for file in files):
            path = next((file.path for file in files), path)
        return files, path

    async def open(self, path: Path) -> None:
        """Close the open dataset and open the one at `path`.

        Raises:
            DatasetError: It cannot be read, or has no usable row.
        """
        self.path = path
        await self.close()
        self.dataset = await in_thread(lambda stop: _open(path, stop))

    async def close(self) -> None:
        """Close the open dataset, if there is one."""
        dataset, self.dataset = self.dataset, None
        if dataset is not None:
            await asyncio.to_thread(dataset.close)

    async def read_head(self, dataset: OpenDataset) -> FileHead:
        """What a mapping is guessed from."""
        lines, objects = await asyncio.to_thread(_read_head, dataset)
        return FileHead(lines, objects, guess_mapping(objects))

    async def set_mapping(self, dataset: OpenDataset, mapping: Mapping, guess: Mapping) -> None:
        """Store the user's mapping, or forget it where it is what would be guessed anyway.

        Raises:
            StoreError: It cannot be stored.
        """
        if mapping == guess:
            await self._store.mappings.clear(dataset.path)
        else:
            await self._store.mappings.set(dataset.path, mapping.to_json())

    async def export_bad(self, dataset: OpenDataset) -> tuple[int, Path]:
        """Write the bad rows to a file in the workspace: their number, and the file.

        Raises:
            DatasetError: One of the files cannot be read or written.
        """
        target = self._workspace.home / f"{dataset.path.name}.bad.jsonl"
        count = await in_thread(
            lambda stop: export_bad_rows(dataset.path, dataset.mapping, target, stop=stop)
        )
        return count, target


def _read_head(dataset: OpenDataset) -> tuple[list[bytes], list[dict[str, Any]]]:
    lines = [line for line in dataset.index.page(0, _HEAD) if line.strip()]
    objects = []
    for line in lines:
        try:
            objects.append(parse_object(line))
        except BadLine:
            continue
    return lines, objects


def _open(path: Path, stop: Callable[[], bool]) -> OpenDataset | None:
    """The dataset at `path`, closed again when nobody waits for it any more."""
    dataset = OpenDataset(path)
    if stop():
        dataset.close()
        return None
    return dataset
