"""Figures in words: money, durations, sizes, counts, rates. Nothing else formats them.

The same amount looks the same on every screen and in every command.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

NONE: Final = "–"
"""Stands in a table for a figure that is not known."""

UNKNOWN: Final = "not known"
"""Stands in a sentence for a figure that is not known."""

_FRESH_SECONDS: Final = 10


def money(usd: float | None, *, unknown: str = UNKNOWN, decimals: int | None = None) -> str:
    """An amount of USD: `$0`, `$0.0030`, `$4.40`, `$1,234`.

    Cents from one cent on; below it the two digits that count, down to `<$0.0001`.

    Args:
        unknown: The text for None and for infinity.
        decimals: Fixed decimals, for parts that are shown with their sum.
    """
    if usd is None or not math.isfinite(usd):
        return unknown
    sign, usd = ("-" if usd < 0 else ""), abs(usd)
    if decimals is not None:
        return f"{sign}${usd:,.{decimals}f}"
    if usd == 0:
        return "$0"
    if usd < 0.0001:
        return f"{sign}<$0.0001"
    if usd < 0.00995:
        return f"{sign}${usd:.{1 - math.floor(math.log10(usd))}f}"
    return f"{sign}${usd:,.0f}" if usd >= 999.995 else f"{sign}${usd:.2f}"


def money_range(low: float, high: float) -> str:
    """A range of USD: `$0.80–1.20`; one amount where both look the same."""
    first, last = money(low), money(high)
    if first == last:
        return first
    return f"{first}–{last}" if last.startswith("<") else f"{first}–{last.removeprefix('$')}"


def duration(seconds: float | None, *, rough: bool = False, unknown: str = NONE) -> str:
    """A duration: `9.5 s`, `45 s`, `1m40s`, `2h05m`, `3d04h`.

    Args:
        rough: Whole seconds and minutes only (`10 s`, `2m`, `2h05m`), for what changes often or
            is an estimate.
        unknown: The text for None and for infinity.
    """
    if seconds is None or not math.isfinite(seconds):
        return unknown
    seconds = max(0.0, seconds)
    if seconds < 9.95 and not rough:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if rough and whole < 3600:
        minutes = round(seconds / 60)
        return f"{minutes}m" if minutes < 60 else "1h00m"
    for size, inner, letter, below in ((86400, 3600, "d", "h"), (3600, 60, "h", "m")):
        if whole >= size:
            return f"{whole // size}{letter}{whole % size // inner:02d}{below}"
    return f"{whole // 60}m{whole % 60:02d}s"


def duration_range(low: float, high: float) -> str:
    """A range of estimated seconds: `20m–40m`; `~11m` where both look the same."""
    first, last = duration(low, rough=True), duration(high, rough=True)
    return f"~{first}" if first == last else f"{first}–{last}"


def ago(at: str, now: datetime) -> str:
    """How long ago an ISO time was, coarsely: `now`, `20 s ago`, `5m ago`, `2h05m ago`."""
    seconds = (now - datetime.fromisoformat(at)).total_seconds()
    if seconds < _FRESH_SECONDS:
        return "now"
    if seconds < 60:
        return f"{int(seconds // 10) * 10} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)}m ago"
    return f"{duration(seconds)} ago"


def clock(at: str, now: datetime) -> str:
    """An ISO time in the zone of `now`: `20:41:07` today, `3 Nov 20:41` on another day."""
    moment = datetime.fromisoformat(at).astimezone(now.tzinfo)
    if moment.date() == now.date():
        return moment.strftime("%H:%M:%S")
    return f"{moment.day} {moment.strftime('%b %H:%M')}"


def size(count: float) -> str:
    """Bytes: `812 B`, `4.1 kB`, `41 MB`, `2.1 GB`."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.0f} {unit}" if count >= 9.95 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


def short_count(count: int) -> str:
    """A count where there is little room: `812`, `9,987`, `41.2k`, `3.4M`."""
    if count < 10_000:
        return f"{count:,}"
    if count < 999_950:
        return f"{count / 1000:.1f}k"
    return f"{count / 1_000_000:.1f}M"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count with its noun: `1 row`, `9,987 rows`, `2 entries` (with `nouns`)."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def tokens(count: int | None, *, unknown: str = NONE) -> str:
    """A count of tokens: `1,234 tok`."""
    return unknown if count is None else f"{count:,} tok"


def percent(share: float | None, *, unknown: str = NONE, decimals: int = 0) -> str:
    """A share (0 to 1): `12 %`."""
    return unknown if share is None else f"{100 * share:.{decimals}f} %"


def rate(value: float | None, low: float, high: float, *, decimals: int = 0) -> str:
    """A share (0 to 1) with its 95 % interval: `12 % (7–20)`.

    Args:
        decimals: Of the share; the interval has none.
    """
    if value is None:
        return NONE
    return f"{percent(value, decimals=decimals)} ({100 * low:.0f}–{100 * high:.0f})"


def points(difference: float, low: float, high: float, *, decimals: int = 1) -> str:
    """A difference of two shares in percentage points with its interval: `+3.1 (-2 to +8)`."""
    return f"{100 * difference:+.{decimals}f} ({100 * low:+.0f} to {100 * high:+.0f})"
