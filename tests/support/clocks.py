"""Clocks that a test sets forward, jobs that run already, and a deployment that is up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.acme import Acme
from tests.support.emulators.acme import AcmeEmulator, AcmeJob
from tests.support.emulators.together import TogetherDeployment, TogetherEmulator
from tests.support.remote import Lab
from waltzrl_tui.providers.protocol import JobSnapshot, Provider, ProviderContext
from waltzrl_tui.records.intents import LaunchIntent
from waltzrl_tui.remote.deploy import Deployments
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.remote_rows import DeploymentRow, NewRemoteJob
from waltzrl_tui.workspace import Workspace


class Clocks:
    """A steady and a wall clock that a test sets forward.

    Attributes:
        reads: How often the steady clock was read. A supervisor reads it on every round.
    """

    def __init__(self, *, frozen: bool = False, speed: float = 1.0) -> None:
        self.reads = 0
        self._began, self._frozen, self._speed = time.monotonic(), frozen, speed
        self.ahead = self.asleep = 0.0

    def steady(self) -> float:
        self.reads += 1
        passed = 0.0 if self._frozen else (time.monotonic() - self._began) * self._speed
        return 1000.0 + passed + self.ahead

    def wall(self) -> float:
        return time.time() + self.asleep

    async def rounds(self, count: int = 4) -> None:
        """Wait until a supervisor with one or two jobs has looked at them `count` times."""
        target = self.reads + 10 * count  # a round reads the clock up to ten times
        await until(lambda: self.reads >= target)


class Clocked(Lab):
    """The lab with clocks of the test's own, and a count of what is asked for at all."""

    def __init__(
        self, store: Store, workspace: Workspace, acme: AcmeEmulator, clocks: Clocks
    ) -> None:
        super().__init__(store, workspace, acme)
        self.clocks = clocks
        self.asked = 0
        self.dead = False
        self.pool: Providers | None = None

    def providers(self) -> Providers:
        lab = self

        class Asked(Acme):
            async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
                lab.asked += self.context.url == lab.acme.url
                if lab.dead:  # a connection that slept: no answer, and no end of it
                    await asyncio.Event().wait()
                return await super().fetch(job_id, cursor)

        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            return Asked(ProviderContext(lambda _: self.acme.key, url, workspace.cache))

        self.pool = Providers(
            self.workspace, opener=opener, clock=self.clocks.steady, wall=self.clocks.wall
        )
        return self.pool


class Up:
    """A Together project with one deployment that is ready."""

    def __init__(self, store: Store, workspace: Workspace, there: TogetherEmulator) -> None:
        self.store, self.there = store, there

        self.providers = Providers(workspace)
        self.deployments = Deployments(store, self.providers)

    @property
    def made(self) -> TogetherDeployment:
        return self.there.deployments["dep-1"]

    async def row(self) -> DeploymentRow:
        (row,) = await self.store.deployments.list()
        return row


async def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def watched(store: Store, there: AcmeEmulator, count: int) -> None:
    """So many jobs that run at the provider already."""
    rows = []
    for number in range(count):
        name = f"w{number:04d}-conv"
        job = AcmeJob(f"job-{number}", f"{name}-tag", "acme-7b", there.now(), 1, word="working")
        there.jobs[job.id] = job
        made = NewJob(
            name, "train", "conversation", "acme-7b", tag=job.name, provider="acme",
            state="running", provider_job_id=job.id,
        )  # fmt: skip
        rows.append((made, NewRemoteJob(name, "sft", {}, LaunchIntent(epochs=1), there.url)))
    await store.remote.add(rows)


async def set_read_only(store: Store, on: bool) -> None:
    await store._database.read(lambda db: db.execute(f"PRAGMA query_only = {int(on)}").fetchall())
