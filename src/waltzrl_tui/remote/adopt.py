"""Taking over jobs that were started elsewhere: in the provider's console, on another machine."""

from __future__ import annotations

from waltzrl_tui.errors import UsageError
from waltzrl_tui.providers.protocol import RemoteJob
from waltzrl_tui.records.intents import LaunchIntent
from waltzrl_tui.records.roles import Role
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.text import one_line


async def adopt(
    store: Store,
    providers: Providers,
    provider_name: str,
    provider_job_id: str,
    role: Role,
    *,
    name: str = "",
    url: str = "",
) -> JobRow:
    """Watch a job of the provider as if it had been launched here.

    Args:
        role: What its result is to be: the provider does not know.
        name: Of the agent that its result becomes.

    Raises:
        UsageError: It is watched already.
        MissingError: The provider does not have the job.
        ProviderError: It cannot be reached.
    """
    for job in await store.jobs.list(limit=-1):
        if job.provider == provider_name and job.provider_job_id == provider_job_id:
            raise UsageError(
                f"The job {one_line(provider_job_id, 60)} is already tracked as {job.id}."
            )
    provider = await providers.get(provider_name, url)
    there = await provider.fetch(provider_job_id, {})
    listed = await _listed(providers, provider_name, provider_job_id, url)
    prefix = await store.jobs.launch_prefix()
    job_id = f"{prefix}-{'conv' if role == 'conversation' else 'feed'}"
    new_job = NewJob(
        job_id,
        "train",
        role,
        one_line(listed.model, 120) if listed and listed.model else "unknown",
        tag=f"{job_id}-adopted",
        provider=provider_name,
        state="queued",
        provider_state=one_line(there.provider_state, 60),
        provider_job_id=provider_job_id,
        params={"adopted": True},
    )
    intent = LaunchIntent(epochs=0, agent=name or f"{job_id}-{role}")
    await store.remote.add([(new_job, NewRemoteJob(job_id, "sft", {}, intent, url))])
    await store.jobs.event(job_id, f"adopted {one_line(provider_job_id, 80)} of {provider.title}")
    return await store.jobs.get(job_id)


async def _listed(
    providers: Providers, provider_name: str, job_id: str, url: str
) -> RemoteJob | None:
    provider = await providers.get(provider_name, url)
    return next((job for job in await provider.jobs() if job.id == job_id), None)
