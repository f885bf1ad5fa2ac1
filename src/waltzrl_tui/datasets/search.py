"""Finding the lines of a dataset that contain a text, or give no row, in one pass over it."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from waltzrl_tui.datasets.parse import parse_row
from waltzrl_tui.datasets.read import MAX_LINE, open_lines
from waltzrl_tui.datasets.rows import BadRow, Mapping, Row
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

_STEP = 1024 * 1024
# JSON may write these in another way than they are, so their bytes cannot be looked for.
_ESCAPED = set('"\\/')


def search(
    path: Path,
    mapping: Mapping,
    text: str,
    found: array[int],
    *,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Put into `found` the numbers (from 0, blank lines count) of the lines with `text`.

    Prompt, reply, harm and category are looked into, whatever the case of the letters; of a line
    that gives no row, all of it. Blocks for the whole file, so not on the event loop.

    Args:
        found: An array of type "Q"; it grows while the file is read and may be looked at.
        on_progress: Called about every MB with the bytes read.
        stop: Asked as often; `found` then covers what was read until there.

    Raises:
        DatasetError: The file cannot be read.
    """
    wanted = text.casefold()
    literal = wanted.encode() if wanted.isascii() and not _ESCAPED & set(wanted) else b""
    for number, line in _scan(path, on_progress, stop):
        # Most lines are dismissed without being parsed.
        if literal and literal not in line.lower():
            continue
        if _contains(number, line, mapping, wanted):
            found.append(number)


def bad_lines(
    path: Path,
    mapping: Mapping,
    found: array[int],
    *,
    on_bad: Callable[[BadRow, bytes], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Put into `found` the numbers (from 0) of the lines that give no row; blank ones do not count.

    Args:
        on_bad: Called with each of them, and its bytes (the first 8 MB).
        on_progress, stop: As for `search`.

    Raises:
        DatasetError: The file cannot be read.
    """
    for number, line in _scan(path, on_progress, stop):
        if not line.strip():
            continue
        if len(line) > MAX_LINE:
            row: Row | BadRow = BadRow(number + 1, f"line longer than {MAX_LINE >> 20} MB")
        else:
            row = parse_row(number + 1, line, mapping)
        if isinstance(row, BadRow):
            found.append(number)
            if on_bad:
                on_bad(row, line)


def _scan(
    path: Path, on_progress: Callable[[int], None] | None, stop: Callable[[], bool] | None
) -> Iterator[tuple[int, bytes]]:
    """The lines of a file by number; progress is told and `stop` asked each MB."""
    read = 0
    due = _STEP
    try:
        with open_lines(path) as file:
            for number, line in enumerate(_lines(file)):
                read += len(line)
                if read >= due:
                    due = read + _STEP
                    if on_progress:
                        on_progress(read)
                    if stop and stop():
                        break
                yield number, line
    except OSError as error:
        raise DatasetError(
            f"{one_line(str(path))} cannot be read: {error.strerror or error}.",
            hint="Check the path and its permissions.",
        ) from error


def _lines(file: BinaryIO) -> Iterator[bytes]:
    first = True
    while line := file.readline(MAX_LINE + 1):
        yield line.removeprefix(codecs.BOM_UTF8) if first else line
        first = False
        while len(line) > MAX_LINE and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE + 1)
            if not line:
                return


def _contains(number: int, line: bytes, mapping: Mapping, wanted: str) -> bool:
    row = parse_row(number + 1, line, mapping)
    if isinstance(row, Row):
        fields = (row.prompt, row.reply, row.harm, row.category)
        return any(wanted in field.casefold() for field in fields)
    return wanted in line.decode("utf-8", "replace").casefold()
