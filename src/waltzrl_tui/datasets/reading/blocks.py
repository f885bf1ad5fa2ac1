"""A file as blocks of whole lines, whatever its bytes, and the JSON objects in them.

A block is searched as a whole where that is enough, and decoded and parsed line by line only where
it is not (`parse_block`).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from functools import cached_property
from io import BufferedReader
from typing import Any, Final

from waltzrl_tui.datasets.reading.parse import MAX_LINE, BadLine, not_utf8, parse_object, scan

BLOCK: Final = 1024 * 1024

_BLANK: Final = " \t\r\x0b\x0c"
# An error costs a scan of the whole block, so after a few of them lines are parsed one by one.
_ERRORS: Final = 8


class Block:
    """Lines `first`, `first + 1`, … (from 0) with "\\n" between them.

    Attributes:
        raw: The lines. One over the limit is replaced by an empty one, so that line numbers stay.
        end: Bytes of the file up to the end of the block.
        long: The beginning of each line over the limit, by its place in the block.
        limit: The longest line, in bytes.
    """

    def __init__(
        self, first: int, raw: bytes, end: int, long: dict[int, bytes], limit: int
    ) -> None:
        self.first, self.raw, self.end, self.long, self.limit = first, raw, end, long, limit

    @property
    def text(self) -> str:
        """The lines as text; one that is not UTF-8 is replaced by an empty one as well."""
        return self._decoded[0]

    @property
    def unread(self) -> dict[int, BadLine]:
        """Why a line is empty in `text`, by its place in the block."""
        return self._decoded[1]

    def line(self, place: int) -> bytes:
        """The bytes of a line; the beginning of one that is too long."""
        return self.long.get(place) or self._lines[place]

    @cached_property
    def _lines(self) -> list[bytes]:
        return self.raw.split(b"\n")

    @cached_property
    def _decoded(self) -> tuple[str, dict[int, BadLine]]:
        too_long = BadLine(f"line longer than {self.limit // 1024 // 1024} MB")
        unread = dict.fromkeys(self.long, too_long)
        try:
            text = self.raw.decode("utf-8")
        except UnicodeDecodeError:
            lines = []
            for place, line in enumerate(self._lines):
                try:
                    lines.append(line.decode("utf-8"))
                except UnicodeDecodeError as error:
                    unread[place] = not_utf8(error)
                    lines.append("")
            text = "\n".join(lines)
        return text, unread


def blocks(file: BufferedReader, size: int = BLOCK, *, limit: int = MAX_LINE) -> Iterator[Block]:
    """The rest of the file in blocks of about `size` bytes.

    A file that is still growing (`jsonl_cache.follow`) is read as far as it exists.

    Args:
        limit: Bytes; a longer line is cut to it, in `Block.long`.
    """
    number = at = 0
    rest = b""  # The beginning of a line that continues in the next read.
    too_long = False
    size = min(size, limit)
    while chunk := file.read1(size):
        while not at and len(chunk) < len(codecs.BOM_UTF8) and (more := file.read1(1)):
            chunk += more
        begun, at = at > 0, at + len(chunk)
        if not begun:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        end = chunk.rfind(b"\n")
        if end < 0:
            rest = rest if too_long else rest + chunk
            too_long = len(rest) > limit
            continue
        first = chunk.find(b"\n")
        long = {}
        if too_long or len(rest) + first > limit:
            long[0] = (rest + chunk[:first])[: limit + 1]
            rest, chunk, end = b"", chunk[first:], end - first
        block = Block(number, rest + chunk[:end], at, long, limit)
        number += block.raw.count(b"\n") + 1
        rest, too_long = chunk[end + 1 :], False
        yield block
    if too_long:
        yield Block(number, b"", at, {0: rest[: limit + 1]}, limit)
    elif rest:
        yield Block(number, rest, at, {}, limit)


def parse_block(block: Block) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """The place in the block and the object of each line that is not blank.

    The reason takes the place of the object where there is none. Objects are read as
    `parse.parse_object` reads them.
    """
    text, unread = f"{block.text}\n", block.unread
    find, end = text.find, len(text)
    at = place = errors = 0
    while at < end:
        stop = find("\n", at)
        value: dict[str, Any] | BadLine | None = None
        if text[at] == "{" and errors < _ERRORS:
            # Straight from the block: nothing is copied or decoded again.
            try:
                value, after = scan(text, at)
            except (BadLine, ValueError, StopIteration, RecursionError):
                errors += 1
            else:
                if after != stop and text[after:stop] != "\r":
                    value = None
                    errors += after > stop
        if value is None:
            value = unread.get(place) or _parse_alone(text[at:stop])
        if value is not None:
            yield place, value
        at = stop + 1
        place += 1


def _parse_alone(line: str) -> dict[str, Any] | BadLine | None:
    """The object on one line, or why there is none; None for a blank line."""
    if not line.strip(_BLANK):
        return None
    try:
        return parse_object(line.encode("utf-8"))
    except BadLine as reason:
        return reason
