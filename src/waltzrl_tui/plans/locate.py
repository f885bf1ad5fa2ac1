"""On which line of a TOML file a field stands: the parser tells only where syntax is broken."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """The line, counted from 1, on which the field at `place` is written, else its table.

    The file is parsed line by line from its start until the field is there, which is slow for
    long files and right for every way to write TOML. None when no part of `place` is in it.
    """
    lines = text.splitlines()
    for length in range(len(place), 0, -1):
        wanted = place[:length]
        begin = 0
        for number in range(1, len(lines) + 1):
            try:
                document = tomllib.loads("\n".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            if _has(document, wanted):
                names = [part for part in wanted if isinstance(part, str)]
                return _named(lines, begin, number, names[-1] if names else "")
            begin = number
    return None


def _has(document: Any, place: Sequence[str | int]) -> bool:
    for part in place:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _named(lines: Sequence[str], begin: int, end: int, name: str) -> int:
    """Of a statement over several lines, the one that has the name."""
    for number in range(begin, end):
        if name in lines[number]:
            return number + 1
    return end
