"""Detect the format of a dataset: by its content, by its name only where that is ambiguous."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from waltzrl_tui.datasets.reading.json_split import JsonSplitter, Record
from waltzrl_tui.datasets.reading.mappings import CHATS, guess_mapping
from waltzrl_tui.datasets.reading.parse import MAX_LINE, BadLine, parse_object
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Suffixes of datasets, each also followed by `.gz`."""
HINT = "Supported are JSONL, JSON, CSV, TSV and Parquet, also gzipped."

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_OTHERS = {
    b"PK\x03\x04": "zip (or Excel)",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"ARROW1": "Arrow",
    b"SQLite format 3": "SQLite",
}
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HEAD = 64 * 1024
_DELIMITERS = ",\t;|"
_RECORDS_TRIED = 20


@dataclass(frozen=True, slots=True)
class Format:
    """The format of a file.

    Attributes:
        delimiter: Separates the fields of a record; for `csv` only.
        packed: Whether the file is compressed with gzip.
    """

    kind: Literal["jsonl", "json", "csv", "parquet"]
    delimiter: str = ""
    packed: bool = False

    @property
    def name(self) -> str:
        """`jsonl`, `csv`, `tsv`, `parquet.gz`, …"""
        name = "tsv" if self.delimiter == "\t" else self.kind
        return f"{name}.gz" if self.packed else name

    @property
    def plain(self) -> bool:
        """Whether the file is JSONL that needs no copy."""
        return self.kind == "jsonl" and not self.packed


def named_like_data(path: Path) -> bool:
    """Whether the file has the name of a supported dataset."""
    name = path.name.casefold().removesuffix(".gz")
    return name.endswith(SUFFIXES) and not name.endswith(".source.json")


def open_plain(path: Path, packed: bool) -> BinaryIO:
    """The file's content, unpacked."""
    return cast("BinaryIO", gzip.open(path, "rb")) if packed else path.open("rb")


def unreadable(path: Path, error: OSError) -> DatasetError:
    """The error about a file that the system does not let us read."""
    return DatasetError(
        f"{one_line(str(path))} cannot be read: {error.strerror or error}.",
        hint="Check the path and its permissions.",
    )


def format_of(path: Path) -> Format:
    """The format of the file at `path`.

    Raises:
        DatasetError: Missing, a folder, unreadable, empty, binary, of an unsupported format, or
            not UTF-8.
    """
    name = one_line(str(path))
    try:
        if path.is_dir():
            raise DatasetError(f"{name} is a folder.", hint="Name one file in it.")
        if not path.exists():
            raise DatasetError(f"{name} does not exist.", hint="Check the path.")
        if not path.is_file():
            raise DatasetError(f"{name} is not a regular file.", hint=HINT)
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with open_plain(path, packed) as file:
            head = _read_up_to(file, _HEAD)
            return _format(name, path, head, _up_to_a_record(head, file), packed)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(
            f"{name} is a damaged gzip file: {one_line(str(error), 100)}.", hint="Fetch it again."
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _read_up_to(file: BinaryIO, size: int) -> bytes:
    """Up to `size` bytes: a damaged archive still has a beginning."""
    head = b""
    while len(head) < size:
        try:
            block = file.read1(size - len(head)) if hasattr(file, "read1") else file.read(size)
        except (EOFError, OSError, zlib.error):
            if head:
                break
            raise
        if not block:
            break
        head += block
    return head


def _up_to_a_record(head: bytes, file: BinaryIO) -> Callable[[int], bytes]:
    """A `read` function over the text from its start, limited to the size of one record."""
    first = io.BytesIO(head.removeprefix(codecs.BOM_UTF8))
    left = MAX_LINE + _HEAD

    def read(size: int) -> bytes:
        nonlocal left
        block = first.read(size) or _read_up_to(file, min(size, max(0, left)))
        left -= len(block)
        return block

    return read


def _format(
    name: str, path: Path, head: bytes, read: Callable[[int], bytes], packed: bool
) -> Format:
    if not head:
        raise DatasetError(f"{name} is empty.", hint=HINT)
    if head.startswith(_PARQUET):
        return Format("parquet", packed=packed)
    other = next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), None)
    if other or head.startswith(_GZIP):
        raise DatasetError(
            f"{name} is a {other or 'doubly packed gzip'} file.", hint=f"Unpack it first. {HINT}"
        )
    if head.startswith(_UTF16):
        raise DatasetError(
            f"{name} is UTF-16 text.",
            hint="Save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8 OLD > NEW",
        )
    hint = path.name.casefold().removesuffix(".gz").rpartition(".")[2]
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text[:1] in (b"{", b"["):
        whole = _is_json(read, text, hint)
        return Format("json" if whole else "jsonl", packed=packed)
    if hint in ("csv", "tsv") or _looks_like_table(head):
        if b"\0" in head:
            raise DatasetError(f"{name} is binary, not a table in text.", hint=HINT)
        return Format("csv", _delimiter(head, hint), packed)
    # A stray byte makes one bad row; without a single readable line it is not a dataset.
    if not _is_text(head) and not any(map(_readable, head.split(b"\n"))):
        raise DatasetError(
            f"{name} is binary, or text that is not UTF-8.",
            hint=f"{HINT} Convert Windows text with: iconv -f WINDOWS-1252 -t UTF-8",
        )
    return Format("jsonl", packed=packed)


def _is_json(read: Callable[[int], bytes], head: bytes, hint: str) -> bool:
    """Whether text that begins with a bracket is one JSON document, not one per line.

    Args:
        head: The beginning of the text; `read` continues a long first line.
    """
    is_list = head.startswith(b"[")
    line, end, rest = head.partition(b"\n")
    if end:
        first = _first(io.BytesIO(line).read)
        if first is None or not first.whole:
            return is_list or _goes_on(head, hint)
        # A list on one line with other lines after it: JSONL with lists, all of them bad.
        return not rest.strip() and (is_list or holds_list(first.raw))
    if is_list:
        return True
    splitter = JsonSplitter(read)
    first = next(splitter.elements(separated=False), None)
    if first is None or not first.whole:
        return _goes_on(head, hint)
    return not splitter.peek() and holds_list(first.raw)


def _first(read: Callable[[int], bytes]) -> Record | None:
    return next(JsonSplitter(read).elements(separated=False), None)


def _goes_on(head: bytes, hint: str) -> bool:
    """Whether an object that is not closed on its line is a document, not a broken line."""
    line, _, rest = head.partition(b"\n")
    if (line.count(b'"') - line.count(b'\\"')) % 2 and rest:
        return False  # Strings cannot span lines.
    if _readable(rest.lstrip().partition(b"\n")[0]):
        return False
    first = _first(io.BytesIO(head).read)
    if first is not None and first.whole:
        return True
    splitter = JsonSplitter(io.BytesIO(head).read)
    splitter.peek()
    splitter.skip()
    name = splitter.next_list()
    return (name is not None and name not in CHATS) or (hint != "jsonl" and bool(rest))


def holds_list(raw: bytes | None) -> bool:
    """Whether this object is not a row itself but contains a list of rows."""
    try:
        value = parse_object(raw or b"")
    except BadLine:
        return False
    if guess_mapping([value]).shape != "unknown":
        return False
    return any(
        isinstance(each, list) and each and isinstance(each[0], dict) for each in value.values()
    )


def _looks_like_table(head: bytes) -> bool:
    """Whether the first line is a header with a prompt; for names without a known suffix."""
    line = head.removeprefix(codecs.BOM_UTF8).lstrip().partition(b"\n")[0]
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        return False
    return any(_known(text.split(each)) for each in _DELIMITERS if each in text)


def _known(header: list[str]) -> bool:
    return guess_mapping([dict.fromkeys(each.strip(' "') for each in header)]).shape != "unknown"


def _delimiter(head: bytes, hint: str) -> str:
    """The character between fields: the one with a known header, and records of equal length."""
    text = head.decode("utf-8-sig", "replace")
    order = "\t,;|" if hint == "tsv" else _DELIMITERS
    return max(order, key=lambda each: (*_fit(text, each), -order.index(each)))


def _fit(text: str, delimiter: str) -> tuple[bool, bool, float]:
    records: list[list[str]] = []
    try:
        for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            records.append(record)
            if len(records) > _RECORDS_TRIED:
                break
    except csv.Error:
        pass
    if not records:
        return False, False, 0.0
    header = records[0]
    # The last record may be incomplete.
    rest = [record for record in records[1:-1] if record]
    equal = sum(len(record) == len(header) for record in rest) / len(rest) if rest else 1.0
    return len(header) > 1 and _known(header), len(header) > 1, equal


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
