"""What the Jobs screen shows and which actions apply: jobs in order, figures, curves, filter."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import EventRow, JobRow, PairRow, Store
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.tui.chart.curves import Curve, Point
from waltzrl_tui.tui.chart.plot import SLOTS

_NEWEST: Final = 8
# Of a job seen for the first time only the last steps are read; a validation lies among them.
_TAIL_STEPS: Final = 200
_PAGE: Final = 500
# Of hundreds that have not ended, those off the screen may be seconds old.
_SECONDS_A_JOB: Final = 0.004
_MOST_CURVES: Final = 24


Figures = Mapping[str, float]
"""The latest value of each of a job's series, by the series' name."""


@dataclass(slots=True)
class LossHistory:
    """The losses of a job by step; a step that a resumed job measures again is replaced."""

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
        # A row with a validation alone is not a gap in the training curve.
        self.train = [
            (step, loss) for step, (loss, valid) in measured if loss is not None or valid is None
        ]


class JobReadings:
    """The jobs of a store and what was measured of them; reading again costs what has changed.

    Attributes:
        jobs: By id; `order`: their ids as the table lists them.
        remote: What only jobs at providers have, by id.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, JobRow] = {}
        self.order: list[str] = []
        self.remote: dict[str, RemoteJobRow] = {}
        self._rank: dict[str, int] = {}
        self._pairs: list[PairRow] = []
        self._due = 0.0
        self._figures: dict[str, tuple[JobRow, Figures]] = {}
        self._losses: dict[str, tuple[JobRow, LossHistory]] = {}
        self._events: dict[str, list[EventRow]] = {}

    async def read_jobs(self, store: Store, watched: Collection[str]) -> float:
        """Read all jobs the first time, later those not ended, the newest, and `watched`.

        Returns:
            Seconds after which to read again, because there are so many not ended that they
            were left out this time; 0 when nothing was.
        """
        if not self.jobs:
            rows = await store.jobs.list(limit=-1)
        else:
            rows = await store.jobs.list(limit=_NEWEST)
            wait = self._due - time.monotonic()
            if wait > 0:
                self._take(rows + await store.jobs.some(watched))
                return wait
            unfinished = await store.jobs.list(ended=False, limit=-1)
            self._due = time.monotonic() + _SECONDS_A_JOB * len(unfinished)
            ids = {job.id for job in unfinished}
            left = {id for id, job in self.jobs.items() if not job.ended and id not in ids}
            rows += unfinished + await store.jobs.some((left | set(watched)) - ids)
        self._take(rows)
        if any(job.agent for job in self.jobs.values()):
            self._pairs = await store.agents.pairs()
        return 0.0

    async def read_remote(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `remote` of those jobs up to date, as far as they are at providers."""
        elsewhere = [id for id in ids if id in self.jobs and not self.jobs[id].embedded]
        if elsewhere:
            self.remote.update(await store.remote.some(elsewhere))

    async def read_figures(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `figures` of those jobs up to date."""
        for id in ids:
            job = self.jobs.get(id)
            before, figures = self._figures.get(id, (None, {}))
            if job is None or job == before or job.kind != "train":
                continue
            since = job.step - _TAIL_STEPS - 1
            if before is not None:
                since = before.step if before.step < job.step else job.step - 1
            for row in await store.jobs.metrics(id, since):
                # Later steps are from before it was resumed.
                if row.step <= job.step:
                    figures = _figures_after(figures, row)
            self._figures[id] = job, figures

    async def read_losses(self, store: Store, ids: Iterable[str]) -> None:
        """Bring `curve` of those jobs up to date."""
        for id in ids:
            job = self.jobs.get(id)
            if job is None:
                continue
            before, losses = self._losses.pop(id, (None, LossHistory()))
            if job != before:
                await losses.read(store, id)
            # Last in the dictionary: the curves of jobs not looked at for long go first.
            self._losses[id] = job, losses
        while len(self._losses) > _MOST_CURVES:
            del self._losses[next(iter(self._losses))]

    async def read_events(self, store: Store, id: str) -> list[EventRow]:
        """All events of a job; only new ones are read."""
        if id not in self._events:
            self._events = {id: []}
        events = self._events[id]
        while page := await store.jobs.events(id, events[-1].id if events else 0, _PAGE):
            events += page
        return events

    def figures(self, id: str) -> Figures:
        return self._figures[id][1] if id in self._figures else {}

    def curve(self, id: str, slot: int) -> Curve:
        """The curve of a job as far as it is: later steps are from before it was resumed."""
        job = self.jobs[id]
        losses = self._losses[id][1] if id in self._losses else LossHistory()
        train, valid = (
            points if not points or points[-1][0] <= job.step else _until(points, job.step)
            for points in (losses.train, losses.valid)
        )
        return Curve(id, slot, train, valid, job.total_steps)

    def launch(self, id: str) -> list[JobRow]:
        """The jobs that were launched together with that one, it among them, oldest first."""
        launch = self.jobs[id].launch
        ids = (other for other, job in self.jobs.items() if job.launch == launch)
        return [self.jobs[other] for other in sorted(ids, key=self._rank.__getitem__)]

    def trainings(self, id: str) -> list[str]:
        """The jobs whose curves belong to a job: itself, or those it prepares."""
        if self.jobs[id].kind == "train":
            return [id]
        return [job.id for job in self.launch(id) if job.kind == "train"]

    def pair(self, id: str) -> PairRow | None:
        """The pair of agents that the launch of a job trained, once it is in the store."""
        trained = [job for job in self.launch(id) if job.kind == "train"]
        agents = {job.agent for job in trained if job.state == "succeeded" and job.agent}
        matches = [
            (len(agents & {pair.conversation, pair.feedback}), number)
            for number, pair in enumerate(self._pairs)
        ]
        most, number = max(matches, default=(0, 0))
        # A job that was retried by itself makes one agent of the two.
        return self._pairs[number] if most and most >= len({job.role for job in trained}) else None

    def states(self) -> Counter[str]:
        return Counter(job.state for job in self.jobs.values())

    def _take(self, rows: list[JobRow]) -> None:
        moved = False
        # The lists are newest first; a rank counts from the oldest.
        for job in reversed(rows):
            before = self.jobs.get(job.id)
            self._rank.setdefault(job.id, len(self._rank))
            moved = moved or before is None or before.ended != job.ended
            self.jobs[job.id] = job
        if moved:
            self._sort()

    def _sort(self) -> None:
        launches: dict[str, list[str]] = {}
        for id in sorted(self.jobs, key=self._rank.__getitem__):
            launches.setdefault(self.jobs[id].launch, []).append(id)

        def place(ids: list[str]) -> tuple[bool, int]:
            return all(self.jobs[id].ended for id in ids), -self._rank[ids[-1]]

        self.order = [id for ids in sorted(launches.values(), key=place) for id in ids]


def _figures_after(figures: Figures, metric: Metric) -> Figures:
    """The figures once `metric` was measured: what it lacks stays as it was."""
    values = {**figures, **metric.values}
    # An old loss would hide that the latest one is not a number.
    if "loss" not in metric.values:
        values.pop("loss", None)
    return values


def _until(points: list[Point], step: int) -> list[Point]:
    return [point for point in points if point[0] <= step]


class JobsModel:
    """What the Jobs screen shows: the jobs that match, those in the chart, the one at the cursor.

    Attributes:
        readings: The jobs and their measurements.
        selected: The id of the job at the cursor.
        query: Words that a job must have to be listed.
        pinned: Ids of the jobs that stay in the chart.
        slots: The place of each job in the chart, which gives it its line and marker.
    """

    def __init__(self) -> None:
        self.readings = JobReadings()
        self.selected: str | None = None
        self.query = ""
        self.pinned: list[str] = []
        self.slots: dict[str, int] = {}
        self._unfinished: set[str] = set()

    @property
    def job(self) -> JobRow | None:
        """The job at the cursor."""
        return self.readings.jobs.get(self.selected or "")

    @property
    def _of_cursor(self) -> list[str]:
        """The jobs whose curves show how the one at the cursor goes."""
        return self.readings.trainings(self.job.id) if self.job else []

    @property
    def matches(self) -> list[str]:
        """The ids of the jobs that have all words of the query, in the order of the table."""
        words = self.query.lower().split()
        order, jobs = self.readings.order, self.readings.jobs
        return [id for id in order if _has_all(jobs[id], words)] if words else order

    @property
    def charted(self) -> list[str]:
        """The jobs in the chart, by slot: those pinned, and those of the cursor."""
        ids = [*self.pinned, *self._of_cursor]
        ids = list(dict.fromkeys(ids))[:SLOTS]
        self.slots = {id: slot for id, slot in self.slots.items() if id in ids}
        for id in ids:
            free = (slot for slot in range(SLOTS) if slot not in self.slots.values())
            self.slots.setdefault(id, next(free, 0))
        return sorted(ids, key=self.slots.__getitem__)

    async def read_details(self, store: Store, visible: Iterable[str]) -> None:
        """Bring the figures of the visible jobs and the curves of the chart up to date."""
        charted = self.charted
        shown = dict.fromkeys([*visible, *charted])
        await self.readings.read_figures(store, shown)
        await self.readings.read_remote(store, shown)
        await self.readings.read_losses(store, charted)

    def curves(self) -> list[Curve]:
        """The curves of the chart that have a point."""
        curves = [self.readings.curve(id, self.slots[id]) for id in self.charted]
        return [curve for curve in curves if curve.train or curve.valid]

    def toggle_pinned(self) -> bool:
        """Keep the jobs of the cursor in the chart, or take them out; False if it is full."""
        ids = self._of_cursor
        if set(ids) <= set(self.pinned):
            self.pinned = [id for id in self.pinned if id not in ids]
        elif len({*self.pinned, *ids}) <= SLOTS:
            self.pinned = list(dict.fromkeys([*self.pinned, *ids]))
        else:
            return False
        return True

    def new_pairs(self) -> list[PairRow]:
        """The pairs of launches that have ended since the last call."""
        jobs = self.readings.jobs.values()
        before, self._unfinished = (
            self._unfinished,
            {job.launch for job in jobs if not job.ended},
        )
        ended = sorted(before - self._unfinished)
        first = [next(job.id for job in jobs if job.launch == launch) for launch in ended]
        return [pair for id in first if (pair := self.readings.pair(id))]

    def allows(self, action: str) -> bool:
        """Whether an action of the screen can be done with the job at the cursor."""
        job = self.job
        if action == "find_all":
            return bool(self.query)
        if job is None:
            return False
        here = job.embedded
        resumable = job.state in ("failed", "cancelled") and (here or not job.provider_job_id)
        return {
            "approve": job.state == "draft" and not here,
            "cancel": not job.ended and not job.cancel_requested,
            "resume": resumable,
            "retry": job.state == "succeeded" if here else job.ended and not resumable,
            "overlay": bool(self.readings.trainings(job.id)),
        }.get(action, True)


def _has_all(job: JobRow, words: Sequence[str]) -> bool:
    parts = (job.id, job.role, job.provider, job.model, job.state, job.agent, job.error)
    text = " ".join((*parts, job.provider_job_id)).lower()
    return all(word in text for word in words)
