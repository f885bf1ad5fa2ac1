"""The files of the workspace's `data/`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from waltzrl_tui.datasets.reading.formats import named_like_data
from waltzrl_tui.datasets.reading.read import countable
from waltzrl_tui.datasets.starter import copy_bundled
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file in `data/`; `rows` is None while they are not counted.

    `bad` is true where it could not be opened.
    """

    path: Path
    size: int
    rows: int | None = None
    bad: bool = False

    @property
    def readable(self) -> bool:
        """Whether it is named like a dataset."""
        return named_like_data(self.path)


def list_files(folder: Path) -> list[DataFile]:
    """The files in `folder`, by name, those that can be read first. Blocks.

    Raises:
        DatasetError: The folder cannot be read.
    """
    try:
        files = [
            DataFile(path, path.stat().st_size)
            for path in folder.iterdir()
            if not path.name.startswith(".")
            # Notes about the data: its README, and where it was pulled from.
            and not path.name.lower().endswith((".md", ".source.json"))
            and path.is_file()
        ]
    except OSError as error:
        raise DatasetError(
            f"{one_line(str(folder))} cannot be read: {error.strerror or error}.",
            hint="Check its permissions.",
        ) from error
    return sorted(files, key=lambda file: (not file.readable, file.path.name.casefold()))


def first_files(folder: Path) -> list[DataFile]:
    """`list_files`, after the bundled dataset is copied there if there is none yet. Blocks.

    Raises:
        DatasetError: The folder cannot be read or written.
    """
    files = list_files(folder)
    if any(file.readable for file in files):
        return files
    copy_bundled(folder)
    return list_files(folder)


def count_rows(path: Path) -> int | None:
    """The rows of the dataset at `path`; None when it cannot be counted. Blocks."""
    try:
        index = countable(path)
        if index is None:
            return None
        with index:
            index.build()
            return index.rows
    except DatasetError:
        return None
