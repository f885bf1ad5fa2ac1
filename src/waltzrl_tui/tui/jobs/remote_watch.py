"""Jobs and deployments at providers, while the app is open: imported once there are any."""

from __future__ import annotations

import asyncio
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.text import one_line

if TYPE_CHECKING:
    from waltzrl_tui.remote.deploy import Deployments
    from waltzrl_tui.remote.provider_pool import Providers
    from waltzrl_tui.tui.shell.app import WaltzApp

# Terminals that show a notification of the desktop for OSC 9; others may print it.
_OSC9: Final = frozenset({"iTerm.app", "WezTerm", "ghostty", "WarpTerminal"})


class RemoteWatch:
    """The app's supervisor of remote jobs. It works when no other process of the workspace does.

    Attributes:
        providers: Opened ones, shared with dialogs.
        deployments: What is up for chat.
    """

    def __init__(self, app: WaltzApp, store: Store) -> None:
        self._app, self._store = app, store
        self._tasks: list[asyncio.Task[Any]] = []
        self._going: dict[str, str] = {}
        remote: Any = import_module("waltzrl_tui.remote.provider_pool")
        deploy: Any = import_module("waltzrl_tui.remote.deploy")
        self.providers: Providers = remote.Providers(app.workspace)
        self.deployments: Deployments = deploy.Deployments(store, self.providers)

    def start(self) -> None:
        """Launch, watch, and tend, until `close`. Starting twice does nothing."""
        if self._tasks:
            return
        from waltzrl_tui.remote.deploy import tend_for_ever
        from waltzrl_tui.remote.results import Results
        from waltzrl_tui.remote.supervise import Supervisor

        results = Results(self._store, self._app.workspace, self.providers)
        supervisor = Supervisor(
            self._store,
            self._app.workspace,
            self.providers,
            after=results,
            trouble=self._app.report,
        )
        self._tasks = [
            asyncio.create_task(supervisor.run()),
            asyncio.create_task(tend_for_ever(self.deployments)),
            asyncio.create_task(self._sweep()),
        ]

    async def close(self) -> None:
        """Stop; what is at the providers goes on there."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.providers.close()

    def tell_of_ended(self, jobs: list[JobRow]) -> None:
        """Notify of jobs that have ended since the last call: here, by bell, on the desktop."""
        before, self._going = self._going, {job.id: job.state for job in jobs if not job.ended}
        for job in jobs:
            if job.ended and job.id in before:
                self._notify(job)

    def _notify(self, job: JobRow) -> None:
        good = job.state == "succeeded"
        mark = "✓" if good else "✗" if job.state == "failed" else "⊗"
        cost = f" · ${job.cost_usd:.2f}" if job.cost_usd else ""
        text = f"{mark} {job.id} {job.state} at {one_line(job.provider, 40)}{cost}"
        self._app.notify(text, severity="information" if good else "warning", markup=False)
        self._app.bell()
        driver = self._app._driver
        if driver is not None and os.environ.get("TERM_PROGRAM") in _OSC9:
            # `text` holds no control character: `one_line` has seen to that.
            driver.write(f"\x1b]9;{one_line(text, 120)}\x07")

    async def _sweep(self) -> None:
        """Find deployments that an earlier session left running."""
        try:
            probed = [
                name
                for name, row in (await self._store.remote.probes()).items()
                if row.key_ok is not False
            ]
            for row in await self.deployments.sweep(probed):
                self._app.notify(
                    f"{one_line(row.model, 60)} is up at {row.provider} and billed; it was left "
                    "by an earlier session. See Jobs.",
                    severity="warning",
                    timeout=20,
                    markup=False,
                )
        except WaltzError as error:
            self._app.report(error)
