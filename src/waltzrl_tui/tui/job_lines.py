"""The table of jobs in words: its columns, one line a job, its title, the empty chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from waltzrl_tui.store import JobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui import job_words as words
from waltzrl_tui.tui.job_board import Figures
from waltzrl_tui.tui.widgets.job_table import Cell, Column, Line

_BAR_CELLS: Final = 12
_WAITING: Final = ("draft", "approved", "uploading", "submitting", "queued")


def columns(jobs: Collection[JobRow]) -> tuple[Column, ...]:
    """The columns for these jobs: ids, providers and steps get what their longest needs."""

    def longest(texts: Collection[str], least: int, most: int) -> int:
        return max(least, min(most, max(map(len, texts), default=0)))

    return (
        Column("job", longest([job.id for job in jobs], 8, 16)),
        Column("role", 12, spare=6),
        Column("where", longest({job.provider for job in jobs}, 8, 14), spare=7),
        Column("state", 11),
        Column("progress", _BAR_CELLS, spare=8, room=18),
        Column("step", longest([words.step(job) for job in jobs], 5, 13), spare=1, right=True),
        Column("loss", 6, spare=2, right=True),
        Column("valid", 6, spare=4, right=True),
        Column("tok/s", 5, spare=5, right=True),
        Column("ETA", 6, spare=3, right=True),
        Column("seen", 0, least=14),
    )


def line(job: JobRow, figures: Figures, slot: int | None, marked: bool, now: datetime) -> Line:
    """One job as the columns show it."""
    speed = figures.tokens_per_second
    shown = job.state == "running" and speed is not None
    cells: tuple[Cell, ...] = (
        [(one_line(job.id), "text")],
        [("both agents" if job.role == "both" else job.role, "faint")],
        [(one_line(job.provider), "faint")],
        [words.state(job)],
        _progress(job),
        [_or_none(words.step(job))],
        [_or_none(words.loss(figures.loss))],
        [_or_none(words.loss(figures.valid))],
        [_or_none(f"{speed:.0f}" if shown and speed else words.NONE)],
        [_or_none(words.duration(None if job.ended else job.eta_seconds))],
        [words.seen(job, now)],
    )
    return Line(cells, slot, marked)


def title(states: Counter[str]) -> str:
    """`Jobs · 2 running · 1 waiting · 1,000 in all`."""
    parts = ["Jobs"]
    waiting = sum(states[state] for state in _WAITING)
    for count, word in ((states["running"], "running"), (waiting, "waiting")):
        if count:
            parts.append(f"{count:,} {word}")
    if states.total():
        parts.append(f"{states.total():,} in all")
    return " · ".join(parts)


def empty_chart(job: JobRow | None, charted: Sequence[JobRow]) -> str:
    """Why there is no curve yet."""
    if job is None:
        return ""
    if not charted:
        return f"{job.id} samples replies and has no loss."
    first = charted[0]
    if first.ended:
        return f"{first.id} ended before its first step."
    if first.state == "running":
        return f"The curve of {first.id} begins with its first step."
    return f"The curve of {first.id} begins once it trains; it {one_line(first.reason) or 'waits'}."


def _progress(job: JobRow) -> Cell:
    if job.state != "running" or not job.total_steps:
        return [("", "faint")]
    done, left = words.progress(job, _BAR_CELLS)
    return [(done, "busy"), (left, "rest")]


def _or_none(text: str) -> tuple[str, str]:
    return text, "faint" if text == words.NONE else "text"
