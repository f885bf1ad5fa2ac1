"""The axes of a chart: bounds that rarely move, round ticks, linear or logarithmic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """Values between `low` and `high` (`low < high`; both positive where `log`)."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where `value` lies: 0 at `low`, 1 at `high`, beyond them outside."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return (value - low) / (high - low)

    def ticks(self, count: int) -> list[float]:
        """Round values on the axis, rising: about `count` of them, at least the two ends."""
        ticks = self._decades(count) if self.log else []
        if len(ticks) < 2:
            step = _round_step((self.high - self.low) / max(1, count))
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            ticks = [number * step for number in range(first, last + 1)]
            ticks = [value for value in ticks if value > 0 or not self.log]
        return ticks if len(ticks) >= 2 else [self.low, self.high]

    def _decades(self, count: int) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for mantissas in ((1, 2, 5), (1, 3), (1,)):
            values = [mantissa * 10.0**power for power in powers for mantissa in mantissas]
            inside = [
                value
                for value in values
                if self.low * (1 - 1e-9) <= value <= self.high * (1 + 1e-9)
            ]
            if len(inside) <= count + 1:
                return inside
        return inside[:: math.ceil(len(inside) / count)]


def fit(values: Iterable[float | None], *, log: bool, ticks: int) -> Scale | None:
    """The scale for `values`, its bounds rounded outwards so that they rarely change.

    Returns:
        None when there is nothing that can be shown.
    """
    above = 0.0 if log else -math.inf
    shown = [value for value in values if value is not None and above < value < math.inf]
    if not shown:
        return None
    low, high = min(shown), max(shown)
    if log:
        # To tenths of a decade.
        below = math.floor(math.log10(low) * 10 + 1e-9)
        above = max(below + 1, math.ceil(math.log10(high) * 10 - 1e-9))
        return Scale(10.0 ** (below / 10), 10.0 ** (above / 10), log=True)
    spread = high - low or abs(high) * 0.1 or 1.0
    # A quarter of a tick: whole ticks would waste half of a low chart.
    step = _round_step(spread / max(1, 4 * ticks))
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    return Scale(low, high if high > low else low + step)


def label(value: float, step: float) -> str:
    """`value` with as many decimals as ticks `step` apart need."""
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    decimals = min(6, max(0, -math.floor(math.log10(step) + 1e-9))) if step > 0 else 0
    return f"{value:.{decimals}f}"


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if step <= factor * power * (1 + 1e-9))
