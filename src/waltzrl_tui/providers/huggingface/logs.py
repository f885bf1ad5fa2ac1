"""What is new in the log of a job: rows of our worker, and lines of everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.providers.protocol import RemoteEvent, RemoteMetric
from waltzrl_tui.providers.worker_rows import WorkerRow, read
from waltzrl_tui.records.jobs import Level

_LEVELS: Mapping[str, Level] = {"warning": "warning", "error": "error"}


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log was read: the number of the last row, and how many other lines after it."""

    row: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class News:
    """What came after a place.

    Attributes:
        rows: Of the worker, in order. `lines`: of everything else.
        gap: Some of what came is missing: the log has to be read from its beginning.
    """

    rows: Sequence[WorkerRow]
    lines: Sequence[str]
    place: Place
    gap: bool = False


def news(log: Sequence[str], since: Place) -> News:
    """What is new in a log, or in its last lines, since `seen`."""
    parsed = [(line, read(line)) for line in log]
    at = next((at for at, (_, row) in enumerate(parsed) if row and row.number == since.row), None)
    if at is None and since.row:
        fresh = [each for each in parsed if each[1] and each[1].number > since.row]
        # All that is left of a log whose beginning is gone.
        return _counted(fresh, since, gap=True)
    return _counted(parsed[0 if at is None else at + 1 :], since, skip=since.after)


def _counted(
    parsed: Sequence[tuple[str, WorkerRow | None]],
    since: Place,
    *,
    skip: int = 0,
    gap: bool = False,
) -> News:
    rows: list[WorkerRow] = []
    lines: list[str] = []
    number, after = since.row, 0
    for line, row in parsed:
        if row is None:
            after += 1
            if rows or after > skip:
                lines.append(line)
        elif row.number > number:
            rows.append(row)
            number, after = row.number, 0
    if not rows:
        after = max(after, since.after)
    return News(rows, lines, Place(number, after), gap)


def metrics(rows: Sequence[WorkerRow]) -> list[RemoteMetric]:
    """The steps among the rows."""
    return [
        RemoteMetric(
            step,
            loss=row.real("loss"),
            valid_loss=row.real("valid_loss"),
            epoch=row.real("epoch"),
            learning_rate=row.real("learning_rate"),
            tokens=row.whole("tokens"),
            at=row.text("at"),
        )
        for row in rows
        if row.kind == "step" and (step := row.whole("step")) is not None
    ]


def events(rows: Sequence[WorkerRow]) -> list[RemoteEvent]:
    """The worker's notes, and its speed at each validation."""
    events = []
    for row in rows:
        if row.kind == "note":
            level: Level = _LEVELS.get(row.text("level"), "info")
            events.append(RemoteEvent(f"row:{row.number}", "", row.text("text"), level))
        elif row.kind == "result":
            events.append(
                RemoteEvent(f"row:{row.number}", "", f"the adapter is in {row.text('repo')}")
            )
        elif row.real("valid_loss") is not None and (pace := row.real("tokens_per_second")):
            text = f"step {row.whole('step')}: {pace:,.0f} tokens/s"
            events.append(RemoteEvent(f"row:{row.number}", row.text("at"), text))
    return events


def last_error(rows: Sequence[WorkerRow]) -> str:
    """The worker's own reason to end, or ""."""
    errors = [row for row in rows if row.kind == "note" and row.text("level") == "error"]
    return errors[-1].text("text") if errors else ""


def place_of(cursor: Mapping[str, Any]) -> Place:
    """The place in a cursor."""
    return Place(int(cursor.get("row", 0)), int(cursor.get("after", 0)))
