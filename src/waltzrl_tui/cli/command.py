"""From parsed arguments to a finished command: its workspace, event loop and signals."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, cast

from waltzrl_tui.cli.app import on_terminal, open_app
from waltzrl_tui.cli.log import LogFile
from waltzrl_tui.cli.output import Output
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.local.live import Engines
    from waltzrl_tui.store import Store


@dataclass(frozen=True)
class Context:
    """What a command is given."""

    args: argparse.Namespace
    workspace: Workspace
    out: Output

    @contextlib.asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        """The workspace's store, open inside."""
        from waltzrl_tui.store import Store

        async with await Store.open(self.workspace) as store:
            yield store

    @contextlib.asynccontextmanager
    async def engines(self, *, bulk: bool = False) -> AsyncIterator[Engines]:
        """What agents are asked through; the servers that it starts are stopped at the end.

        Args:
            bulk: For evaluations of embedded agents.
        """
        from waltzrl_tui.local.live import Engines

        engines = Engines(self.workspace, bulk=bulk)
        try:
            yield engines
        finally:
            await engines.close()


Command = Callable[[Context], Awaitable[int]]


def dispatch(args: argparse.Namespace) -> int:
    """Run the command that `args` name and return the exit status."""
    workspace = Workspace.find(args.home)
    workspace.use()
    if args.command is None or _wants_chat_screen(args):
        return open_app(args, workspace)
    module, _, function = args.command.partition(":")
    found = importlib.import_module(f"waltzrl_tui.cli.{module}")
    logging.getLogger().addHandler(LogFile(workspace))
    context = Context(args, workspace, Output(json=args.json))
    return asyncio.run(_guarded(cast("Command", getattr(found, function)), context))


def _wants_chat_screen(args: argparse.Namespace) -> bool:
    if args.command != "chat:chat" or args.prompt is not None or args.json:
        return False
    return on_terminal()


async def _guarded(command: Command, context: Context) -> int:
    """Run `command` so that the first signal to end cancels it and lets it clean up."""
    task = asyncio.current_task()
    assert task is not None
    caught: list[int] = []

    def stop(number: int) -> None:
        caught.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever started it may want it to survive a signal (nohup, background jobs).
        if signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await command(context)
    except BaseException:
        if not caught:
            raise
        context.out.status.clear()
        _leave(128 + caught[0])
    finally:
        context.out.status.clear()


def _leave(code: int) -> NoReturn:
    """End the process: all that the command opened is closed, but a thread of it may still be
    reading a large file, and the interpreter would wait for that."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
