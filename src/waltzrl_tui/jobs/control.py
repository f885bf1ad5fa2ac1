"""Cancelling, resuming and retrying jobs, and finding those whose worker has died."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.jobs.chain import to_resume
from waltzrl_tui.jobs.launch import launch
from waltzrl_tui.jobs.launch import worker_alive as worker_alive
from waltzrl_tui.records.jobs import JobState
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.store.rows import stamp
from waltzrl_tui.workspace import Workspace

_GRACE: Final = timedelta(seconds=5)
# Drafts and jobs that wait for approval need no worker.
_LAUNCHED: Final[frozenset[JobState]] = frozenset({"uploading", "submitting", "queued", "running"})


async def cancel(store: Store, workspace: Workspace, job_id: str) -> JobRow:
    """Request a job to stop; an embedded one without a live worker is cancelled at once.

    Returns:
        The job as it is now. A live worker ends it within seconds.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has ended already.
    """
    job = await store.jobs.get(job_id)
    if job.ended:
        raise UsageError(f"The job {job_id} cannot be cancelled: it has already {_ended_how(job)}.")
    await store.jobs.request_cancel(job_id)
    alive = await asyncio.to_thread(worker_alive, workspace, job_id)
    async with store.transaction():
        if job.state == "draft":
            # A draft has no worker: nothing was sent, or its price is not approved.
            await store.jobs.move(job_id, "cancelled", from_states={"draft"}, reason="")
            await store.jobs.event(job_id, "cancelled before it was started")
        elif alive or not job.embedded:
            await store.jobs.event(job_id, "cancel requested")
        elif await store.jobs.move(job_id, "cancelled", reason=""):
            await store.jobs.event(job_id, "cancelled; no worker was running")
    return await store.jobs.get(job_id)


async def resume(store: Store, workspace: Workspace, job_id: str) -> list[JobRow]:
    """Continue a job that failed, was cancelled or died, from its last checkpoint.

    Its unfinished dependencies are resumed with it, and so are the jobs that failed only
    because one of these did. Of several processes that do this at once one wins.

    Returns:
        The jobs resumed, each after those it depends on.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It runs, has succeeded, was never launched, or is not the embedded engine's.
        EngineError: A worker could not be started; that job is failed again.
    """
    chain = await to_resume(store, workspace, job_id)
    resumed = []
    async with store.transaction():
        for job in chain:
            moved = await store.jobs.move(
                job.id,
                "queued",
                from_states={job.state},
                unchanged_since=job.updated_at,
                reason="starting",
                error="",
                cancel_requested=False,
                eta_seconds=None,
            )
            if moved:
                where = (
                    f"step {job.step} (or its last checkpoint before)" if job.step else "the start"
                )
                await store.jobs.event(job.id, f"resumed from {where}")
                resumed.append(job.id)
    if job_id not in resumed:
        raise UsageError(f"The job {job_id} was changed by another process just now.")
    # A job whose worker cannot start is failed; the others must still be launched.
    failures = []
    for id in resumed:
        try:
            await _launch(store, workspace, id)
        except WaltzError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    return await store.jobs.some(resumed)


async def retry(store: Store, workspace: Workspace, job_id: str) -> JobRow:
    """Repeat a job that has ended as a new job, from the beginning.

    Returns:
        The new job.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It has not ended, is not the embedded engine's, or needs a job that failed.
        EngineError: The worker could not be started; the new job is failed.
    """
    job = await store.jobs.get(job_id)
    if not job.embedded:
        raise UsageError(f"The job {job_id} is {job.provider}'s and cannot be retried here.")
    if not job.ended:
        raise UsageError(
            f"The job {job_id} has not ended; it is {job.state}.", hint="Cancel it first."
        )
    for needed in await store.jobs.some(job.depends_on):
        if needed.state in ("failed", "cancelled"):
            raise UsageError(
                f"The job {job_id} needs {needed.id}, which has {_ended_how(needed)}.",
                hint=f"Resume that one first: waltzrl-tui jobs resume {needed.id}",
            )
    fresh = NewJob(
        id=job.id_in(await store.jobs.launch_prefix()),
        kind=job.kind,
        role=job.role,
        model=job.model,
        provider=job.provider,
        state="queued",
        reason="starting",
        depends_on=job.depends_on,
        params=job.params,
        sample_id=job.sample_id,
        total_steps=job.total_steps,
        estimate_usd=job.estimate_usd,
    )
    async with store.transaction():
        await store.jobs.add_all([fresh])
        await store.jobs.event(fresh.id, f"retries {job_id}")
    await _launch(store, workspace, fresh.id)
    return await store.jobs.get(fresh.id)


async def reconcile(store: Store, workspace: Workspace) -> list[str]:
    """End the embedded jobs whose worker died without recording it.

    They are failed, or cancelled where that was requested. A job written to within the last 5 s
    is left alone. Several processes may do this at once: each job is ended by one.

    Returns:
        The ids of the jobs that were ended here.
    """
    moment = datetime.now(UTC)
    present, grace = stamp(moment), stamp(moment - _GRACE)
    # A time in the future means that the clock was set back.
    suspects = [
        job
        for job in await store.jobs.list(ended=False, limit=-1)
        if job.embedded and job.state in _LAUNCHED and not grace <= job.updated_at <= present
    ]
    if not suspects:
        return []
    ended = []
    for job in await asyncio.to_thread(_dead, workspace, suspects):
        async with store.transaction():
            if await _end(store, job):
                ended.append(job.id)
    return ended


def _dead(workspace: Workspace, jobs: list[JobRow]) -> list[JobRow]:
    return [job for job in jobs if not worker_alive(workspace, job.id)]


async def _end(store: Store, job: JobRow) -> bool:
    state: JobState = "cancelled" if job.cancel_requested else "failed"
    if job.cancel_requested:
        error, event = "", "cancelled; its worker had ended"
    else:
        error = event = (
            "The worker process ended unexpectedly (killed, or the machine restarted). "
            f"Resume it to continue from step {job.step}."
        )
    # `unchanged_since`: another process may have resumed it since it was read.
    moved = await store.jobs.move(
        job.id,
        state,
        from_states={job.state},
        unchanged_since=job.updated_at,
        reason="",
        error=error,
    )
    if moved:
        await store.jobs.event(job.id, event, "error" if error else "info")
    return moved


async def _launch(store: Store, workspace: Workspace, job_id: str) -> None:
    try:
        await launch(workspace, job_id)
    except WaltzError as error:
        async with store.transaction():
            if await store.jobs.move(job_id, "failed", from_states={"queued"}, error=str(error)):
                await store.jobs.event(job_id, str(error), "error")
        raise


def _ended_how(job: JobRow) -> str:
    return "been cancelled" if job.state == "cancelled" else job.state
