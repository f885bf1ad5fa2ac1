"""The line of a field in a TOML file; the parser gives lines of syntax errors only."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any


def line_of(text: str, place: Sequence[str | int]) -> int | None:
    """The line (from 1) of the field at `place`, else of its table; None if neither is there.

    Parses ever longer beginnings of the file until the field appears: slow for long files, and
    correct for every way to write TOML.
    """
    lines = text.splitlines()
    for length in range(len(place), 0, -1):
        prefix = place[:length]
        begin = 0
        for number in range(1, len(lines) + 1):
            try:
                document = tomllib.loads("\n".join(lines[:number]))
            except tomllib.TOMLDecodeError:
                continue
            if _has(document, prefix):
                names = [part for part in prefix if isinstance(part, str)]
                return _line_with(lines, begin, number, names[-1] if names else "")
            begin = number
    return None


def _has(document: Any, place: Sequence[str | int]) -> bool:
    for part in place:
        try:
            document = document[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _line_with(lines: Sequence[str], begin: int, end: int, name: str) -> int:
    """The line of a statement, which may span several, that contains the name."""
    for number in range(begin, end):
        if name in lines[number]:
            return number + 1
    return end
