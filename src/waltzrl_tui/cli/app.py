"""Opening the app from the command line."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from waltzrl_tui.errors import UsageError
from waltzrl_tui.workspace import Workspace


def on_terminal() -> bool:
    """Whether somebody sits at a terminal that the app can use."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def open_app(args: argparse.Namespace, workspace: Workspace) -> int:
    """Run the app until it is left.

    Raises:
        UsageError: There is no terminal.
    """
    if not on_terminal():
        raise UsageError(
            "The app needs a terminal.",
            hint="Without one, use the commands: waltzrl-tui --help lists them.",
        )
    return run_app(workspace, screen=args.screen or "data")


def run_app(workspace: Workspace, **options: Any) -> int:
    """Run the app with `options` and return its exit status."""
    from waltzrl_tui.tui.app import WaltzApp

    app = WaltzApp(workspace, **options)
    app.run()
    return app.return_code or 0
