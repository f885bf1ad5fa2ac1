"""The one process that launches and watches remote jobs of a workspace, whichever it is.

App and commands each run a supervisor; the one that holds the lock works, the others wait for it.
When it dies, however it dies, its lock is free and the next goes on from the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from waltzrl_tui.errors import StoreError, WaltzError
from waltzrl_tui.jobs.locks import Lock, try_hold
from waltzrl_tui.providers.registry import provider_names
from waltzrl_tui.remote.poll import PER_SECOND, WATCHED, Poller, interval
from waltzrl_tui.remote.provider_pool import Health, Providers
from waltzrl_tui.remote.sleep_detection import Sleeps
from waltzrl_tui.remote.submit import BEFORE_CREATE, SETTLE_SECONDS, Submitter
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.workspace import Workspace

_TAKE_OVER_SECONDS: Final = 2.0
_TICK_SECONDS: Final = 0.25
_LOOK_SECONDS: Final = 5.0
_LIST_SECONDS: Final = 1.0
_LIST_SECONDS_A_JOB: Final = 0.002
_AT_ONCE: Final = 16
_log = logging.getLogger(__name__)

After = Callable[[JobRow], Awaitable[None]]
"""What is done once with a job that has succeeded."""


Tell = Callable[[StoreError], None]
"""Called once when the store becomes unusable: nothing is launched or polled until it works."""


async def _nothing(job: JobRow) -> None:
    return None


def _logged(error: StoreError) -> None:
    _log.error("jobs at providers are not being watched: %s", error)


class Supervisor:
    """Runs until it is cancelled.

    Args:
        after: Called for each job that has succeeded and has no agent yet.
        settle_seconds: See `submit.SETTLE_SECONDS`.
        trouble: Told when the store cannot be used.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        providers: Providers,
        *,
        after: After = _nothing,
        settle_seconds: float = SETTLE_SECONDS,
        trouble: Tell = _logged,
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._providers = providers
        self._submitter = Submitter(store, providers, settle_seconds=settle_seconds)
        self._poller = Poller(store, providers)
        self._after = after
        self._due: dict[str, float] = {}
        self._quiet: Counter[str] = Counter()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._asking: set[str] = set()
        # One that hangs must not hold up the others.
        self._gates: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_AT_ONCE)
        )
        self._done: set[str] = set()
        self._trouble = trouble
        self._stuck_until: float | None = None
        self._sleeps = Sleeps(providers.wall)
        self.working = False

    async def run(self) -> None:
        """Wait for the lock, then work."""
        lock = await self._lock()
        with lock:
            self.working = True
            try:
                await self._work()
            finally:
                self.working = False
                tasks = list(self._busy.values())
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self) -> None:
        """Do what comes after the jobs that have succeeded, before whoever watched them goes."""
        if not self.working:
            return
        names = frozenset(await asyncio.to_thread(provider_names))
        for job in [job for job in await self._jobs(names) if job.ended]:
            if job.id in self._busy:
                await asyncio.wait([self._busy[job.id]])
            await self._one(job, 1)

    async def _lock(self) -> Lock:
        path = self._workspace.state / "remote.lock"
        while True:
            lock = await asyncio.to_thread(try_hold, path)
            if lock is not None:
                return lock
            await asyncio.sleep(_TAKE_OVER_SECONDS)

    async def _work(self) -> None:
        version, listed = -1, 0.0
        names = frozenset(await asyncio.to_thread(provider_names))
        jobs: list[JobRow] = []
        while True:
            if (slept := self._sleeps.since()) is not None:
                self._wake(slept)
            try:
                current = await self._store.version()
                at = self._providers.clock()
                # Each answer is a commit: a thousand jobs must not be listed at every one.
                pause = min(_LIST_SECONDS, _LIST_SECONDS_A_JOB * len(jobs))
                if current != version and at - listed >= pause:
                    version, listed = current, at
                    jobs = await self._jobs(names)
                self._start_due(jobs)
                await self._store.changed(current, interval=_TICK_SECONDS, timeout=_TICK_SECONDS)
            except StoreError as error:
                self._store_fails(error)
                await asyncio.sleep(_LOOK_SECONDS)

    def _wake(self, slept: float) -> None:
        """Look at once after a sleep, and not at all jobs together: as at the start."""
        _log.info("this machine slept; checking the jobs")
        self._providers.slept(slept)
        self._due.clear()
        for job_id in list(self._asking):
            # No answer comes on a connection that slept, and asking again changes nothing.
            self._busy[job_id].cancel()

    def _store_fails(self, error: StoreError) -> None:
        """Read-only, full, or locked for long: what is at the providers goes on there."""
        if self._stuck_until is None:
            self._trouble(error)
        self._stuck_until = self._providers.clock() + _LOOK_SECONDS

    async def _jobs(self, names: frozenset[str]) -> list[JobRow]:
        unfinished = [
            job
            for job in reversed(await self._store.jobs.list(ended=False, limit=-1))
            if job.provider in names and job.state in (*BEFORE_CREATE, *WATCHED)
        ]
        done = [
            job
            for job in await self._store.jobs.list(ended=True, limit=200)
            if job.provider in names
            and job.state == "succeeded"
            and not job.agent
            and job.id not in self._done
        ]
        return [*unfinished, *done]

    def _start_due(self, jobs: list[JobRow]) -> None:
        at = self._providers.clock()
        crowd = Counter(job.provider for job in jobs if job.state in WATCHED)
        for job in jobs:
            # While the store cannot be used, one job at a time finds out whether it can again.
            if self._stuck_until is not None and (self._busy or self._stuck_until > at):
                return
            if job.id in self._busy:
                continue
            urgent = job.cancel_requested and job.state in WATCHED and not self._quiet[job.id] < 0
            if job.id not in self._due and job.state in WATCHED:
                # All that there are at the start must not be asked about at once.
                self._due[job.id] = at + random.uniform(0.0, crowd[job.provider] / PER_SECOND)
            due = self._due.get(job.id, at)
            if urgent:
                due, self._quiet[job.id] = at, -1
            if due > at:
                continue
            task = asyncio.create_task(self._one(job, crowd[job.provider]))
            self._busy[job.id] = task
            task.add_done_callback(lambda _, id=job.id: self._busy.pop(id, None))  # type: ignore[misc]

    async def _one(self, job: JobRow, crowd: int) -> None:
        async with self._gates[job.provider]:
            try:
                if self._stuck_until is not None:
                    await self._can_write(job)
                    self._stuck_until = None
                again = await self._handle(job, crowd)
            except StoreError as error:
                self._store_fails(error)
                again = 0.0
            except WaltzError as error:
                _log.warning("%s: %s", job.id, error)
                again = _LOOK_SECONDS
            except Exception:
                # A provider of another package may raise anything; the other jobs go on.
                _log.exception("%s could not be handled", job.id)
                again = 60.0
        self._due[job.id] = self._providers.clock() + again

    async def _handle(self, job: JobRow, crowd: int) -> float:
        # What was listed may be seconds old.
        job = await self._store.jobs.get(job.id)
        if job.state == "succeeded":
            if not job.agent and job.id not in self._done:
                self._done.add(job.id)
                try:
                    await self._after(job)
                except StoreError:
                    self._done.discard(job.id)
                    raise
            return _LOOK_SECONDS
        if job.ended:
            return _LOOK_SECONDS
        remote = await self._store.remote.get(job.id)
        health = self._providers.health(job.provider, remote.url)
        if job.state in BEFORE_CREATE:
            if not health.admits(self._providers.clock()):
                return self._later(health, crowd)
            step = await self._submitter.advance(job)
            return _LOOK_SECONDS if step.again_in is None else step.again_in
        if self._providers.clock() < health.until:
            await self._poller.report_silence(job, remote)
            return self._later(health, crowd)
        self._asking.add(job.id)
        try:
            news = await self._poller.ask(job, remote)
        finally:
            self._asking.discard(job.id)
        if news is None:
            return self._later(health, crowd)
        self._quiet[job.id] = 0 if news else max(0, self._quiet[job.id]) + 1
        return interval(job, self._quiet[job.id], crowd)

    def _later(self, health: Health, crowd: int) -> float:
        """Seconds until a provider that fails may be asked again, spread over its jobs."""
        pause = max(0.0, health.until - self._providers.clock())
        if health.trial:
            pause = min(pause, _TAKE_OVER_SECONDS)  # it is found out just now
        return pause + random.uniform(0.0, max(1.0, crowd / PER_SECOND))

    async def _can_write(self, job: JobRow) -> None:
        """Write what is pending before requesting anything that could not be stored."""
        remote = await self._store.remote.get(job.id)
        await self._store.remote.update(job.id, cursor=remote.cursor)


@contextlib.asynccontextmanager
async def supervised(supervisor: Supervisor) -> AsyncIterator[Supervisor]:
    """Run a supervisor beside the body, then finish the jobs that it saw succeed."""
    task = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
        with contextlib.suppress(StoreError):
            await supervisor.finish()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
