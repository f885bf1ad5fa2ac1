"""Figures as text: sizes, durations, counts, and bars made of characters."""

from __future__ import annotations

from collections.abc import Sequence

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def size_of(count: int) -> str:
    """Bytes as "812 B", "41 kB", "2.1 GB"."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if size >= 9.95 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def short_count(count: int) -> str:
    """A count as "812", "41.2k", "3.4M"."""
    if count < 10_000:
        return f"{count:,}"
    if count < 999_950:
        return f"{count / 1000:.1f}k"
    return f"{count / 1_000_000:.1f}M"


def duration(seconds: float) -> str:
    """A duration as "40 s", "11 min", "2 h 10 min"."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def bar(share: float, width: int) -> str:
    """A horizontal bar, `share` (0 to 1) of `width` cells long; never nothing for more than 0."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def levels(counts: Sequence[int], *, over: Sequence[int] = ()) -> str:
    """A histogram on one line; empty buckets are spaces, those at both ends are left out.

    Args:
        over: Counts that say where the ends are, so that several histograms can be compared.
    """
    filled = [place for place, count in enumerate(over or counts) if count]
    top = max(counts, default=0)
    if not filled or not top:
        return ""
    return "".join(
        _LEVELS[min(7, count * 8 // top)] if count else " "
        for count in counts[filled[0] : filled[-1] + 1]
    )
