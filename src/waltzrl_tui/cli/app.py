"""Opening the app from the command line."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

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
    options: dict[str, Any] = {"screen": args.screen or "data"}
    if args.command is not None:
        options = {"screen": "chat", **_pair(args, workspace)}
    from waltzrl_tui.tui.app import WaltzApp

    app = WaltzApp(workspace, **options)
    app.run()
    return app.return_code or 0


def _pair(args: argparse.Namespace, workspace: Workspace) -> dict[str, str]:
    """The pair that was named. It is looked up first: a wrong name is told without the app."""
    if args.vs is not None:
        raise UsageError("--vs needs a prompt.", hint="Give --prompt TEXT.")
    if args.pair is None:
        return {}

    async def found() -> str:
        from waltzrl_tui.cli.chat import chosen_pair
        from waltzrl_tui.store import Store

        async with await Store.open(workspace) as store:
            return await chosen_pair(store, args.pair)

    return {"pair": asyncio.run(found())}
