"""Datasets are read as a stream: a file of any size takes the memory of one line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from waltzrl_tui.datasets.parse import BadLine, parse_object, parse_row
from waltzrl_tui.datasets.rows import BadRow, Mapping, Row, guess_mapping
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

MAX_LINE = 8 * 1024 * 1024
"""Bytes; a longer line is a bad row, so that one runaway line cannot fill the memory."""

_HEAD = 64 * 1024
_GUESS_ROWS = 100
_GUESS_BYTES = 4 * 1024 * 1024
_OTHER_FORMATS = {
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".gz": "gzip",
    ".zip": "zip",
    ".zst": "Zstandard",
    ".xlsx": "Excel",
    ".arrow": "Arrow",
}
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"ARROW1": "Arrow",
}
_JSONL_HINT = 'JSONL is read: one JSON object a line, for example {"prompt": …, "reply": …}.'


@dataclass(frozen=True)
class Dataset:
    """A file that was checked to hold at least one row; iterating reads it from the start."""

    path: Path
    mapping: Mapping

    def __iter__(self) -> Iterator[Row | BadRow]:
        return iter_rows(self.path, self.mapping)


def open_dataset(path: str | Path) -> Dataset:
    """Check the file at `path` and guess which fields its rows are made of.

    Raises:
        DatasetError: Missing, a folder, unreadable, empty, of another format, binary, or without
            a single usable row.
    """
    path = Path(path)
    head = _checked_head(path)
    mapping = guess(path)
    dataset = Dataset(path, mapping)
    first_bad: BadRow | None = None
    bad = 0
    for row in dataset:
        if isinstance(row, Row):
            return dataset
        bad += 1
        first_bad = first_bad or row
        if mapping.shape == "unknown":
            break  # no later line can be a row either, and the file may be huge
    if first_bad is None:
        raise DatasetError(f"{_name(path)} holds blank lines only.", hint=_JSONL_HINT)
    if _starts_list(head):
        raise _json_list(path)
    how_many = "" if mapping.shape == "unknown" else f"all {bad:,} lines are bad; "
    raise DatasetError(
        f"{_name(path)} has no usable row: {how_many}line {first_bad.line}: {first_bad.reason}.",
        hint=_JSONL_HINT,
    )


def iter_rows(path: str | Path, mapping: Mapping | None = None) -> Iterator[Row | BadRow]:
    """Every non-blank line of the JSONL file at `path`, in order, as a row or as a bad row.

    Args:
        mapping: Which fields to read; guessed from the first lines when it is not given.

    Raises:
        DatasetError: The file cannot be read.
    """
    path = Path(path)
    chosen = mapping or guess(path)
    for number, line in _lines(path):
        if line is None:
            yield BadRow(number, f"line longer than {MAX_LINE // 1024 // 1024} MB")
        else:
            yield parse_row(number, line, chosen)


def guess(path: Path) -> Mapping:
    """The mapping guessed from the first readable lines of the file at `path`."""
    objects: list[dict[str, Any]] = []
    read = 0
    for _, line in _lines(path):
        if line is None:
            continue
        read += len(line)
        try:
            objects.append(parse_object(line))
        except BadLine:
            continue
        if len(objects) >= _GUESS_ROWS or read >= _GUESS_BYTES:
            break
    return guess_mapping(objects)


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of each non-blank line; None for one that is too long."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                if len(line) > MAX_LINE and not line.endswith(b"\n"):
                    _skip_line(file)
                    yield number, None
                elif line.strip():
                    yield number, line
    except OSError as error:
        raise DatasetError(
            f"{_name(path)} cannot be read: {error.strerror or error}.",
            hint="Check the path and its permissions.",
        ) from error


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
        pass


def _checked_head(path: Path) -> bytes:
    name = _name(path)
    try:
        if path.is_dir():
            raise DatasetError(f"{name} is a folder.", hint="Name one JSONL file in it.")
        if not path.exists():
            raise DatasetError(f"{name} does not exist.", hint="Check the path for a typing error.")
        if not path.is_file():
            raise DatasetError(f"{name} is not a regular file.", hint=_JSONL_HINT)
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DatasetError(
            f"{name} cannot be read: {error.strerror or error}.",
            hint="Check its permissions.",
        ) from error
    if not head:
        raise DatasetError(f"{name} is empty.", hint=_JSONL_HINT)
    other = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    other = other or _OTHER_FORMATS.get(path.suffix.lower())
    if other:
        raise DatasetError(f"{name} is a {other} file.", hint=f"Convert it first. {_JSONL_HINT}")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DatasetError(f"{name} is UTF-16 text.", hint=f"Save it as UTF-8. {_JSONL_HINT}")
    # Some lines of an indented list can look like rows; none of the first one does.
    if _starts_list(head) and head.removeprefix(codecs.BOM_UTF8).lstrip()[1:].lstrip(
        b" \r"
    ).startswith(b"\n"):
        raise _json_list(path)
    # A stray byte makes one bad row; a head without any readable line is not a dataset at all.
    if not _is_text(head) and not any(map(_readable, head.split(b"\n"))):
        raise DatasetError(f"{name} is binary, or text that is not UTF-8.", hint=_JSONL_HINT)
    return head


def _starts_list(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _json_list(path: Path) -> DatasetError:
    return DatasetError(f"{_name(path)} is a JSON list, not JSONL.", hint=_JSONL_HINT)


def _is_text(head: bytes) -> bool:
    try:
        # The head may end inside a character.
        codecs.getincrementaldecoder("utf-8")().decode(head, final=False)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _readable(line: bytes) -> bool:
    try:
        parse_object(line)
    except BadLine:
        return False
    return True


def _name(path: Path) -> str:
    return one_line(str(path))
