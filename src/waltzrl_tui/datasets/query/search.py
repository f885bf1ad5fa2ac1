"""Find the lines of a dataset that contain a text, or give no row, in one pass."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from waltzrl_tui.datasets.reading.blocks import Block, blocks, parse_block
from waltzrl_tui.datasets.reading.formats import unreadable
from waltzrl_tui.datasets.reading.parse import BadLine, RowReader, bad_row, reader_of
from waltzrl_tui.datasets.reading.read import open_lines
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping
from waltzrl_tui.errors import DatasetError

# JSON may escape these, so their bytes cannot be searched for.
_ESCAPED = set('"\\/')


def search(
    path: Path,
    mapping: Mapping,
    text: str,
    lines: array[int],
    *,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Append to `lines` the numbers (from 0, blank lines count) of the lines with `text`.

    Searches prompt, reply, harm and category, ignoring case; in a line that gives no row, all of
    it. Blocks for the whole file, so not on the event loop.

    Args:
        lines: An array of type "Q"; it grows while the file is read and may be read meanwhile.
        on_progress: Called about every MB with the bytes read.
        stop: Checked as often; `lines` then covers what was read so far.

    Raises:
        DatasetError: The file cannot be read.
    """
    text_folded = text.casefold()
    plain = text_folded.isascii() and text_folded.isprintable() and not _ESCAPED & set(text_folded)
    reader = reader_of(mapping)
    for block in _scan(path, on_progress, stop):
        if plain:
            # Most lines are dismissed without being decoded or parsed.
            places, some = _lines_with(block, text_folded.encode())
        else:
            places, some = range(block.raw.count(b"\n") + 1), block
        for place, line in block.long.items():
            if text_folded in line.decode("utf-8", "replace").casefold():
                lines.append(block.first + place)
        for place, fields in parse_block(some):
            if place not in some.long and _contains(some, place, fields, reader, text_folded):
                lines.append(block.first + places[place])


def bad_lines(
    path: Path,
    mapping: Mapping,
    lines: array[int],
    *,
    on_bad: Callable[[BadRow, bytes], None] | None = None,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> None:
    """Append to `lines` the numbers (from 0) of the lines that give no row, except blank ones.

    Args:
        on_bad: Called with each bad row and the line's bytes (the first 8 MB).
        on_progress, stop: As for `search`.

    Raises:
        DatasetError: The file cannot be read.
    """
    reader = reader_of(mapping)
    for block in _scan(path, on_progress, stop):
        for place, fields in parse_block(block):
            parts = _parts(fields, reader)
            if isinstance(parts, BadLine):
                number = block.first + place
                lines.append(number)
                if on_bad:
                    end = b"" if place in block.long else b"\n"
                    on_bad(bad_row(number + 1, parts), block.line(place) + end)


def _scan(
    path: Path, on_progress: Callable[[int], None] | None, stop: Callable[[], bool] | None
) -> Iterator[Block]:
    """The blocks of a file; reports progress and checks `stop` before each but the first."""
    read = 0
    try:
        with open_lines(path) as file:
            for block in blocks(file):
                if read and on_progress:
                    on_progress(read)
                if read and stop and stop():
                    break
                read = block.end
                yield block
    except OSError as error:
        raise unreadable(path, error) from error


def _lines_with(block: Block, literal: bytes) -> tuple[Sequence[int], Block]:
    """The places of the lines with these bytes, ignoring case, and a block of those lines."""
    raw = block.raw
    small = raw.lower()
    places: list[int] = []
    lines: list[bytes] = []
    place = done = 0
    while (hit := small.find(literal, done)) >= 0:
        place += small.count(b"\n", done, hit)
        end = small.find(b"\n", hit)
        end = end if end >= 0 else len(raw)
        places.append(place)
        lines.append(raw[raw.rfind(b"\n", 0, hit) + 1 : end])
        done = end
    return places, Block(block.first, b"\n".join(lines), block.end, {}, block.limit)


def _contains(
    block: Block, place: int, fields: dict[str, Any] | BadLine, reader: RowReader, text_folded: str
) -> bool:
    parts = _parts(fields, reader)
    if isinstance(parts, BadLine):
        return text_folded in block.line(place).decode("utf-8", "replace").casefold()
    return any(text_folded in each.casefold() for each in parts)


def _parts(fields: dict[str, Any] | BadLine, reader: RowReader) -> Sequence[str] | BadLine:
    """The texts of a row, or why there is none."""
    try:
        return fields if isinstance(fields, BadLine) else reader.parts(fields)
    except BadLine as reason:
        return reason


def export_bad_rows(path: Path, mapping: Mapping, target: Path, *, stop: Callable[[], bool]) -> int:
    """Write every bad row as a JSON line (`line, reason, raw`) to `target`. Blocks.

    Returns:
        The number of bad rows.

    Raises:
        DatasetError: One of the files cannot be read or written.
    """
    lines = array("Q")
    part = target.with_name(f".{target.name}.part")
    try:
        with part.open("w", encoding="utf-8") as out:
            part.chmod(0o600)

            def write(row: BadRow, raw: bytes) -> None:
                text = raw.decode("utf-8", "replace")
                record = {"line": row.line, "reason": row.reason, "raw": text}
                out.write(json.dumps(record) + "\n")

            bad_lines(path, mapping, lines, on_bad=write, stop=stop)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DatasetError(
            f"The bad rows cannot be written to {target}: {error.strerror or error}.",
            hint="Make room, or check the permissions of the folder.",
        ) from error
    return len(lines)
