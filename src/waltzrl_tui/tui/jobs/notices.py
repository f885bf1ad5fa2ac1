"""Notices about jobs and deployments at providers, shown on whatever screen is open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from waltzrl_tui.store import JobRow
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.words import money

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

# Terminals that show a desktop notification for OSC 9; others may print it.
_OSC9: Final = frozenset({"iTerm.app", "WezTerm", "ghostty", "WarpTerminal"})


class RemoteNotices:
    """Tells the user what happened at providers."""

    def __init__(self, app: WaltzApp) -> None:
        self._app = app
        self._unfinished: set[str] = set()

    def show_ended(self, jobs: list[JobRow]) -> None:
        """Notify of jobs that have ended since the last call: here, by bell, on the desktop."""
        before = self._unfinished
        self._unfinished = {job.id for job in jobs if not job.ended}
        for job in jobs:
            if job.ended and job.id in before:
                self._show(job)

    def show_stray(self, row: DeploymentRow) -> None:
        """Warn of a deployment that an earlier session left running."""
        self._app.notify(
            f"{one_line(row.model, 60)} is still up at {row.provider} from an earlier session, "
            "and billed. See Jobs.",
            severity="warning",
            timeout=20,
            markup=False,
        )

    def _show(self, job: JobRow) -> None:
        mark = {"succeeded": "✓", "failed": "✗"}.get(job.state, "⊗")
        cost = f" · {money(job.cost_usd)}" if job.cost_usd else ""
        text = f"{mark} {job.id} {job.state} at {one_line(job.provider, 40)}{cost}"
        good = job.state == "succeeded"
        self._app.notify(text, severity="information" if good else "warning", markup=False)
        self._app.bell()
        driver = self._app._driver
        if driver is not None and os.environ.get("TERM_PROGRAM") in _OSC9:
            # `text` has no control characters: `one_line` replaced them.
            driver.write(f"\x1b]9;{one_line(text, 120)}\x07")
