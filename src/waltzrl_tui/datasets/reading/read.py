"""Datasets are read as a stream: a file of any size takes the memory of one line.

Whatever the format, there is a JSONL file to read: the dataset itself, or its copy (`copies`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from waltzrl_tui.datasets.reading.blocks import Block, blocks, parse_block
from waltzrl_tui.datasets.reading.formats import HINT, Format, format_of
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
    "guess",
    "iter_rows",
    "open_dataset",
    "open_index",
    "open_lines",
]

_GUESS_ROWS = 100
_GUESS_BYTES = 4 * 1024 * 1024
_HINT = f'{HINT} A row has a prompt, for example {{"prompt": …, "reply": …}}.'


@dataclass(frozen=True)
class DatasetFile:
    """A user's file and the JSONL file to read it from.

    Attributes:
        path: The file as the user named it.
        copy: None where the file itself is the JSONL file.
    """

    path: Path
    form: Format
    copy: Copy | None

    @classmethod
    def of(cls, path: str | Path, workspace: Workspace | None = None) -> DatasetFile:
        """Find out how to read the file at `path`; a copy is begun where it needs one.

        Args:
            workspace: Where copies are kept; the one that this process works in by default.

        Raises:
            DatasetError: The file cannot be read, or is of no format that is.
        """
        path = Path(path)
        form = format_of(path)
        try:
            return cls(path, form, None if form.plain else copy_of(path, form, _folder(workspace)))
        except OSError as error:
            raise _unreadable(path, error) from error

    def open(self) -> BufferedReader:
        """Its JSONL lines from the start; reading waits for the rest of a copy that still grows.

        Raises:
            DatasetError: It cannot be read.
        """
        try:
            return follow(self.copy) if self.copy else self.path.open("rb")
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def jsonl(self, stop: Callable[[], bool] | None = None) -> Path:
        """The JSONL file, once it is complete (or `stop` is true): for DuckDB. Blocks.

        Raises:
            DatasetError: The copy could not be completed.
        """
        return self.copy.wait(stop) if self.copy else self.path

    def index(self) -> LineIndex:
        """An index of the lines, of a growing copy too; the caller starts and closes it.

        Raises:
            DatasetError: The file cannot be opened.
        """
        return LineIndex(self.path, self.copy)


@dataclass(frozen=True)
class Dataset:
    """A file that was checked to hold at least one row; iterating reads it from the start.

    Attributes:
        path: The file as the user named it.
        corrected: The mapping is the user's, not the guess.
    """

    path: Path
    mapping: Mapping
    source: DatasetFile
    corrected: bool = False

    @property
    def format(self) -> str:
        """`jsonl`, `json`, `csv`, `tsv` or `parquet`, with `.gz` when it is packed."""
        return self.source.form.name

    def __iter__(self) -> Iterator[Row | BadRow]:
        return _rows(self.source, self.mapping)


def open_dataset(
    path: str | Path, mapping: Mapping | None = None, *, workspace: Workspace | None = None
) -> Dataset:
    """Check the file at `path` and find out which fields its rows are made of.

    Every caller goes from a path to rows through here: it tells the format, makes the JSONL copy
    where one is needed, and takes the user's mapping of this file where there is one.

    Args:
        mapping: Which fields to read, instead of the kept or guessed ones.
        workspace: Where copies and mappings are kept; the one that this process works in by
            default.

    Raises:
        DatasetError: Missing, a folder, unreadable, empty, of a format that is not read, binary,
            or without a single usable row.
    """
    path = Path(path)
    source = DatasetFile.of(path, workspace)
    objects = _first(source)
    stored = None if mapping else _stored_mapping(path, objects, workspace)
    chosen = mapping or stored or guess_mapping(objects)
    dataset = Dataset(path, chosen, source, corrected=stored is not None)
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
        mapping: Which fields to read; guessed from the first records when it is not given.

    Raises:
        DatasetError: The file cannot be read.
    """
    source = DatasetFile.of(path)
    return _rows(source, mapping or guess_mapping(_first(source)))


def guess(path: str | Path) -> Mapping:
    """The mapping guessed from the first readable records of the file at `path`.

    Raises:
        DatasetError: The file cannot be read.
    """
    return guess_mapping(first_objects(path))


def first_objects(path: str | Path) -> list[dict[str, Any]]:
    """The first readable records of the file at `path`, up to a hundred, by field.

    Raises:
        DatasetError: The file cannot be read.
    """
    return _first(DatasetFile.of(path))


def open_lines(path: str | Path) -> BufferedReader:
    """The file at `path` as JSONL, whatever its format; reading waits for what is not there yet.

    Raises:
        DatasetError: The file cannot be read.
    """
    return DatasetFile.of(path).open()


def open_index(path: str | Path) -> LineIndex:
    """An index of the file's records, whatever its format; the caller starts and closes it.

    Raises:
        DatasetError: The file cannot be read.
    """
    return DatasetFile.of(path).index()


def countable(path: Path, *, workspace: Workspace | None = None) -> LineIndex | None:
    """An index to count the file's records with; None where that would take a copy first.

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
        raise _unreadable(source.path, error) from error


def _stored_mapping(
    path: Path, objects: list[dict[str, Any]], workspace: Workspace | None
) -> Mapping | None:
    """The user's mapping of this file, unless the file no longer has its fields."""
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


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(
        f"{one_line(str(path))} cannot be read: {error.strerror or error}.",
        hint="Check the path and its permissions.",
    )


def _folder(workspace: Workspace | None) -> Path:
    return (workspace or Workspace.current()).state / "cache" / "datasets"
