"""The table of jobs in words: its columns, one line a job, its title, the empty chart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from waltzrl_tui.store import JobRow
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.jobs import words
from waltzrl_tui.tui.jobs.model import Figures
from waltzrl_tui.tui.jobs.table import Cell, Column, Line

_BAR_CELLS: Final = 12
_WAITING: Final = ("draft", "approved", "uploading", "submitting", "queued")


def columns(jobs: Collection[JobRow]) -> tuple[Column, ...]:
    """The columns for these jobs: ids, providers and steps get what their longest needs."""

    def longest(texts: Collection[str], least: int, most: int) -> int:
        return max(least, min(most, max(map(len, texts), default=0)))

    # A provider tells no speed, and costs something.
    elsewhere = any(job.provider != "embedded" for job in jobs)
    return (
        Column("job", longest([job.id for job in jobs], 8, 16)),
        Column("role", 12, spare=6),
        Column("where", longest({job.provider for job in jobs}, 8, 14), spare=7),
        Column("state", 11),
        Column("progress", _BAR_CELLS, spare=8, room=18),
        Column("step", longest([words.step(job) for job in jobs], 5, 13), spare=1, right=True),
        Column("loss", 6, spare=2, right=True),
        Column("valid", 6, spare=4, right=True),
        Column("tok/s", 5, spare=8 if elsewhere else 5, right=True),
        Column("ETA", 6, spare=3, right=True),
        Column("cost", longest([words.cost(job) for job in jobs], 5, 10), spare=3, right=True),
        Column("seen", 0, least=14),
    )


def line(
    job: JobRow,
    figures: Figures,
    slot: int | None,
    marked: bool,
    now: datetime,
    remote: RemoteJobRow | None = None,
) -> Line:
    """One job as the columns show it."""
    speed = figures.get("tokens_per_second")
    shown = job.state == "running" and speed is not None
    cells: tuple[Cell, ...] = (
        [(one_line(job.id), "text")],
        [("both agents" if job.role == "both" else job.role, "faint")],
        [(one_line(job.provider), "faint")],
        [words.state(job)],
        _progress(job, remote),
        [_or_none(words.step(job, remote.fraction if remote else None))],
        [_or_none(words.loss(figures.get("loss")))],
        [_or_none(words.loss(figures.get("valid_loss")))],
        [_or_none(f"{speed:.0f}" if shown and speed else words.NONE)],
        [_or_none(words.duration(None if job.ended else job.eta_seconds))],
        [_or_none(words.cost(job))],
        [words.seen(job, now, (remote.seen_at or "") if remote else "")],
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
        return f"{first.id} has ended, and no loss was told."
    if first.state == "running":
        return f"The curve of {first.id} begins with its first step."
    return f"The curve of {first.id} begins once it trains; {_waiting(first)}."


def _waiting(job: JobRow) -> str:
    reason = one_line(job.reason, 80).rstrip(".")
    return f"it {reason or 'waits'}" if not reason or reason.startswith("waits") else reason


def _progress(job: JobRow, remote: RemoteJobRow | None) -> Cell:
    if job.state != "running":
        return [("", "faint")]
    if job.total_steps:
        done, left = words.progress(job, _BAR_CELLS)
    elif remote is not None and remote.fraction is not None:
        cells = min(_BAR_CELLS, int(remote.fraction * _BAR_CELLS))
        done, left = "━" * cells, "─" * (_BAR_CELLS - cells)
    else:
        return [("", "faint")]
    return [(done, "busy"), (left, "rest")]


def _or_none(text: str) -> tuple[str, str]:
    return text, "faint" if text == words.NONE else "text"
