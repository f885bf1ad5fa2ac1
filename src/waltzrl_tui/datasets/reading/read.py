"""Read datasets as streams: a file of any size takes the memory of one block.

Whatever the format, the file that is read is JSONL: the dataset itself or its copy (`jsonl_cache`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from waltzrl_tui.datasets.reading.blocks import Block, blocks, parse_block
from waltzrl_tui.datasets.reading.formats import HINT, Format, format_of, unreadable
from waltzrl_tui.datasets.reading.jsonl_cache import Copy, copy_of, follow, has_copy
from waltzrl_tui.datasets.reading.line_index import LineIndex
from waltzrl_tui.datasets.reading.mappings import guess_mapping, stored_mapping
from waltzrl_tui.datasets.reading.parse import MAX_LINE, BadLine, bad_row, reader_of
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.store.mappings import kept_mapping
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

__all__ = [
    "MAX_LINE",
    "Dataset",
    "DatasetFile",
    "countable",
    "first_objects",
    "iter_rows",
    "open_dataset",
    "open_lines",
]

_GUESS_ROWS = 100
_GUESS_BYTES = 4 * 1024 * 1024
_HINT = f'{HINT} A row has a prompt, for example {{"prompt": …, "reply": …}}.'


@dataclass(frozen=True)
class DatasetFile:
    """A user's file and the JSONL file that stands in for it.

    Attributes:
        path: As the user gave it.
        copy: None where the file itself is the JSONL file.
    """

    path: Path
    form: Format
    copy: Copy | None

    @classmethod
    def of(cls, path: str | Path, workspace: Workspace | None = None) -> DatasetFile:
        """Detect the format of the file at `path`; starts its copy where one is needed.

        Args:
            workspace: Owns the copies; the process's current one by default.

        Raises:
            DatasetError: The file cannot be read, or its format is not supported.
        """
        path = Path(path)
        form = format_of(path)
        try:
            return cls(path, form, None if form.plain else copy_of(path, form, _folder(workspace)))
        except OSError as error:
            raise unreadable(path, error) from error

    def open(self) -> BufferedReader:
        """Its JSONL lines from the start; reading waits for a copy that is still growing.

        Raises:
            DatasetError: It cannot be read.
        """
        try:
            return follow(self.copy) if self.copy else self.path.open("rb")
        except OSError as error:
            raise unreadable(self.path, error) from error

    def jsonl(self) -> Path:
        """The JSONL file, once it is complete. Blocks.

        Raises:
            DatasetError: The copy could not be completed.
        """
        return self.copy.wait() if self.copy else self.path

    def index(self) -> LineIndex:
        """An index of the lines, of a growing copy too; the caller starts and closes it.

        Raises:
            DatasetError: The file cannot be opened.
        """
        return LineIndex(self.path, self.copy)


@dataclass(frozen=True)
class Dataset:
    """A file with at least one row; iterating reads it from the start.

    Attributes:
        path: As the user gave it.
    """

    path: Path
    mapping: Mapping
    source: DatasetFile

    @property
    def format(self) -> str:
        """`jsonl`, `json`, `csv`, `tsv` or `parquet`, with `.gz` when it is packed."""
        return self.source.form.name

    def __iter__(self) -> Iterator[Row | BadRow]:
        return _rows(self.source, self.mapping)


def open_dataset(
    path: str | Path, mapping: Mapping | None = None, *, workspace: Workspace | None = None
) -> Dataset:
    """Open the file at `path`: detect its format, find its mapping, and check for a row.

    The user's stored mapping of this file takes precedence over the guess.

    Args:
        mapping: Used instead of the stored or guessed one.
        workspace: Owns copies and stored mappings; the process's current one by default.

    Raises:
        DatasetError: Missing, a folder, unreadable, empty, of an unsupported format, binary, or
            without a usable row.
    """
    path = Path(path)
    source = DatasetFile.of(path, workspace)
    objects = _first(source)
    chosen = mapping or _stored_mapping(path, objects, workspace) or guess_mapping(objects)
    dataset = Dataset(path, chosen, source)
    first_bad: BadRow | None = None
    bad = 0
    for row in dataset:
        if isinstance(row, Row):
            return dataset
        bad += 1
        first_bad = first_bad or row
        if chosen.shape == "unknown":
            break  # no later line can be a row either, and the file may be huge
    raise _no_row(dataset, first_bad, bad)


def iter_rows(path: str | Path, mapping: Mapping | None = None) -> Iterator[Row | BadRow]:
    """Every record of the file at `path`, in order, as a row or as a bad row.

    Args:
        mapping: Guessed from the first records by default.

    Raises:
        DatasetError: The file cannot be read.
    """
    source = DatasetFile.of(path)
    return _rows(source, mapping or guess_mapping(_first(source)))


def first_objects(path: str | Path) -> list[dict[str, Any]]:
    """The first readable records of the file at `path`, up to a hundred.

    Raises:
        DatasetError: The file cannot be read.
    """
    return _first(DatasetFile.of(path))


def open_lines(path: str | Path) -> BufferedReader:
    """The file at `path` as JSONL, whatever its format; reading waits for a growing copy.

    Raises:
        DatasetError: The file cannot be read.
    """
    return DatasetFile.of(path).open()


def countable(path: Path, *, workspace: Workspace | None = None) -> LineIndex | None:
    """An index to count the file's records with; None where that needs a copy first.

    Raises:
        DatasetError: The file cannot be read.
    """
    form = format_of(path)
    if form.plain:
        return LineIndex(path)
    return (
        DatasetFile.of(path, workspace).index()
        if has_copy(path, form, _folder(workspace))
        else None
    )


def _rows(source: DatasetFile, mapping: Mapping) -> Iterator[Row | BadRow]:
    row_of = reader_of(mapping).row
    for block in _blocks(source):
        line = block.first + 1
        for place, value in parse_block(block):
            if isinstance(value, BadLine):
                yield bad_row(line + place, value)
                continue
            try:
                row: Row | BadRow = row_of(line + place, value)
            except BadLine as reason:
                row = bad_row(line + place, reason)
            yield row


def _first(source: DatasetFile) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = []
    read = 0
    for block in _blocks(source):
        for _, value in parse_block(block):
            if not isinstance(value, BadLine):
                objects.append(value)
            if len(objects) >= _GUESS_ROWS:
                return objects
        read += len(block.raw)
        if read >= _GUESS_BYTES:
            break
    return objects


def _blocks(source: DatasetFile) -> Iterator[Block]:
    try:
        with closing(source.open()) as file:
            yield from blocks(file, limit=MAX_LINE)
    except OSError as error:
        raise unreadable(source.path, error) from error


def _stored_mapping(
    path: Path, objects: list[dict[str, Any]], workspace: Workspace | None
) -> Mapping | None:
    """The user's mapping of this file, if the file still has its fields."""
    place = workspace or Workspace.current()
    return stored_mapping(kept_mapping(place.store_path, path), objects)


def _no_row(dataset: Dataset, first_bad: BadRow | None, bad: int) -> DatasetError:
    name = one_line(str(dataset.path))
    if first_bad is None:
        kind = dataset.source.form.kind
        contents = {"jsonl": "only blank lines", "csv": "only a header"}
        return DatasetError(f"{name} contains {contents.get(kind, 'no records')}.", hint=_HINT)
    plain = dataset.source.form.plain
    what, where = ("lines", "line") if plain else ("records", "record")
    if dataset.mapping.shape == "unknown":
        how_many = ""
        hint = _HINT if plain else "Name the fields, for example: data profile PATH --map prompt=…"
    else:
        how_many = f"all {bad:,} {what} are bad; "
        hint = _HINT
    if first_bad.kind == "encoding":
        hint = "Save it as UTF-8, for example: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
    return DatasetError(
        f"{name} has no usable rows: {how_many}{where} {first_bad.line}: {first_bad.reason}.",
        hint=hint,
    )


def _folder(workspace: Workspace | None) -> Path:
    return (workspace or Workspace.current()).state / "cache" / "datasets"
