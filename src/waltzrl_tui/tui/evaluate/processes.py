"""The processes that this app started to work on evaluation runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.jobs.children import keys_of
from waltzrl_tui.jobs.evaluation_process import is_active, last_log_lines, start_process
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.workspace import Workspace

_ENDING_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1


class RunProcesses:
    """Starts the processes of runs, which outlive the app, and explains how they ended."""

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self._store = store
        self._workspace = workspace
        self._started: set[int] = set()

    async def is_active(self, run_id: int) -> bool:
        """Whether a process is working on the run, or about to."""
        return run_id in self._started or await asyncio.to_thread(
            is_active, self._workspace, run_id
        )

    async def start(self, run: RunRow, on_end: Callable[[int, int], None]) -> None:
        """Have a process work on the run, unless one does.

        Args:
            on_end: Called with the id of the run and the exit status.

        Raises:
            EngineError: The process cannot be started.
        """
        if run.ended:
            # The process that worked on it may still be exiting.
            for _ in range(round(_ENDING_SECONDS / _POLL_SECONDS)):
                if run.id not in self._started:
                    break
                await asyncio.sleep(_POLL_SECONDS)
        if await self.is_active(run.id):
            return
        loop = asyncio.get_running_loop()

        def end(status: int) -> None:
            self._started.discard(run.id)
            on_end(run.id, status)

        def end_from_thread(status: int) -> None:
            # The app may have been left meanwhile; the run's state is in the store.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end, status)

        self._started.add(run.id)
        try:
            keys = await self._keys(run)
            await asyncio.to_thread(start_process, self._workspace, run.id, keys, end_from_thread)
        except WaltzError:
            self._started.discard(run.id)
            raise

    async def _keys(self, run: RunRow) -> set[str]:
        names = RunSpec.model_validate(run.spec).agents
        agents = await self._store.agents.list()
        return keys_of([agent for agent in agents if agent.name in names])

    async def failure(self, run_id: int) -> str:
        """Why a process ended with an error; its run is marked failed. "" if it was stopped."""
        run = await self._store.runs.get(run_id)
        reason = await asyncio.to_thread(last_log_lines, self._workspace, run_id)
        if not run.ended and not await self.is_active(run_id):
            await self._store.runs.end(run_id, "failed", 0.0, reason)
        return "" if run.state == "stopped" else reason or f"Run {run_id} ended unexpectedly."
