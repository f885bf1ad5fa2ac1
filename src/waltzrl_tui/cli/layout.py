"""Text laid out for a terminal: tables, fields, bars."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from itertools import zip_longest

from waltzrl_tui.text import one_line

_CELL_LIMIT = 120


def table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[int] = ()
) -> str:
    """Columns under headers, two spaces apart; those whose numbers are in `right` align right."""
    cells = [[one_line(cell, _CELL_LIMIT) for cell in row] for row in (headers, *rows)]
    widths = [max(map(width, column)) for column in zip_longest(*cells, fillvalue="")]
    lines = []
    for row in cells:
        padded = (
            " " * (space - width(cell)) + cell
            if number in right
            else cell + " " * (space - width(cell))
            for number, (cell, space) in enumerate(zip(row, widths, strict=False))
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values, one pair a line, the values under one another."""
    shown = [(name, value) for name, value in pairs if value]
    space = max((width(name) for name, _ in shown), default=0)
    return "\n".join(f"{name}{' ' * (space - width(name))}  {value}" for name, value in shown)


def width(text: str) -> int:
    """The columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF")
        for char in text
    )


def cut(text: str, columns: int) -> str:
    """`text` in at most that many columns."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def bar(done: int, total: int, *, unicode: bool, size: int = 20) -> str:
    """A progress bar of `size` columns."""
    full, empty = ("█", "░") if unicode else ("#", "-")
    filled = min(size, size * done // total) if total > 0 else 0
    return full * filled + empty * (size - filled)
