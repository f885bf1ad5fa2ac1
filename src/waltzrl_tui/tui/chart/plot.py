"""A chart of losses as rows of styled text: legend, axes, braille lines and markers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

from waltzrl_tui.tui.chart.braille import Canvas, Dot, sample
from waltzrl_tui.tui.chart.curves import Curve, Point, last, pieces, smoothed
from waltzrl_tui.tui.chart.scale import Scale, fit, label

Span = tuple[str, str]
"""Text and the name of its style: axis, text, gap, or run-0 to run-5."""
Row = list[Span]

SLOTS: Final = 6
MARKERS: Final = "◆▲■★✚▼"
HOLLOW: Final = "◇△□☆✛▽"
# Runs stay apart without colour: each has its own dashes, as its validation has its marker.
_PATTERNS: Final[tuple[tuple[int, ...], ...]] = (
    (1,),
    (1, 1, 1, 1, 0, 0),
    (1, 0),
    (1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 0),
    (1, 0, 0),
    (1, 1, 0, 0),
)
_GAP: Final = "×"
_LEAST_WIDTH: Final = 10
_LEAST_HEIGHT: Final = 3


def draw(curves: Sequence[Curve], width: int, height: int, *, log: bool, smooth: bool) -> list[Row]:
    """At most `height` rows of at most `width` cells; the first curve lies on top."""
    rows = _legend(curves, width, max(1, height // 4))
    left = height - len(rows)
    if left >= _LEAST_HEIGHT:
        plot = _Plot(curves, width, left, log=log, smooth=smooth)
        rows += plot.rows()
    return rows[:height]


def _legend(curves: Sequence[Curve], width: int, most: int) -> list[Row]:
    rows: list[Row] = []
    used = width
    for number, curve in enumerate(curves):
        entry = _entry(curve)
        size = sum(len(text) for text, _ in entry)
        if used + 3 + size <= width:
            rows[-1] += [("   ", ""), *entry]
            used += 3 + size
        elif len(rows) < most:
            rows.append(entry)
            used = size
        else:
            rows[-1].append((f"  +{len(curves) - number}", "axis"))
            break
    return [_cut(row, width) for row in rows]


def _cut(row: Row, width: int) -> Row:
    fitting: Row = []
    for text, style in row:
        if width > 0:
            fitting.append((text[:width], style))
        width -= len(text)
    return fitting


def _entry(curve: Curve) -> Row:
    run = f"run-{curve.slot}"
    entry = [(sample(_PATTERNS[curve.slot], 4), run), (f" {curve.name}", "text")]
    loss, valid = last(curve.train), last(curve.valid)
    if loss is not None:
        entry.append((f" {loss:.3f}", "text"))
    if valid is not None:
        entry += [(f"  {MARKERS[curve.slot]}", run), (f" valid {valid:.3f}", "text")]
    return entry


class _Plot:
    def __init__(
        self, curves: Sequence[Curve], width: int, height: int, *, log: bool, smooth: bool
    ) -> None:
        self._curves = [
            (curve, smoothed(curve.train) if smooth else curve.train) for curve in curves
        ]
        # Two rows for the axis of steps where there is room for it.
        self._axis = 2 if height >= 6 else 1
        self._height = height - self._axis
        self._ticks = max(1, min(6, (self._height + 1) // 2))
        values = [
            value
            for curve, train in self._curves
            for points in (train, curve.valid)
            for _, value in points
        ]
        self._above = 0.0 if log else -math.inf
        self._y = fit(values, log=log, ticks=self._ticks) or Scale(0.0, 1.0)
        steps = [step for curve in curves for step, _ in [*curve.train[-1:], *curve.valid[-1:]]]
        self._x = Scale(0.0, max([1, *steps, *(curve.total for curve in curves)]))
        levels = self._y.ticks(self._ticks)
        apart = min((b - a for a, b in itertools.pairwise(levels)), default=1.0)
        self._levels = {self._cell_row(level): label(level, apart) for level in reversed(levels)}
        self._margin = max(len(text) for text in self._levels.values())
        self._width = width - self._margin - 1
        self._canvas = Canvas(max(1, self._width), self._height)
        self._marks: dict[tuple[int, int], Span] = {}

    def rows(self) -> list[Row]:
        if self._width < _LEAST_WIDTH:
            return []
        for curve, train in reversed(self._curves):
            self._draw(curve, train)
        rows = []
        for row in range(self._height):
            text = self._levels.get(row, "")
            edge = "┤" if text else "│"
            rows.append([(f"{text:>{self._margin}}{edge}", "axis"), *self._cells(row)])
        return rows + self._steps()

    def _draw(self, curve: Curve, train: Sequence[Point]) -> None:
        pattern = _PATTERNS[curve.slot]
        columns = (2 * self._width - 1) / self._x.high
        for piece in pieces(train, above=self._above, columns=columns):
            dots = [self._dot(*point) for point in piece]
            if len(dots) > 1.5 * (dots[-1][0] - dots[0][0] + 1):
                self._band(dots, curve.slot + 1, pattern)
            else:
                self._canvas.path(dots, curve.slot + 1, pattern)
        for step, value in train:
            if value is None or not self._above < value < math.inf:
                self._marks[self._height - 1, self._column(step) // 2] = (_GAP, "gap")
        before = math.inf
        # From the end: the latest validation is the one that must not be left out.
        for step, value in reversed(curve.valid):
            column = self._column(step) // 2
            if value is not None and self._above < value < math.inf and before - column >= 2:
                before = column
                row = self._dot(step, value)[1] // 4
                self._marks[row, column] = (MARKERS[curve.slot], f"run-{curve.slot}")

    def _band(self, dots: list[Dot], owner: int, pattern: Sequence[int]) -> None:
        """Several points in most columns: what they span in each, joined to the next."""
        before = dots[0][1]
        for column, group in itertools.groupby(dots, key=lambda dot: dot[0]):
            rows = [row for _, row in group]
            if pattern[column % len(pattern)]:
                self._canvas.bar(column, min(before, *rows), max(before, *rows), owner)
            before = rows[-1]

    def _cells(self, row: int) -> Row:
        spans: Row = []
        for column in range(self._width):
            mark = self._marks.get((row, column))
            if mark is None:
                text, owner = self._canvas.cell(column, row)
                mark = (text, f"run-{owner - 1}" if owner else "")
            if spans and spans[-1][1] == mark[1]:
                spans[-1] = (spans[-1][0] + mark[0], mark[1])
            else:
                spans.append(mark)
        return spans

    def _steps(self) -> list[Row]:
        line = ["─"] * self._width
        labels = [" "] * (self._margin + 1 + self._width)
        free = 0
        for tick in self._x.ticks(max(2, self._width // 12)):
            column = self._column(tick) // 2
            text = f"{tick:.0f}"
            start = self._margin + 1 + column - len(text) // 2
            start = min(start, len(labels) - len(text))
            if tick == int(tick) and start >= free:
                line[column] = "┬"
                labels[start : start + len(text)] = text
                free = start + len(text) + 1
        if free + 4 <= len(labels):
            labels[-4:] = "step"
        axis = [("".join(labels), "axis")]
        edge = [(" " * self._margin + "└" + "".join(line), "axis")]
        return [edge, axis] if self._axis == 2 else [axis]

    def _dot(self, step: int, value: float) -> Dot:
        return self._column(step), round((1 - self._y.at(value)) * (4 * self._height - 1))

    def _column(self, step: float) -> int:
        return round(self._x.at(step) * (2 * self._width - 1))

    def _cell_row(self, level: float) -> int:
        return round((1 - self._y.at(level)) * (4 * self._height - 1)) // 4
