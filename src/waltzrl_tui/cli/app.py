"""Opening the app from the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys

from waltzrl_tui.errors import UsageError
from waltzrl_tui.workspace import Workspace


def on_terminal() -> bool:
    """Whether somebody sits at a terminal that the app can use."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def open_app(args: argparse.Namespace, workspace: Workspace) -> int:
    """Run the app until it is left, and return its exit status.

    Raises:
        UsageError: There is no terminal.
    """
    if not on_terminal():
        raise UsageError(
            "The app needs a terminal.",
            hint="Without one, use the commands: waltzrl-tui --help lists them.",
        )
    screen = "chat" if args.command is not None else args.screen or "data"
    # Looked up first: a wrong name is told without the app.
    pair, vs = _pairs(args, workspace) if args.command is not None else ("", "")
    from waltzrl_tui.tui.shell.app import WaltzApp

    app = WaltzApp(workspace, screen=screen, pair=pair, vs=vs)
    app.run()
    return app.return_code or 0


def _pairs(args: argparse.Namespace, workspace: Workspace) -> tuple[str, str]:
    """The pairs that `chat` was told to ask, "" for the app's own choice and for no second one."""
    named = (args.pair, args.vs)
    if named == (None, None):
        return "", ""

    async def found() -> list[str]:
        from waltzrl_tui.cli.chat import chosen_pair
        from waltzrl_tui.store import Store

        async with await Store.open(workspace) as store:
            return ["" if name is None else await chosen_pair(store, name) for name in named]

    pair, vs = asyncio.run(found())
    return pair, vs
