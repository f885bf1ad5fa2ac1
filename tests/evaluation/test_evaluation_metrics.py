"""Rates and their Wilson intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.evaluation.metrics import Rate

rates = st.integers(0, 500).flatmap(lambda n: st.builds(Rate, st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # From Newcombe (1998), table I, method 3, and R's prop.test(correct=FALSE).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    rate = Rate(hits, n)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=5e-5)


@given(rates)
def test_the_interval_holds_the_rate(rate: Rate) -> None:
    value = rate.value
    assert 0 <= rate.low < rate.high <= 1
    assert value is None or rate.low <= value <= rate.high


@given(rates)
def test_misses_mirror_hits(rate: Rate) -> None:
    mirrored = Rate(rate.n - rate.hits, rate.n)
    assert (mirrored.low, mirrored.high) == pytest.approx((1 - rate.high, 1 - rate.low))


def test_nothing_seen_is_no_rate() -> None:
    assert Rate.of([]).to_json() == {"rate": None, "low": 0.0, "high": 1.0, "n": 0}
    assert Rate.of([True, False]).to_json()["rate"] == 0.5
    with pytest.raises(ValueError, match="3 hits of 2"):
        Rate(3, 2)
