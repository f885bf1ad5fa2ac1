"""What the Jobs screen knows of the store: jobs in order, figures, curves; read as they change."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import EventRow, JobRow, PairRow, Store
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.tui.chart.curves import Curve, Point

_NEWEST: Final = 8
# A job that nobody watches is asked for its last steps only; a validation lies among them.
_TAIL_STEPS: Final = 200
_PAGE: Final = 500
# Of hundreds that have not ended, those off the screen may be seconds old.
_SECONDS_A_JOB: Final = 0.004
_KEPT_CURVES: Final = 24


@dataclass(frozen=True, slots=True)
class Figures:
    """The latest value of each of a job's series."""

    values: Mapping[str, float] = field(default_factory=dict)

    def get(self, name: str) -> float | None:
        """The latest value of a series, or None."""
        return self.values.get(name)

    def after(self, metric: Metric) -> Figures:
        """The figures once `metric` was measured: what it lacks stays as it was."""
        values = {**self.values, **metric.values}
        # An old loss would hide that the latest one is not a number.
        if "loss" not in metric.values:
            values.pop("loss", None)
        return Figures(values)


@dataclass(slots=True)
class Losses:
    """The curves of a job, by step; a step that a resumed job measures again is replaced."""

    train: list[Point] = field(default_factory=list)
    valid: list[Point] = field(default_factory=list)
    _by_step: dict[int, tuple[float | None, float | None]] = field(default_factory=dict)
    _cursor: int = 0

    async def read(self, store: Store, job_id: str) -> None:
        """Add what was written since the last time."""
        rows, self._cursor = await store.jobs.metrics_written(job_id, self._cursor)
        if rows:
            self.take({row.step: (row.get("loss"), row.get("valid_loss")) for row in rows})

    def take(self, rows: Mapping[int, tuple[float | None, float | None]]) -> None:
        """Add measured steps: the loss and the validation loss of each."""
        self._by_step.update(rows)
        measured = sorted(self._by_step.items())
        self.valid = [(step, valid) for step, (_, valid) in measured if valid is not None]
        # A row that was written for its validation alone is no gap in the training curve.
        self.train = [
            (step, loss) for step, (loss, valid) in measured if loss is not None or valid is None
        ]


class JobBoard:
    """The jobs of a store and what was measured of them; reading again costs what has changed."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRow] = {}
        self.order: list[str] = []
        self._rank: dict[str, int] = {}
        self._pairs: list[PairRow] = []
        self._due = 0.0
        self.remote: dict[str, RemoteJobRow] = {}
        self._figures: dict[str, tuple[JobRow, Figures]] = {}
        self._losses: dict[str, tuple[JobRow, Losses]] = {}
        self._events: dict[str, list[EventRow]] = {}

    async def read_jobs(self, store: Store, watched: Collection[str]) -> float:
        """Read all jobs the first time, later those not ended, the newest, and `watched`.

        Returns:
            Seconds after which to read again, because there are so many not ended that they
            were left out this time; 0 when nothing was.
        """
        if not self.jobs:
            found = await store.jobs.list(limit=-1)
        else:
            found = await store.jobs.list(limit=_NEWEST)
            wait = self._due - time.monotonic()
            if wait > 0:
                self._take(found + await store.jobs.some(watched))
                return wait
            going = await store.jobs.list(ended=False, limit=-1)
            self._due = time.monotonic() + _SECONDS_A_JOB * len(going)
            ids = {job.id for job in going}
            left = {id for id, job in self.jobs.items() if not job.ended and id not in ids}
            found += going + await store.jobs.some((left | set(watched)) - ids)
        self._take(found)
        if any(job.agent for job in self.jobs.values()):
            self._pairs = await store.agents.pairs()
        return 0.0

    async def read_remote(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `remote` of those jobs up to date, as far as they are at providers."""
        elsewhere = [id for id in ids if id in self.jobs and self.jobs[id].provider != "embedded"]
        if elsewhere:
            self.remote.update(await store.remote.some(elsewhere))

    async def read_figures(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `figures` of those jobs up to date."""
        for id in ids:
            job = self.jobs.get(id)
            before, figures = self._figures.get(id, (None, Figures()))
            if job is None or job == before or job.kind != "train":
                continue
            since = job.step - _TAIL_STEPS - 1
            if before is not None:
                since = before.step if before.step < job.step else job.step - 1
            for row in await store.jobs.metrics(id, since):
                # Later steps are from before it was resumed.
                if row.step <= job.step:
                    figures = figures.after(row)
            self._figures[id] = job, figures

    async def read_losses(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `curve` of those jobs up to date."""
        for id in ids:
            job = self.jobs.get(id)
            if job is None:
                continue
            before, losses = self._losses.pop(id, (None, Losses()))
            if job != before:
                await losses.read(store, id)
            # Last in the dictionary: the curves of jobs not looked at for long go first.
            self._losses[id] = job, losses
        while len(self._losses) > _KEPT_CURVES:
            del self._losses[next(iter(self._losses))]

    async def read_events(self, store: Store, id: str) -> list[EventRow]:
        """All events of a job; only those it did not have are read."""
        if id not in self._events:
            self._events = {id: []}
        events = self._events[id]
        while page := await store.jobs.events(id, events[-1].id if events else 0, _PAGE):
            events += page
        return events

    def figures(self, id: str) -> Figures:
        return self._figures[id][1] if id in self._figures else Figures()

    def curve(self, id: str, slot: int) -> Curve:
        """The curve of a job as far as it is: later steps are from before it was resumed."""
        job = self.jobs[id]
        losses = self._losses[id][1] if id in self._losses else Losses()
        train, valid = (
            points if not points or points[-1][0] <= job.step else _until(points, job.step)
            for points in (losses.train, losses.valid)
        )
        return Curve(id, slot, train, valid, job.total_steps)

    def launch(self, id: str) -> list[JobRow]:
        """The jobs that were launched together with that one, it among them, oldest first."""
        prefix = launch_of(id)
        ids = (other for other in self.jobs if launch_of(other) == prefix)
        return [self.jobs[other] for other in sorted(ids, key=self._rank.__getitem__)]

    def trainings(self, id: str) -> list[str]:
        """The jobs whose curves show how that one goes: itself, or those it prepares."""
        if self.jobs[id].kind == "train":
            return [id]
        return [job.id for job in self.launch(id) if job.kind == "train"]

    def pair(self, id: str) -> PairRow | None:
        """The pair that the launch of a job has made, once it is in the store."""
        trained = [job for job in self.launch(id) if job.kind == "train"]
        agents = {job.agent for job in trained if job.state == "succeeded" and job.agent}
        mine = [
            (len(agents & {pair.conversation, pair.feedback}), number)
            for number, pair in enumerate(self._pairs)
        ]
        most, number = max(mine, default=(0, 0))
        # A job that was retried by itself makes one agent of the two.
        return self._pairs[number] if most and most >= len({job.role for job in trained}) else None

    def states(self) -> Counter[str]:
        return Counter(job.state for job in self.jobs.values())

    def _take(self, found: list[JobRow]) -> None:
        moved = False
        # The lists are newest first; a rank counts from the oldest.
        for job in reversed(found):
            before = self.jobs.get(job.id)
            self._rank.setdefault(job.id, len(self._rank))
            moved = moved or before is None or before.ended != job.ended
            self.jobs[job.id] = job
        if moved:
            self._sort()

    def _sort(self) -> None:
        launches: dict[str, list[str]] = {}
        for id in sorted(self.jobs, key=self._rank.__getitem__):
            launches.setdefault(launch_of(id), []).append(id)

        def place(ids: list[str]) -> tuple[bool, int]:
            return all(self.jobs[id].ended for id in ids), -self._rank[ids[-1]]

        self.order = [id for ids in sorted(launches.values(), key=place) for id in ids]


def _until(points: list[Point], step: int) -> list[Point]:
    return [point for point in points if point[0] <= step]


def launch_of(id: str) -> str:
    """What the ids of one launch have in common: `k3f` of `k3f-conv`."""
    return id.partition("-")[0]
