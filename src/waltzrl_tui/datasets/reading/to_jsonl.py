"""Convert every other format to JSONL: record n of the file becomes line n.

A record that cannot be read becomes a marked line (`parse.bad_line`) with the reason and its place
in the source, so that nothing is dropped and the line numbers stay correct.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from waltzrl_tui.datasets.reading.formats import Format, holds_list, open_plain
from waltzrl_tui.datasets.reading.json_split import JsonSplitter, Record
from waltzrl_tui.datasets.reading.mappings import CHATS
from waltzrl_tui.datasets.reading.parse import MAX_LINE, BadLine, bad_line, parse_object
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line
from waltzrl_tui.words import plural

if TYPE_CHECKING:
    import duckdb

OnProgress = Callable[[int], None]
"""Called now and then with the bytes of the source read so far."""

_MEGABYTES = MAX_LINE // 1024 // 1024
_RAW_KEPT = 64 * 1024
_PROGRESS_LINES = 1000
_PARQUET_MEMORY = "1GB"
# Stands for a physical line that is too long; no UTF-8 decoder gives it.
_TOO_LONG = "\ud8ff"
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def jsonl_lines(
    path: Path, form: Format, on_progress: OnProgress, scratch: Path
) -> Iterator[bytes]:
    """The lines, without their ends. Blocks.

    Args:
        scratch: A folder for files that must be unpacked first.

    Raises:
        DatasetError: The file cannot be read at all.
        OSError: Reading or unpacking failed.
    """
    if form.kind == "parquet":
        yield from _parquet(path, form, on_progress, scratch)
        return
    with path.open("rb") as source:
        plain = cast("BinaryIO", gzip.GzipFile(fileobj=source)) if form.packed else source
        if form.kind == "csv":
            lines = _table(plain, form.delimiter)
        else:
            lines = _json(plain) if form.kind == "json" else _lines(plain)
        try:
            for number, line in enumerate(lines):
                if not number % _PROGRESS_LINES:
                    on_progress(source.tell())
                yield line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield bad_line(f"the gzip file is damaged from here on: {one_line(str(error), 100)}")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
            yield bad_line(f"line longer than {_MEGABYTES} MB")
        else:
            yield line.rstrip(b"\r\n")


def _json(file: BinaryIO) -> Iterator[bytes]:
    head = file.read(MAX_LINE).removeprefix(b"\xef\xbb\xbf")
    whole = len(head) < MAX_LINE
    rest = io.BytesIO(head)
    splitter = JsonSplitter(lambda size: rest.read(size) or file.read(size))
    if splitter.peek() == b"[":
        splitter.skip()
        yield from _list(splitter)
        if splitter.ended and splitter.peek():
            yield bad_line("there is more text after the end of the list")
        return
    first = next(JsonSplitter(io.BytesIO(head).read).elements(separated=False))
    alone = whole and head.strip() == first.raw
    may_hold_list = not first.whole or first.raw is None or holds_list(first.raw)
    if (first.whole and not alone) or not may_hold_list:
        # Consecutive objects without commas, as `jq` writes them; or just one.
        for record in splitter.elements(separated=False):
            yield _flat(record)
        return
    splitter.skip()
    taken = ""
    while (name := splitter.next_list()) is not None:
        if name in CHATS:
            for _ in splitter.elements(separated=True):
                pass
        elif taken:
            yield bad_line(
                f"a second list, “{one_line(name, 40)}”, is not read, only the first one "
                f"(“{one_line(taken, 40)}”): put it into a file of its own"
            )
            return
        else:
            taken = name
            yield from _list(splitter)
    if not taken:
        yield bad_line("the JSON object has no list of objects")


def _list(splitter: JsonSplitter) -> Iterator[bytes]:
    splitter.ended = False
    for record in splitter.elements(separated=True):
        yield _flat(record)
    if not splitter.ended:
        yield bad_line("the list is not closed: the file may be cut off")


def _flat(record: Record) -> bytes:
    if record.raw is None:
        return bad_line(f"longer than {_MEGABYTES} MB (line {record.line:,} of the file)")
    where = f"(line {record.line:,} of the file)"
    if not record.whole:
        return bad_line(f"the file ends inside this record {where}", _text(record.raw))
    try:
        parse_object(record.raw)
    except BadLine as reason:
        return bad_line(f"{reason} {where}", _text(record.raw), reason.kind)
    # In JSON, line ends can only be white space between tokens.
    return record.raw.replace(b"\r", b" ").replace(b"\n", b" ")


def _text(raw: bytes) -> str:
    return raw[:_RAW_KEPT].decode("utf-8", "replace")


def _table(file: BinaryIO, delimiter: str) -> Iterator[bytes]:
    csv.field_size_limit(max(MAX_LINE, csv.field_size_limit()))
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv(text, delimiter)
    finally:
        text.detach()


def _csv(text: io.TextIOWrapper, delimiter: str) -> Iterator[bytes]:
    reader = csv.reader(_short_lines(text), delimiter=delimiter)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        where = f"(line {line:,} of the file)"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
            if "field larger" in reason:
                reason = f"a field longer than {_MEGABYTES} MB; its quote may never be closed"
            yield bad_line(f"{reason} {where}")
            continue
        if not fields:
            continue
        if not header:
            header = _named(fields)
            continue
        if any(_TOO_LONG in field for field in fields):
            yield bad_line(f"line longer than {_MEGABYTES} MB {where}")
            continue
        if len(fields) != len(header):
            if reader.line_num > line:
                where = (
                    f"(lines {line:,} to {reader.line_num:,} of the file; is a quote not closed?)"
                )
            reason = f"{plural(len(fields), 'field')} where the header has {len(header)} {where}"
            yield bad_line(reason, _shown(fields, delimiter))
            continue
        try:
            yield _dump(dict(zip(header, fields, strict=True))).encode()
        except UnicodeEncodeError as error:
            yield bad_line(_not_utf8(error, where), _shown(fields, delimiter), "encoding")


def _short_lines(text: io.TextIOWrapper) -> Iterator[str]:
    while line := text.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE and not line.endswith(("\n", "\r")):
            while (rest := text.readline(1 << 20)) and not rest.endswith(("\n", "\r")):
                pass
            yield f"{_TOO_LONG}\n"
        else:
            yield line


def _not_utf8(error: UnicodeEncodeError, where: str) -> str:
    byte = ord(error.object[error.start]) - 0xDC00
    return f"not UTF-8: byte 0x{byte:02X} {where}; is the file Windows-1252 or Latin-1?"


def _shown(fields: list[str], delimiter: str) -> str:
    return delimiter.join(fields)[:_RAW_KEPT].encode("utf-8", "replace").decode()


def _named(fields: list[str]) -> list[str]:
    """The header with a unique name for each column."""
    names: list[str] = []
    for number, field in enumerate(fields, 1):
        name = label = field.strip().encode("utf-8", "replace").decode() or f"column {number}"
        copies = 1
        while name in names:
            copies += 1
            name = f"{label} ({copies})"
        names.append(name)
    return names


def _parquet(path: Path, form: Format, on_progress: OnProgress, scratch: Path) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".parquet-") as folder:
        # DuckDB reads * ? [ in a name as a pattern, so it gets a link with a plain name.
        plain = Path(folder) / "rows.parquet"
        if form.packed:
            with open_plain(path, True) as packed, plain.open("wb") as out:
                while block := packed.read(1 << 20):
                    out.write(block)
        else:
            plain.symlink_to(path.absolute())
        yield from _parquet_rows(plain, path, on_progress)


def _parquet_rows(plain: Path, path: Path, on_progress: OnProgress) -> Iterator[bytes]:
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        for setting in (
            "threads = 1",
            f"memory_limit = '{_PARQUET_MEMORY}'",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
        ):
            connection.execute(f"SET {setting}")
        total, size, done = _parquet_length(connection, plain), path.stat().st_size, 0
        result = connection.execute(
            "SELECT to_json(record)::VARCHAR FROM read_parquet(?) AS record", [str(plain)]
        )
        while rows := result.fetchmany(500):
            for (line,) in rows:
                yield _without_nan(line)
            done += len(rows)
            on_progress(size * done // max(1, total))
    except duckdb.Error as error:
        raise DatasetError(
            f"{one_line(str(path))} cannot be read as Parquet: {one_line(str(error), 200)}",
            hint="It may be cut off; fetch or write it again.",
        ) from error
    finally:
        connection.close()


def _parquet_length(connection: duckdb.DuckDBPyConnection, plain: Path) -> int:
    result = connection.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(plain)])
    row = result.fetchone()
    return int(row[0]) if row else 0


def _without_nan(line: str) -> bytes:
    """Parquet marks missing numbers with NaN; JSON has only null for them."""
    if "NaN" in line or "Infinity" in line:
        value: dict[str, Any] = json.loads(line, parse_constant=lambda _: None)
        line = _dump(value)
    return line.encode("utf-8", "replace")
