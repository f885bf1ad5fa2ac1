"""What comes after a job at a provider: its agent, and the pair once both agents are there."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import cast

from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.local.weights import local_name
from waltzrl_tui.providers.protocol import Provider
from waltzrl_tui.records.roles import Role
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.trust import trust_answers
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.store.rows import AgentKind
from waltzrl_tui.waltz.prompts import default_prompt
from waltzrl_tui.workspace import Workspace


class AgentMaker:
    """Adds the agents and pairs of jobs that succeeded. Idempotent."""

    def __init__(self, store: Store, workspace: Workspace, providers: Providers) -> None:
        self._store = store
        self._workspace = workspace
        self._providers = providers

    async def __call__(self, job: JobRow) -> None:
        """Add the job's agent, and the pair once the other agent exists.

        A failure is recorded in the job's events; the result stays at the provider.
        """
        if job.kind != "train" or not job.result_model:
            return
        try:
            remote = await self._store.remote.get(job.id)
            provider = await self._providers.get(job.provider, remote.url)
            await self._agent(provider, job, remote)
        except WaltzError as error:
            await self._store.jobs.event(
                job.id, f"no agent could be made from the result: {error}", "error"
            )

    async def _agent(self, provider: Provider, job: JobRow, remote: RemoteJobRow) -> None:
        name = remote.request.agent or f"{job.tag}-{job.role}"
        adapter, base, url, key_env = "", job.result_model, "", ""
        kind: AgentKind
        if provider.capabilities.weights:
            kind, base = "embedded", local_name(job.model)
            adapter = str(await self._fetched(provider, job))
        elif provider.capabilities.deploys:
            kind, url = "hosted", f"provider:{job.provider}"
            key_env = _first(provider.capabilities.keys)
        else:
            kind, url = "openai", provider.chat_url()
            key_env = _first(provider.capabilities.keys)
            await trust_answers(provider, url)
        async with self._store.transaction():
            if (await self._store.jobs.get(job.id)).agent:
                return
            name = await self._store.agents.free_name(name)
            await self._store.agents.add(
                name,
                role=cast("Role", job.role),
                kind=kind,
                base=base,
                adapter=adapter,
                prompt=remote.request.prompt or default_prompt(cast("Role", job.role)),
                url=url,
                key_env=key_env,
                job_id=job.id,
            )
            await self._store.jobs.update(job.id, agent=name)
            await self._store.jobs.event(job.id, f"agent {name} is ready")
            await self._pair(job, remote)

    async def _fetched(self, provider: Provider, job: JobRow) -> Path:
        """Download the whole adapter, or nothing."""
        folder = self._workspace.job_dir(job.id) / "adapter"
        part = folder.with_name(".adapter")
        await asyncio.to_thread(shutil.rmtree, part, True)
        await self._store.jobs.event(job.id, f"downloading the adapter {job.result_model}")
        downloaded = await provider.collect(job.result_model, part)
        await asyncio.to_thread(shutil.rmtree, folder, True)
        await asyncio.to_thread(downloaded.rename, folder)
        return folder

    async def _pair(self, job: JobRow, remote: RemoteJobRow) -> None:
        name = remote.request.pair
        if not name:
            return
        agents: dict[str, str] = {job.role: (await self._store.jobs.get(job.id)).agent}
        ended = [
            other for other in await self._store.jobs.list(ended=True, limit=-1) if other.agent
        ]
        intents = await self._store.remote.some(other.id for other in ended)
        for other in ended:
            # By the pair's name, not by the launch: one of the two may have been retried.
            known = intents.get(other.id)
            if known is not None and known.request.pair == name:
                agents.setdefault(other.role, other.agent)
        if not {"conversation", "feedback"} <= agents.keys():
            return
        try:
            await self._store.agents.add_pair(
                name, conversation=agents["conversation"], feedback=agents["feedback"]
            )
        except UsageError:
            return  # it is there already, or the name is the user's own
        await self._store.jobs.event(job.id, f"pair {name} is ready")


def _first(keys: tuple[str, ...]) -> str:
    return keys[0] if keys else ""
