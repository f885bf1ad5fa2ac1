"""Rates with their 95 % Wilson intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_Z = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`hits` of `n`; with n = 0 the interval is [0, 1]."""

    hits: int
    n: int

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n:
            raise ValueError(f"{self.hits} hits of {self.n}")

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Rate:
        """The share of true among `outcomes`."""
        values = list(outcomes)
        return cls(sum(values), len(values))

    @property
    def value(self) -> float | None:
        return self.hits / self.n if self.n else None

    @property
    def low(self) -> float:
        return self._bounds()[0]

    @property
    def high(self) -> float:
        return self._bounds()[1]

    def _bounds(self) -> tuple[float, float]:
        if not self.n:
            return 0.0, 1.0
        share = self.hits / self.n
        scale = 1 + _Z**2 / self.n
        centre = (share + _Z**2 / (2 * self.n)) / scale
        half = _Z / scale * math.sqrt(share * (1 - share) / self.n + _Z**2 / (4 * self.n**2))
        # At 0 and 1 the bound is exact, but for the rounding.
        low = 0.0 if self.hits == 0 else max(0.0, centre - half)
        high = 1.0 if self.hits == self.n else min(1.0, centre + half)
        return low, high

    def to_json(self) -> dict[str, float | int | None]:
        """`rate` (null for n = 0), `low`, `high` and `n`, the shares to four places."""
        value = self.value
        return {
            "rate": None if value is None else round(value, 4),
            "low": round(self.low, 4),
            "high": round(self.high, 4),
            "n": self.n,
        }
