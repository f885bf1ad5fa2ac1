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
    pair = _pair(args, workspace) if args.command is not None else ""
    from waltzrl_tui.tui.app import WaltzApp

    app = WaltzApp(workspace, screen=screen, pair=pair)
    app.run()
    return app.return_code or 0


def _pair(args: argparse.Namespace, workspace: Workspace) -> str:
    """The pair that `chat` was told to ask, or "" for the app's own choice."""
    if args.vs is not None:
        raise UsageError("--vs needs a prompt.", hint="Give --prompt TEXT.")
    if args.pair is None:
        return ""

    async def found() -> str:
        from waltzrl_tui.cli.chat import chosen_pair
        from waltzrl_tui.store import Store

        async with await Store.open(workspace) as store:
            return await chosen_pair(store, args.pair)

    return asyncio.run(found())
