"""Lines drawn with braille dots: each terminal cell is two dots wide and four dots high."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_BLANK: Final = 0x2800
# The bit of each dot in a braille character, by row and column.
_BITS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
# The bits of the dots of one side of a character, by side, first row and last row.
_BARS: Final = tuple(
    tuple(
        tuple(sum(_BITS[row][side] for row in range(first, final + 1)) for final in range(4))
        for first in range(4)
    )
    for side in range(2)
)

Dot = tuple[int, int]
"""A dot's column and row, from the top left."""


class Canvas:
    """Dots that belong to an owner (a small number ≥ 1), `width` × `height` cells.

    A cell that several owners drew in shows the dots of all and belongs to the last of them.
    Dots outside are left out.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self._dots = bytearray(width * height)
        self._owners = bytearray(width * height)

    def dot(self, column: int, row: int, owner: int) -> None:
        """Set one dot."""
        if 0 <= column < 2 * self.width and 0 <= row < 4 * self.height:
            cell = (row // 4) * self.width + column // 2
            self._dots[cell] |= _BITS[row % 4][column % 2]
            self._owners[cell] = owner

    def path(self, dots: Iterable[Dot], owner: int, pattern: Sequence[int] = (1,)) -> None:
        """Join `dots` with straight lines.

        `pattern` repeats along the way: 1 draws a dot, 0 leaves one out.
        """
        before: Dot | None = None
        drawn = 0
        for dot in dots:
            for column, row in [dot] if before is None else _between(before, dot):
                if pattern[drawn % len(pattern)]:
                    self.dot(column, row, owner)
                drawn += 1
            before = dot

    def bar(self, column: int, top: int, bottom: int, owner: int) -> None:
        """Set the dots of a column from row `top` down to `bottom`."""
        top, bottom = max(0, top), min(4 * self.height - 1, bottom)
        if not 0 <= column < 2 * self.width or top > bottom:
            return
        side, place = column % 2, column // 2
        for row in range(top // 4, bottom // 4 + 1):
            first, final = max(0, top - 4 * row), min(3, bottom - 4 * row)
            cell = row * self.width + place
            self._dots[cell] |= _BARS[side][first][final]
            self._owners[cell] = owner

    def cell(self, column: int, row: int) -> tuple[str, int]:
        """The character of a cell and its owner; a space and 0 where nothing was drawn."""
        cell = row * self.width + column
        dots = self._dots[cell]
        return (chr(_BLANK + dots), self._owners[cell]) if dots else (" ", 0)


def sample(pattern: Sequence[int], width: int) -> str:
    """A horizontal line of `width` cells in `pattern`, as a legend shows it."""
    canvas = Canvas(width, 1)
    canvas.path([(0, 1), (2 * width - 1, 1)], 1, pattern)
    return "".join(canvas.cell(column, 0)[0] for column in range(width))


def _between(start: Dot, end: Dot) -> list[Dot]:
    """The dots of a straight line after `start`, up to and with `end`."""
    across, down = end[0] - start[0], end[1] - start[1]
    count = max(abs(across), abs(down))
    return [
        (start[0] + round(across * n / count), start[1] + round(down * n / count))
        for n in range(1, count + 1)
    ]
