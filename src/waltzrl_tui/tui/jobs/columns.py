"""The columns of the Jobs table: one entry of `_COLUMNS` is all there is to a column."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from waltzrl_tui import words
from waltzrl_tui.store import JobRow
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.jobs import lines
from waltzrl_tui.tui.jobs.model import Figures
from waltzrl_tui.tui.tables.keyed_table import Cell, TableColumn

_BAR_CELLS: Final = 12
_NOTHING: Final[Cell] = [("", "faint")]


@dataclass(frozen=True, slots=True)
class JobCells:
    """A job with the readings that its cells show."""

    job: JobRow
    figures: Figures
    remote: RemoteJobRow | None
    now: datetime

    @property
    def fraction(self) -> float | None:
        """The share that is done (0 to 1), where its provider reports that."""
        return self.remote.fraction if self.remote else None


@dataclass(frozen=True, slots=True)
class _JobColumn:
    """A column: its label, the cell of a job, its width (see `TableColumn`).

    `width` and `spare` may depend on the jobs of the table.
    """

    label: str
    cell: Callable[[JobCells], Cell]
    width: int | Callable[[Collection[JobRow]], int]
    spare: int | Callable[[Collection[JobRow]], int] = 0
    right: bool = False
    least: int = 8
    room: int = 0


def table_columns(jobs: Collection[JobRow]) -> tuple[TableColumn, ...]:
    """The columns for these jobs: ids, providers and steps get what their longest needs."""
    return tuple(
        TableColumn(
            column.label,
            column.width if isinstance(column.width, int) else column.width(jobs),
            spare=column.spare if isinstance(column.spare, int) else column.spare(jobs),
            right=column.right,
            least=column.least,
            room=column.room,
        )
        for column in _COLUMNS
    )


def table_cells(cells: JobCells) -> tuple[Cell, ...]:
    """The cells of one job, in the order of the columns."""
    return tuple(column.cell(cells) for column in _COLUMNS)


def _longest(
    text: Callable[[JobRow], str], least: int, most: int
) -> Callable[[Collection[JobRow]], int]:
    """A width that fits the longest text, between `least` and `most` cells."""
    return lambda jobs: max(least, min(most, max((len(text(job)) for job in jobs), default=0)))


def _progress(cells: JobCells) -> Cell:
    job, share = cells.job, cells.fraction
    if job.total_steps:
        share = job.step / job.total_steps
    if job.state != "running" or share is None:
        return _NOTHING
    filled = min(_BAR_CELLS, int(share * _BAR_CELLS))
    return [("━" * filled, "busy"), ("─" * (_BAR_CELLS - filled), "rest")]


def _speed(cells: JobCells) -> Cell:
    speed = cells.figures.get("tokens_per_second") if cells.job.state == "running" else None
    return _figure(f"{speed:.0f}" if speed else words.NONE)


def _speed_spare(jobs: Collection[JobRow]) -> int:
    """A provider reports no speed, so that the column goes first where there are such jobs."""
    return 8 if any(not job.embedded for job in jobs) else 5


def _eta(cells: JobCells) -> Cell:
    job = cells.job
    return _figure(words.duration(None if job.ended else job.eta_seconds, rough=True))


def _last_report(cells: JobCells) -> Cell:
    at = (cells.remote.seen_at or "") if cells.remote else ""
    return [lines.last_report(cells.job, cells.now, at)]


def _figure(text: str) -> Cell:
    return [(text, "faint" if text == words.NONE else "text")]


_COLUMNS: Final = (
    _JobColumn("job", lambda c: [(one_line(c.job.id), "text")], _longest(lambda j: j.id, 8, 16)),
    _JobColumn(
        "role",
        lambda c: [("both agents" if c.job.role == "both" else c.job.role, "faint")],
        12,
        spare=6,
    ),
    _JobColumn(
        "where",
        lambda c: [(one_line(c.job.provider), "faint")],
        _longest(lambda job: job.provider, 8, 14),
        spare=7,
    ),
    _JobColumn("state", lambda c: [lines.state(c.job)], 11),
    _JobColumn("progress", _progress, _BAR_CELLS, spare=8, room=18),
    _JobColumn(
        "step",
        lambda c: _figure(lines.step(c.job, c.fraction)),
        _longest(lines.step, 5, 13),
        spare=1,
        right=True,
    ),
    _JobColumn(
        "loss", lambda c: _figure(lines.loss(c.figures.get("loss"))), 6, spare=2, right=True
    ),
    _JobColumn(
        "valid", lambda c: _figure(lines.loss(c.figures.get("valid_loss"))), 6, spare=4, right=True
    ),
    _JobColumn("tok/s", _speed, 5, spare=_speed_spare, right=True),
    _JobColumn("ETA", _eta, 6, spare=3, right=True),
    _JobColumn(
        "cost",
        lambda c: _figure(lines.cost(c.job)),
        _longest(lines.cost, 5, 10),
        spare=3,
        right=True,
    ),
    _JobColumn("last report", _last_report, 0, least=14),
)
