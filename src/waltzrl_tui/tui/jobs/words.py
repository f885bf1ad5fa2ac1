"""Jobs in words: states with their glyphs, times, figures, and what to press next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from waltzrl_tui import words as figures_in_words
from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.jobs.model import Figures

NONE: Final = "–"
_FRESH_SECONDS: Final = 15


class Word(NamedTuple):
    """Text and the name of its style: good, bad, busy, idle, faint or text."""

    text: str
    style: str = "text"


_STATES: Final[dict[str, Word]] = {
    "draft": Word("· draft", "faint"),
    "approved": Word("· approved", "faint"),
    "uploading": Word("↑ uploading", "busy"),
    "submitting": Word("↑ submitting", "busy"),
    "queued": Word("◌ waiting", "idle"),
    "running": Word("● running", "busy"),
    "succeeded": Word("✓ succeeded", "good"),
    "failed": Word("✗ failed", "bad"),
    "cancelled": Word("⊗ cancelled", "faint"),
}


def state(job: JobRow) -> Word:
    """The state with its glyph; a job that was asked to stop and has not yet is stopping."""
    if job.cancel_requested and not job.ended:
        return Word("◐ stopping", "idle")
    return _STATES[job.state]


def step(job: JobRow, fraction: float | None = None) -> str:
    """`34/60`, `62%` or `34` where the end is not known, a dash before the first.

    Args:
        fraction: Done, 0 to 1, where a provider tells that and no steps.
    """
    if job.total_steps:
        return f"{job.step}/{job.total_steps}" if job.step or not _waits(job) else NONE
    if fraction is not None and not job.ended:
        return f"{fraction:.0%}"
    return str(job.step) if job.step else NONE


def cost(job: JobRow) -> str:
    """`$1.90`; `≈$1.90` where only the estimate is known yet."""
    if job.cost_usd:
        return f"${job.cost_usd:,.2f}"
    if job.provider == "embedded" or job.state in ("failed", "cancelled"):
        return "$0.00"
    return f"≈${job.estimate_usd:,.2f}" if job.estimate_usd else NONE


def progress(job: JobRow, width: int) -> tuple[str, str]:
    """A bar of `width` cells in two parts: what is done and what is left."""
    done = min(width, job.step * width // job.total_steps) if job.total_steps else 0
    return "━" * done, "─" * (width - done)


def loss(value: float | None) -> str:
    """Three decimals, fewer where the number is large."""
    if value is None:
        return NONE
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def duration(seconds: float | None) -> str:
    """`45s`, `1m40`, `2h05`, `3d04`; a dash for None."""
    if seconds is None:
        return NONE
    whole = max(0, round(seconds))
    for size, inner, letters in ((86400, 3600, "d"), (3600, 60, "h"), (60, 1, "m")):
        if whole >= size:
            return f"{whole // size}{letters}{whole % size // inner:02d}"
    return f"{whole}s"


def clock(at: str, now: datetime) -> str:
    """The local time of a moment: `20:41:07` today, `3 Nov 20:41` on another day."""
    moment = datetime.fromisoformat(at).astimezone(now.tzinfo)
    if moment.date() == now.date():
        return moment.strftime("%H:%M:%S")
    return f"{moment.day} {moment.strftime('%b %H:%M')}"


def here() -> datetime:
    """The present, in the zone of this machine."""
    return datetime.now(UTC).astimezone()


def ago(at: str, now: datetime) -> str:
    """How long ago, coarsely, so that it rarely changes: `now`, `20 s ago`, `5 min ago`."""
    seconds = (now - datetime.fromisoformat(at)).total_seconds()
    if seconds < _FRESH_SECONDS:
        return "now"
    if seconds < 60:
        return f"{int(seconds // 10) * 10} s ago"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    return f"{int(seconds // 3600)} h ago" if seconds < 86400 else f"{int(seconds // 86400)} d ago"


def seen(job: JobRow, now: datetime, at: str = "") -> Word:
    """The last word on a job: when it was heard of, what it waits for, what became of it.

    Args:
        at: When its provider last told of it, for a job that is not here.
    """
    if job.state == "failed":
        return Word(one_line(job.error) or "no reason given")
    if job.state == "succeeded":
        took = f" in {duration(run_seconds(job))}" if job.started_at else ""
        made = f"→ {one_line(job.agent)}" if job.agent else "→ training files"
        return Word(made + took, "faint")
    if job.state == "cancelled":
        return Word(clock(job.ended_at or job.updated_at, now), "faint")
    reason = one_line(job.reason)
    if job.state == "running":
        return Word(" · ".join(part for part in (ago(at or job.updated_at, now), reason) if part))
    return Word(reason.removeprefix("waits ") or NONE, "faint")


def run_seconds(job: JobRow) -> float | None:
    """Seconds from its start to its end, where it has ended."""
    if not job.started_at or not job.ended_at:
        return None
    start, end = datetime.fromisoformat(job.started_at), datetime.fromisoformat(job.ended_at)
    return (end - start).total_seconds()


def facts(job: JobRow, figures: Figures, now: datetime) -> str:
    """Model, start, tokens seen and memory, as far as they are known, on one line."""
    parts = [one_line(job.model)]
    if job.started_at:
        parts.append(f"started {clock(job.started_at, now)}")
    if tokens := figures.get("tokens"):
        parts.append(f"{tokens:,.0f} tokens")
    if memory := figures.get("memory_bytes"):
        parts.append(figures_in_words.size(memory))
    return " · ".join(parts)


def _waits(job: JobRow) -> bool:
    return job.state in ("draft", "approved", "queued")
