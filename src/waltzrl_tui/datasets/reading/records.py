"""The JSON objects of a block of lines, read as `parse.parse_object` reads each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from waltzrl_tui.datasets.query.blocks import Block
from waltzrl_tui.datasets.reading.parse import BadLine, parse_object, scan

_BLANK: Final = " \t\r\x0b\x0c"
# An error costs a look at the whole block, so after a few of them its lines are taken alone.
_ERRORS: Final = 8


def records(block: Block) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """For each line that is not blank its place in the block, and its object.

    In place of an object stands the reason why there is none.
    """
    text, unread = f"{block.text}\n", block.unread
    find, end = text.find, len(text)
    at = place = errors = 0
    while at < end:
        stop = find("\n", at)
        found: dict[str, Any] | str | None = None
        if text[at] == "{" and errors < _ERRORS:
            # Straight from the block: no bytes are copied or decoded once more.
            try:
                found, after = scan(text, at)
            except (BadLine, ValueError, StopIteration, RecursionError):
                errors += 1
            else:
                if after != stop and text[after:stop] != "\r":
                    found = None
                    errors += after > stop
        if found is None:
            found = unread.get(place) or _alone(text[at:stop])
        if found != "":
            yield place, found
        at = stop + 1
        place += 1


def _alone(line: str) -> dict[str, Any] | str:
    """The object on one line, or why there is none; "" for a blank line."""
    if not line.strip(_BLANK):
        return ""
    try:
        return parse_object(line.encode("utf-8"))
    except BadLine as reason:
        return str(reason)
