"""Approve, resume and retry jobs at providers."""

from __future__ import annotations

import secrets
from dataclasses import replace

from waltzrl_tui.errors import UsageError
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.words import money


async def approve(store: Store, job_id: str) -> JobRow:
    """Approve the price that a provider asks for a draft and let it continue.

    Raises:
        UsageError: The job does not wait for approval.
    """
    job, remote = await store.jobs.get(job_id), await store.remote.get(job_id)
    if job.state != "draft" or remote.vendor_usd is None:
        raise UsageError(f"The job {job_id} does not wait for approval; it is {job.state}.")
    intent = replace(remote.request, agreed_usd=remote.vendor_usd)
    async with store.transaction():
        await store.remote.update(job_id, request=intent)
        if not await store.jobs.move(job_id, "approved", from_states={"draft"}, reason=""):
            raise UsageError(f"The job {job_id} was changed by another process just now.")
        await store.jobs.event(job_id, f"{money(remote.vendor_usd)} accepted")
    return await store.jobs.get(job_id)


async def resume(store: Store, job_id: str) -> JobRow:
    """Repeat a launch that was refused before the provider had a job.

    Raises:
        UsageError: The provider had the job and may have billed it; only a retry can train again.
    """
    job = await store.jobs.get(job_id)
    if not job.ended or job.provider_job_id:
        what = "has not ended" if not job.ended else f"was already sent to {job.provider}"
        raise UsageError(
            f"The job {job_id} {what}.", hint=f"To train again: waltzrl-tui jobs retry {job_id}"
        )
    moved = await store.jobs.move(
        job_id,
        "approved",
        from_states={job.state},
        unchanged_since=job.updated_at,
        reason="",
        error="",
        cancel_requested=False,
    )
    if not moved:
        raise UsageError(f"The job {job_id} was changed by another process just now.")
    await store.jobs.event(job_id, "launched again")
    return await store.jobs.get(job_id)


async def retry(store: Store, job_id: str) -> JobRow:
    """Start a new job with the same request; the caller got the user's approval of its price.

    Raises:
        UsageError: It has not ended, or was adopted (its request is unknown).
    """
    job, remote = await store.jobs.get(job_id), await store.remote.get(job_id)
    if not job.ended:
        raise UsageError(f"The job {job_id} is {job.state}.", hint="Cancel it first.")
    if not remote.files:
        raise UsageError(f"The job {job_id} was started elsewhere; start it again there.")
    fresh = job.id_in(await store.jobs.launch_prefix())
    new_job = NewJob(
        fresh,
        "train",
        job.role,
        job.model,
        tag=f"{fresh}-{secrets.token_hex(2)}",
        provider=job.provider,
        state="approved",
        params=job.params,
        sample_id=job.sample_id,
        estimate_usd=job.estimate_usd,
    )
    await store.remote.add(
        [(new_job, NewRemoteJob(fresh, remote.method, remote.files, remote.request, remote.url))]
    )
    await store.jobs.event(fresh, f"retries {job_id}")
    return await store.jobs.get(fresh)
