"""The jobs that are resumed together."""

from __future__ import annotations

import asyncio

from waltzrl_tui.errors import UsageError
from waltzrl_tui.jobs.launch import worker_alive
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.workspace import Workspace


async def to_resume(store: Store, workspace: Workspace, job_id: str) -> list[JobRow]:
    """The job with all that must be resumed with it, each after those it depends on.

    Raises:
        NotFoundError: There is no such job.
        UsageError: It runs, has succeeded, was never launched, or is not the embedded engine's.
    """
    job = await store.jobs.get(job_id)
    if not job.embedded:
        raise UsageError(f"The job {job_id} is {job.provider}'s and cannot be resumed here.")
    if job.state == "succeeded":
        raise UsageError(
            f"The job {job_id} has succeeded; there is nothing to resume.",
            hint=f"To run it again: waltzrl-tui jobs retry {job_id}",
        )
    if job.state == "draft":
        raise UsageError(f"The job {job_id} has not been launched yet.")
    if not await _stopped(workspace, job):
        raise UsageError(
            f"The job {job_id} is {job.state} and its worker is alive.",
            hint=f"To stop it: waltzrl-tui jobs cancel {job_id}",
        )
    chosen: dict[str, JobRow] = {}
    waiting = [job]
    while waiting:
        each = waiting.pop()
        if each.id in chosen:
            continue
        chosen[each.id] = each
        for needed in await store.jobs.some(each.depends_on):
            if needed.state != "succeeded" and await _stopped(workspace, needed):
                waiting.append(needed)
        waiting += [
            other for other in await store.jobs.dependants(each.id) if _victim_of(other, each)
        ]
    return _dependencies_first(chosen)


async def _stopped(workspace: Workspace, job: JobRow) -> bool:
    return job.ended or not await asyncio.to_thread(worker_alive, workspace, job.id)


def _victim_of(job: JobRow, cause: JobRow) -> bool:
    # A job that failed while waiting never started; otherwise its error names the cause.
    return job.state == "failed" and (job.started_at is None or cause.id in job.error)


def _dependencies_first(jobs: dict[str, JobRow]) -> list[JobRow]:
    ordered: dict[str, JobRow] = {}

    def place(job: JobRow) -> None:
        if job.id not in ordered:
            for needed in job.depends_on:
                if needed in jobs:
                    place(jobs[needed])
            ordered[job.id] = job

    for job in jobs.values():
        place(job)
    return list(ordered.values())
