"""Opening the app from the command line."""

from __future__ import annotations

import asyncio
import sys

from waltzrl_tui.cli.options import AppStart
from waltzrl_tui.errors import UsageError
from waltzrl_tui.workspace import Workspace


def on_terminal() -> bool:
    """Whether there is a terminal that the app can use."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def open_app(start: AppStart, workspace: Workspace) -> int:
    """Run the app until the user leaves it, and return its exit status.

    Raises:
        NotFoundError: There is no pair of a given name.
        UsageError: There is no terminal.
    """
    if not on_terminal():
        raise UsageError(
            "The app needs a terminal.",
            hint="Without one, use the commands: waltzrl-tui --help lists them.",
        )
    # Before the app opens: a wrong name is reported on the command line.
    named = start.pair is not None or start.vs is not None
    pair, vs = asyncio.run(_pairs(start, workspace)) if named else ("", "")
    from waltzrl_tui.tui.shell.app import WaltzApp

    app = WaltzApp(workspace, screen=start.screen or "data", pair=pair, vs=vs)
    app.run()
    return app.return_code or 0


async def _pairs(start: AppStart, workspace: Workspace) -> tuple[str, str]:
    """The names of the pairs, "" where none is given."""
    from waltzrl_tui.local.live import ensure_base
    from waltzrl_tui.store import Store

    async with await Store.open(workspace) as store:
        await ensure_base(store)
        names = (start.pair, start.vs)
        pair, vs = [
            "" if name is None else (await store.agents.get_pair(name)).name for name in names
        ]
    return pair, vs
