"""Finding the lines of a dataset that contain a text, in one pass over the file."""

from __future__ import annotations

import codecs
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from waltzrl_tui.datasets.parse import parse_row
from waltzrl_tui.datasets.read import MAX_LINE
from waltzrl_tui.datasets.rows import Mapping, Row
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
    read = 0
    due = _STEP
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file)):
                read += len(line)
                if read >= due:
                    due = read + _STEP
                    if on_progress:
                        on_progress(read)
                    if stop and stop():
                        break
                # Most lines are dismissed without being parsed.
                if literal and literal not in line.lower():
                    continue
                if _contains(number, line, mapping, wanted):
                    found.append(number)
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
