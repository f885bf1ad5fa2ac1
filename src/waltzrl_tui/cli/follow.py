"""Jobs followed on stderr until they have ended."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.jobs_text import doing, jobs_json, jobs_table, progress_text
from waltzrl_tui.cli.layout import bar
from waltzrl_tui.cli.output import Output
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.jobs.follow import JobUpdate, watch
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.words import duration
from waltzrl_tui.workspace import Workspace

_PAST_EVENTS = 3
_POLL_SECONDS = 0.5


async def follow(
    store: Store, workspace: Workspace, job_ids: Sequence[str], out: Output
) -> list[JobRow]:
    """Show what the jobs do until all have ended, and return them in the order given.

    Raises:
        NotFoundError: One of them is not in the store.
    """
    progress = _Progress(out)
    updates = watch(store, job_ids, workspace=workspace, interval=_POLL_SECONDS)
    async with aclosing(updates) as stream:  # type: ignore[type-var]
        async for update in stream:
            progress.update(update)
    out.status.clear()
    return await store.jobs.some(job_ids)


def failure(jobs: Sequence[JobRow]) -> WaltzError | None:
    """The error to report if one of the jobs failed or was cancelled."""
    failed = [job for job in jobs if job.state == "failed"]
    # One that failed only because of another is not what to look at.
    causes = [job for job in failed if job.started_at] or failed
    if causes:
        job = causes[0]
        return WaltzError(
            f"The job {job.id} failed: {job.error or 'no reason reported'}",
            hint=f"See its log: waltzrl-tui jobs logs {job.id}\n"
            f"  Resume from its last checkpoint: waltzrl-tui jobs resume {job.id}",
        )
    for job in jobs:
        if job.state == "cancelled":
            return WaltzError(
                f"The job {job.id} was cancelled.",
                hint=f"Resume it: waltzrl-tui jobs resume {job.id}",
            )
    return None


def finished(context: Context, jobs: Sequence[JobRow]) -> int:
    """Print jobs that were waited for.

    Raises:
        WaltzError: One of them failed or was cancelled.
    """
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    if error := failure(jobs):
        raise error
    return 0


class _Progress:
    """What has been printed of each job so far."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._jobs: dict[str, JobRow] = {}
        self._last: dict[str, Metric] = {}

    def update(self, update: JobUpdate) -> None:
        job = update.job
        before = self._jobs.get(job.id)
        for event in update.events if before else update.events[-_PAST_EVENTS:]:
            mark = "" if event.level == "info" else f"{event.level}: "
            self._out.say(f"{_clock(event.at)}  {job.id}  {mark}{event.text}")
        if job.ended and (before is None or not before.ended):
            what = doing(job)
            self._out.say(f"{_clock(job.updated_at)}  {job.id}  {job.state}  {what}".rstrip())
        self._jobs[job.id] = job
        if update.metrics:
            self._last[job.id] = update.metrics[-1]
        if running := [each for each in self._jobs.values() if not each.ended]:
            self._out.status.set("  ".join(self._line(each) for each in running))

    def _line(self, job: JobRow) -> str:
        if job.state != "running":
            return f"{job.id} {job.state}"
        parts = [job.id]
        if job.total_steps:
            drawn = bar(job.step, job.total_steps, unicode=self._out.unicode, size=12)
            parts.append(f"{drawn} {progress_text(job)}")
        metric = self._last.get(job.id)
        if metric is not None and (loss := metric.get("loss")) is not None:
            parts.append(f"loss {loss:.3f}")
        if job.eta_seconds is not None:
            parts.append(f"{duration(job.eta_seconds, rough=True)} left")
        return " ".join(parts if len(parts) > 1 else [*parts, doing(job)])


def _clock(at: str) -> str:
    return at[11:19]
