"""Jobs in words: states with their glyphs, steps, costs, the last report, titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from waltzrl_tui import words
from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.jobs.model import Figures
from waltzrl_tui.tui.tables.keyed_table import Span

_STATES: Final[dict[str, Span]] = {
    "draft": ("· draft", "faint"),
    "approved": ("· approved", "faint"),
    "uploading": ("↑ uploading", "busy"),
    "submitting": ("↑ submitting", "busy"),
    "queued": ("◌ waiting", "idle"),
    "running": ("● running", "busy"),
    "succeeded": ("✓ succeeded", "good"),
    "failed": ("✗ failed", "bad"),
    "cancelled": ("⊗ cancelled", "faint"),
}
_WAITING: Final = ("draft", "approved", "uploading", "submitting", "queued")


def state(job: JobRow) -> Span:
    """The state with its glyph; a job that was asked to stop and has not yet is stopping."""
    if job.cancel_requested and not job.ended:
        return "◐ stopping", "idle"
    return _STATES[job.state]


def step(job: JobRow, fraction: float | None = None) -> str:
    """`34/60`, `62 %`, or `34` where the last step is not known; a dash before the first.

    Args:
        fraction: The share that is done (0 to 1), where a provider reports that and no steps.
    """
    if job.total_steps:
        waiting = job.state in ("draft", "approved", "queued")
        return words.NONE if waiting and not job.step else f"{job.step}/{job.total_steps}"
    if fraction is not None and not job.ended:
        return words.percent(fraction)
    return str(job.step) if job.step else words.NONE


def cost(job: JobRow) -> str:
    """`$1.90`; `≈$1.90` where only the estimate is known yet."""
    if job.cost_usd or job.embedded or job.state in ("failed", "cancelled"):
        return words.money(job.cost_usd)
    return f"≈{words.money(job.estimate_usd)}" if job.estimate_usd else words.NONE


def loss(value: float | None) -> str:
    """Three decimals, fewer where the number is large."""
    if value is None:
        return words.NONE
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def current_time() -> datetime:
    """The present, in the time zone of this machine."""
    return datetime.now(UTC).astimezone()


def last_report(job: JobRow, now: datetime, at: str = "") -> Span:
    """When a job reported last, what it waits for, or how it ended.

    Args:
        at: When its provider reported last (ISO), for a job that does not run here.
    """
    if job.state == "failed":
        return one_line(job.error) or "no reason given", "text"
    if job.state == "succeeded":
        took = f" in {words.duration(run_seconds(job))}" if job.started_at else ""
        result = f"→ {one_line(job.agent)}" if job.agent else "→ training files"
        return result + took, "faint"
    if job.state == "cancelled":
        return words.clock(job.ended_at or job.updated_at, now), "faint"
    reason = one_line(job.reason)
    if job.state == "running":
        age = words.ago(at or job.updated_at, now)
        return " · ".join(part for part in (age, reason) if part), "text"
    return reason or words.NONE, "faint"


def run_seconds(job: JobRow) -> float | None:
    """Seconds from its start to its end, where it has ended."""
    if not job.started_at or not job.ended_at:
        return None
    start, end = datetime.fromisoformat(job.started_at), datetime.fromisoformat(job.ended_at)
    return (end - start).total_seconds()


def facts(job: JobRow, figures: Figures, now: datetime) -> str:
    """Model, start, tokens trained and memory, as far as they are known, on one line."""
    parts = [one_line(job.model)]
    if job.started_at:
        parts.append(f"started {words.clock(job.started_at, now)}")
    if tokens := figures.get("tokens"):
        parts.append(words.tokens(round(tokens)))
    if memory := figures.get("memory_bytes"):
        parts.append(words.size(memory))
    return " · ".join(parts)


def table_title(states: Counter[str], query: str) -> str:
    """`Jobs · 2 running · 1 waiting · 1,000 in all · “query”`."""
    waiting = sum(states[state] for state in _WAITING)
    counts = ((states["running"], "running"), (waiting, "waiting"), (states.total(), "in all"))
    parts = ["Jobs", *(f"{count:,} {what}" for count, what in counts if count)]
    if query:
        parts.append(f"“{one_line(query, 30)}”")
    return " · ".join(parts)


def empty_chart(job: JobRow | None, charted: Sequence[JobRow]) -> str:
    """Why there is no curve yet."""
    if job is None:
        return ""
    if not charted:
        return f"{job.id} samples replies and has no loss."
    first = charted[0]
    if first.ended:
        return f"{first.id} has ended without reporting a loss."
    if first.state == "running":
        return f"The curve of {first.id} begins with its first step."
    reason = one_line(first.reason, 80).rstrip(".") or "waiting"
    return f"The curve of {first.id} begins once it trains ({reason})."
