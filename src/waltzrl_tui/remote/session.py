"""Jobs and deployments at providers while a program is open: launch, watch, tend, sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.remote.deploy import Deployments, tend_for_ever
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.results import AgentMaker
from waltzrl_tui.remote.supervise import Supervisor
from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.workspace import Workspace


class RemoteSession:
    """Supervises remote jobs unless another process of the workspace does.

    Args:
        report: Called with errors of the background work.
        on_stray: Called with each deployment that an earlier session left running.

    Attributes:
        providers: Opened ones, shared with dialogs.
        deployments: Starts and stops hosted models.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        *,
        report: Callable[[WaltzError], None],
        on_stray: Callable[[DeploymentRow], None],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._report = report
        self._on_stray = on_stray
        self._tasks: list[asyncio.Task[Any]] = []
        self.providers = Providers(workspace)
        self.deployments = Deployments(store, self.providers)

    def start(self) -> None:
        """Work in the background until `close`. Starting twice does nothing."""
        if self._tasks:
            return
        supervisor = Supervisor(
            self._store,
            self._workspace,
            self.providers,
            after=AgentMaker(self._store, self._workspace, self.providers),
            trouble=self._report,
        )
        self._tasks = [
            asyncio.create_task(supervisor.run()),
            asyncio.create_task(tend_for_ever(self.deployments)),
            asyncio.create_task(self._sweep()),
        ]

    async def close(self) -> None:
        """Stop the background work; jobs at providers continue there."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.providers.close()

    async def _sweep(self) -> None:
        """Find deployments that an earlier session left running."""
        try:
            probes = await self._store.remote.probes()
            names = [name for name, row in probes.items() if row.key_ok is not False]
            for row in await self.deployments.sweep(names):
                self._on_stray(row)
        except WaltzError as error:
            self._report(error)
