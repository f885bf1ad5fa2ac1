"""The same amount looks the same everywhere, whatever its size."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui import words


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (None, "not known"),
        (math.inf, "not known"),
        (0, "$0"),
        (0.00002, "<$0.0001"),
        (0.003, "$0.0030"),
        (0.00042, "$0.00042"),
        (0.0099, "$0.0099"),
        (0.00999, "$0.01"),
        (0.42, "$0.42"),
        (999.99, "$999.99"),
        (999.996, "$1,000"),
        (-1.5, "-$1.50"),
    ],
)
def test_money(usd: float | None, text: str) -> None:
    assert words.money(usd) == text


@given(st.floats(min_value=0.0001, max_value=1e9))
def test_money_is_off_by_a_hundredth_part_or_half_a_cent_at_most(usd: float) -> None:
    shown = float(words.money(usd).removeprefix("$").replace(",", ""))
    assert abs(shown - usd) <= max(0.05 * usd if usd < 0.01 else 0.0, 0.0050001, 0.0006 * usd)


@pytest.mark.parametrize(
    ("seconds", "text", "rough"),
    [
        (None, "–", "–"),
        (0.04, "0.0 s", "0 s"),
        (9.94, "9.9 s", "10 s"),
        (59.4, "59 s", "59 s"),
        (59.6, "1m00s", "1m"),
        (100, "1m40s", "2m"),
        (3599.6, "1h00m", "1h00m"),
        (3580, "59m40s", "1h00m"),
        (7500, "2h05m", "2h05m"),
        (273_600, "3d04h", "3d04h"),
    ],
)
def test_durations(seconds: float | None, text: str, rough: str) -> None:
    assert words.duration(seconds) == text
    assert words.duration(seconds, rough=True) == rough


@given(st.floats(min_value=0, max_value=1e7), st.booleans())
def test_no_duration_has_sixty_minutes_or_seconds(seconds: float, rough: bool) -> None:
    parts = re.findall(r"\d+(?=[ms])|\d+(?= s)", words.duration(seconds, rough=rough))
    assert all(int(part) < 60 for part in parts)


def test_ranges_counts_and_rates() -> None:
    assert words.money_range(0.8, 1.2) == "$0.80–1.20"
    assert words.money_range(1.2, 1.2) == "$1.20"
    assert words.duration_range(600, 1500) == "10m–25m"
    assert words.duration_range(659, 661) == "~11m"
    assert words.size(999.6) == "1.0 kB"
    assert words.size(2_100_000_000) == "2.1 GB"
    assert words.short_count(41_234) == "41.2k"
    assert words.plural(1, "row") == "1 row"
    assert words.plural(9_987, "row") == "9,987 rows"
    assert words.plural(2, "entry", "entries") == "2 entries"
    assert words.rate(0.123, 0.07, 0.2) == "12 % (7–20)"
    assert words.rate(0.123, 0.07, 0.2, decimals=1) == "12.3 % (7–20)"
    assert words.points(0.031, -0.02, 0.08) == "+3.1 (-2 to +8)"
