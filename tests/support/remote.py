"""Remote jobs at the example's service, as tests of them want it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any

from tests.support.acme import Acme
from tests.support.emulators.acme import AcmeEmulator
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.results import AgentMaker
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.workspace import Workspace


class Lab:
    """What a test works with. `revoked`: a key that is sent in place of the good one."""

    model = "acme-7b"

    def __init__(self, store: Store, workspace: Workspace, acme: AcmeEmulator) -> None:
        self.store, self.workspace, self.acme = store, workspace, acme
        self.revoked = ""

    def providers(self) -> Providers:
        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            context = ProviderContext(lambda _: self.revoked or self.acme.key, url, workspace.cache)
            return Acme(context)

        return Providers(self.workspace, opener=opener)

    async def launch(self, *names: str, **request: Any) -> list[JobRow]:
        """Intents for one job a name (`abc-conv`, `abc-feed`)."""
        jobs = []
        for name in names:
            role = "feedback" if name.endswith("feed") else "conversation"
            folder = self.workspace.job_dir(name)
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / "train.jsonl"
            path.write_text('{"messages": []}\n' * 10, "utf-8")
            content = path.read_bytes()
            file = IntentFile(
                path=str(path),
                sha256=hashlib.sha256(content).hexdigest(),
                bytes=len(content),
                rows=10,
                tokens=100,
            )
            asked = {"epochs": 2, "agent": f"starter-{role}", "pair": "starter", **request}
            intent = LaunchIntent.from_json(asked)
            jobs.append(
                (
                    NewJob(
                        name,
                        "train",
                        role,  # type: ignore[arg-type]
                        self.model,
                        tag=f"{name}-tag",
                        provider="acme",
                        state="approved",
                    ),
                    NewRemoteJob(name, "sft", {"train": file}, intent, self.acme.url),
                )
            )
        return await self.store.remote.add(jobs)

    @contextlib.asynccontextmanager
    async def supervising(self, *, settle_seconds: float = 2.0) -> AsyncIterator[Supervisor]:
        providers = self.providers()
        supervisor = Supervisor(
            self.store,
            self.workspace,
            providers,
            after=AgentMaker(self.store, self.workspace, providers),
            settle_seconds=settle_seconds,
        )
        async with supervised(supervisor):
            try:
                yield supervisor
            finally:
                await providers.close()

    async def until(self, name: str, *states: str, seconds: float = 20.0) -> JobRow:
        """The job, once it is in one of the states."""
        async with asyncio.timeout(seconds):
            while True:
                job = await self.store.jobs.get(name)
                if job.state in states:
                    return job
                await asyncio.sleep(0.02)
