"""Paired statistics of two systems or two judges: difference with a test, and agreement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.evaluation.metrics import Rate


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p of McNemar's exact test: discordant pairs as tosses of a fair coin.

    Args:
        only_first, only_second: Pairs whose outcome is true on one side only.
    """
    n = only_first + only_second
    if n == 0:
        return 1.0
    few = min(only_first, only_second)
    tail = ways = 1
    for k in range(few):
        # Each binomial coefficient from the one before: whole, and no factorial of n.
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << n))


def holm(ps: Sequence[float]) -> list[float]:
    """The p of several tests, corrected by Holm's method (1979).

    At most 5 % of such families have a corrected p below 0.05 by chance alone.
    """
    adjusted = list(ps)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = largest
    return adjusted


def p_words(p: float) -> str:
    """A p value: `0.0312`, or `<0.0001`."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


@dataclass(frozen=True, slots=True)
class Paired:
    """One rate of two systems on the same `n` prompts.

    Attributes:
        both, only_first, only_second, neither: Prompts by outcome.
    """

    both: int
    only_first: int
    only_second: int
    neither: int

    @classmethod
    def of(cls, outcomes: Iterable[tuple[bool, bool]]) -> Paired:
        """Count the outcomes of the first and the second system on each prompt."""
        counts = Counter((bool(first), bool(second)) for first, second in outcomes)
        return cls(
            both=counts[True, True],
            only_first=counts[True, False],
            only_second=counts[False, True],
            neither=counts[False, False],
        )

    @property
    def n(self) -> int:
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def first(self) -> Rate:
        return Rate(self.both + self.only_first, self.n)

    @property
    def second(self) -> Rate:
        return Rate(self.both + self.only_second, self.n)

    @property
    def difference(self) -> float | None:
        """The second rate minus the first; None without prompts."""
        return (self.only_second - self.only_first) / self.n if self.n else None

    @property
    def p(self) -> float:
        """By McNemar's exact test."""
        return mcnemar(self.only_first, self.only_second)

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `difference`: Newcombe (1998), square-and-add, method 10."""
        if not self.n:
            return -1.0, 1.0
        first, second = self.first, self.second
        p1, p2 = first.hits / self.n, second.hits / self.n
        below1, above1 = p1 - first.low, first.high - p1
        below2, above2 = p2 - second.low, second.high - p2
        phi = self._correlation()
        low = math.sqrt(max(0.0, below2**2 - 2 * phi * below2 * above1 + above1**2))
        high = math.sqrt(max(0.0, above2**2 - 2 * phi * above2 * below1 + below1**2))
        gap = p2 - p1
        return max(-1.0, gap - low), min(1.0, gap + high)

    def _correlation(self) -> float:
        a, b, c, d = self.both, self.only_first, self.only_second, self.neither
        scale = (a + b) * (c + d) * (a + c) * (b + d)
        if not scale:
            return 0.0
        cross: float = a * d - b * c
        if cross > 0:
            cross = max(0, cross - self.n / 2)
        return cross / math.sqrt(scale)

    def to_json(self) -> dict[str, Any]:
        """`difference` (null without prompts), `low`, `high`, `n`, `p` and the discordant pairs."""
        low, high = self.interval()
        gap = self.difference
        return {
            "difference": None if gap is None else round(gap, 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "n": self.n,
            "p": float(f"{self.p:.4g}"),
            "only_first": self.only_first,
            "only_second": self.only_second,
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two judges, or a judge and people, on the same yes-or-no question.

    `paired.first` is the first one's share of yes.
    """

    paired: Paired

    @classmethod
    def of(cls, outcomes: Iterable[tuple[bool, bool]]) -> Agreement:
        return cls(Paired.of(outcomes))

    @property
    def rate(self) -> Rate:
        """How often they agree."""
        return Rate(self.paired.both + self.paired.neither, self.paired.n)

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa: agreement beyond what their shares of yes give by chance.

        None where it is undefined: both always give the same one answer.
        """
        n = self.paired.n
        if not n:
            return None
        # Whole numbers, so that an undefined kappa is recognised exactly.
        yes1, yes2 = self.paired.first.hits, self.paired.second.hits
        expected = yes1 * yes2 + (n - yes1) * (n - yes2)
        if expected == n * n:
            return None
        return (self.rate.hits * n - expected) / (n * n - expected)

    def to_json(self) -> dict[str, Any]:
        kappa = self.kappa
        return {
            "agreement": self.rate.to_json(),
            "kappa": None if kappa is None else round(kappa, 4),
            "n": self.paired.n,
            "differ": self.paired.only_first + self.paired.only_second,
        }
