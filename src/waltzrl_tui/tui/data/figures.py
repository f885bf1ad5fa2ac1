"""Bars and histograms drawn with characters."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_LEVELS = "▁▂▃▄▅▆▇█"


def bar(share: float, width: int) -> str:
    """A horizontal bar, `share` (0 to 1) of `width` cells long; never empty for a share above 0."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def sample_size(train: int, valid: int) -> Content:
    """The rows of a sample on one line."""
    return Content.assemble(
        ("→ ", "$faint"),
        (f"{train:,}", "bold $foreground"),
        (" train  ", "$text-muted"),
        (f"{valid:,}", "bold $foreground"),
        (" valid", "$text-muted"),
    )


def levels(counts: Sequence[int], *, over: Sequence[int] = ()) -> str:
    """A histogram on one line; empty buckets are spaces, those at both ends are dropped.

    Args:
        over: Counts that set the ends, so that several histograms line up.
    """
    filled = [place for place, count in enumerate(over or counts) if count]
    top = max(counts, default=0)
    if not filled or not top:
        return ""
    return "".join(
        _LEVELS[min(7, count * 8 // top)] if count else " "
        for count in counts[filled[0] : filled[-1] + 1]
    )
