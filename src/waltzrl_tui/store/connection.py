"""The store of a workspace: SQLite shared by the app, the command line and the workers."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

from waltzrl_tui.store.agents import AgentStore
from waltzrl_tui.store.answers import AnswerStore
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.deployments import DeploymentStore
from waltzrl_tui.store.duels import DuelStore
from waltzrl_tui.store.evaluation_runs import RunStore
from waltzrl_tui.store.evaluations import EvaluationStore
from waltzrl_tui.store.jobs import JobStore
from waltzrl_tui.store.mappings import MappingStore
from waltzrl_tui.store.remote import RemoteStore
from waltzrl_tui.store.samples import SampleStore
from waltzrl_tui.store.transcripts import TranscriptStore
from waltzrl_tui.workspace import Workspace


class Store:
    """The parts of an open store. One process opens it once; many processes may have it open.

    ``async with await Store.open(workspace) as store: ...``
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.samples = SampleStore(database)
        self.mappings = MappingStore(database)
        self.jobs = JobStore(database)
        self.remote = RemoteStore(database)
        self.deployments = DeploymentStore(database)
        self.agents = AgentStore(database)
        self.transcripts = TranscriptStore(database)
        self.duels = DuelStore(database)
        self.evaluations = EvaluationStore(database)
        self.runs = RunStore(database)
        self.answers = AnswerStore(database)

    @classmethod
    async def open(cls, workspace: Workspace) -> Self:
        """Open the workspace's store, making or migrating it first where that is due.

        An older store is copied to `waltzrl.db.v<N>.bak` before it is migrated.

        Raises:
            StoreError: It is newer, damaged, not ours, locked, read-only, or the disk is full.
        """
        await asyncio.to_thread(workspace.prepare)
        return cls(await Database.open(workspace.store_path))

    async def close(self) -> None:
        """Wait for work under way, then close. Closing twice does nothing."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def flush(self) -> None:
        """Bring all that was committed onto the disk, so that it outlives a power cut too.

        A commit alone outlives the end of the process, but not that of the machine.
        """
        await self._database.flush()

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Make the reads and writes inside one transaction; any exception undoes all of them.

        Other tasks and processes wait for it, so keep slow work outside.
        """
        return self._database.transaction()

    async def version(self) -> int:
        """A number that has changed whenever anything was committed, by any process."""
        return await self._database.version()

    async def changed(
        self, since: int, *, interval: float = 0.25, timeout: float | None = None
    ) -> int:
        """Wait until `version()` is not `since` and return it; after `timeout` s return `since`.

        Commits of this process are noticed at once, those of others every `interval` seconds.
        """
        return await self._database.changed(since, interval=interval, timeout=timeout)
