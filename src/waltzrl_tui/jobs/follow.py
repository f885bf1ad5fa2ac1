"""Following jobs until they have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Final

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.jobs.control import reconcile
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import EventRow, JobRow, Store
from waltzrl_tui.workspace import Workspace

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """A job as it is now, with the events and metrics that are new since its last update.

    A step that a resumed job repeats is in `metrics` again.
    """

    job: JobRow
    events: tuple[EventRow, ...]
    metrics: tuple[Metric, ...]


@dataclass(slots=True)
class _Cursor:
    job: JobRow | None = None
    event: int = 0
    metric: int = 0


async def watch(
    store: Store,
    job_ids: Iterable[str],
    *,
    workspace: Workspace | None = None,
    interval: float = 0.25,
    reconcile_every: float = 5.0,
) -> AsyncIterator[JobUpdate]:
    """Yield each job as it is with all that it has written, then every change, until all ended.

    Given the workspace, jobs whose worker died are ended (`reconcile`) every `reconcile_every`
    seconds; without it such a job is watched for ever. Changes by other processes are noticed
    every `interval` seconds.

    Raises:
        NotFoundError: One of the jobs is not in the store.
    """
    cursors = {id: _Cursor() for id in job_ids}
    while True:
        if workspace is not None:
            await reconcile(store, workspace)
        # Before the rows are read: what is committed meanwhile is then a change.
        version = await store.version()
        jobs = await store.jobs.some(cursors)
        _require_all(cursors, jobs)
        # All before the first is given out: whoever takes it may be away for long.
        updates = [await _update(store, job, cursors[job.id]) for job in jobs]
        for update in updates:
            if update is not None:
                yield update
        # Events and metrics were read after the state, so an ended job's are complete.
        if all(job.ended for job in jobs):
            return
        await store.changed(
            version, interval=interval, timeout=reconcile_every if workspace else None
        )


async def _update(store: Store, job: JobRow, cursor: _Cursor) -> JobUpdate | None:
    events: list[EventRow] = []
    while page := await store.jobs.events(job.id, since=cursor.event, limit=_PAGE):
        events += page
        cursor.event = page[-1].id
    metrics, cursor.metric = await store.jobs.metrics_written(job.id, cursor.metric)
    if job == cursor.job and not events and not metrics:
        return None
    cursor.job = job
    return JobUpdate(job, tuple(events), tuple(metrics))


def _require_all(cursors: dict[str, _Cursor], jobs: list[JobRow]) -> None:
    missing = cursors.keys() - {job.id for job in jobs}
    if missing:
        raise NotFoundError(
            f"There is no job {', '.join(sorted(missing))} in the store.",
            hint="See `waltzrl-tui jobs list`.",
        )
