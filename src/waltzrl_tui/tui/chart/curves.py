"""The curves of a training run: where they are broken, smoothed, and thinned to be drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

Point = tuple[int, float | None]
"""A step and the loss measured at it; None where it was not a number."""

_SMOOTHING: Final = 0.8
# Neighbours further apart than so many usual distances have points missing between them.
_FAR: Final = 3.0


@dataclass(frozen=True, slots=True)
class Curve:
    """The losses of one run, by rising step.

    `slot` (0 to 5) gives it its line, marker and colour; `total` is the step that it ends at,
    or 0 where that is not known.
    """

    name: str
    slot: int
    train: Sequence[Point]
    valid: Sequence[Point]
    total: int = 0


def pieces(
    points: Sequence[Point], *, above: float = -math.inf, columns: float = math.inf
) -> list[list[tuple[int, float]]]:
    """The stretches of a curve that may be joined, thinned to what is visible.

    It breaks where a value is missing, not finite or not greater than `above`, and where a step
    is much longer than the usual one. Of the points in one of `columns` per step, at most four
    are kept: the first, the least, the greatest and the last.
    """
    far = _far(points)
    stretches: list[list[tuple[int, float]]] = []
    group: list[tuple[int, float]] = []
    column = -1
    before: int | None = None
    for step, value in points:
        if value is None or not above < value < math.inf:
            before = None
            continue
        here = int(step * columns + 0.5) if columns < math.inf else step
        if before is None or step - before > far:
            _close(stretches, group)
            stretches.append([])
            group = []
        elif here != column:
            _close(stretches, group)
            group = []
        column, before = here, step
        group.append((step, value))
    _close(stretches, group)
    return stretches


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Averages over the neighbours on both sides, each step away counting 0.8 of the one before.

    An average over the past alone would lag behind the validations beside it. Gaps stay.
    """
    past = _sums([value for _, value in points])
    coming = _sums([value for _, value in reversed(points)])[::-1]
    averages: list[Point] = []
    for (step, value), (before, some), (after, others) in zip(points, past, coming, strict=True):
        if value is None or not math.isfinite(value):
            averages.append((step, None))
        else:
            averages.append((step, (before + value + after) / (some + 1 + others)))
    return averages


def last(points: Sequence[Point]) -> float | None:
    """The latest value that is a number."""
    for _, value in reversed(points):
        if value is not None and math.isfinite(value):
            return value
    return None


def _sums(values: Sequence[float | None]) -> list[tuple[float, float]]:
    """The weighted sum of the values before each, and the sum of the weights."""
    total = weight = 0.0
    sums = []
    for value in values:
        total, weight = _SMOOTHING * total, _SMOOTHING * weight
        sums.append((total, weight))
        if value is not None and math.isfinite(value):
            total, weight = total + value, weight + 1
    return sums


def _far(points: Sequence[Point]) -> float:
    usual = (points[-1][0] - points[0][0]) / (len(points) - 1) if len(points) > 2 else math.inf
    return _FAR * usual


def _close(stretches: list[list[tuple[int, float]]], group: list[tuple[int, float]]) -> None:
    if not group:
        return
    if len(group) <= 4:
        stretches[-1] += group
        return
    least = min(group, key=itemgetter(1))
    most = max(group, key=itemgetter(1))
    extremes = {group[0]: None, least: None, most: None, group[-1]: None}
    stretches[-1] += sorted(extremes)
