"""From parsed arguments to a finished command: its workspace, event loop and signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from waltzrl_tui.cli.app import on_terminal, open_app
from waltzrl_tui.cli.log import LogFile
from waltzrl_tui.cli.options import AppStart
from waltzrl_tui.cli.output import Output
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.cli.parser import Invocation
    from waltzrl_tui.local.live import Engines
    from waltzrl_tui.store import Store


@dataclass(frozen=True)
class Context:
    """What every command works with."""

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
        """The engines that agents are asked through; their servers are stopped at the end.

        Args:
            bulk: For evaluations of embedded agents.
        """
        from waltzrl_tui.local.live import Engines

        engines = Engines(self.workspace, bulk=bulk)
        try:
            yield engines
        finally:
            await engines.close()


def dispatch(invocation: Invocation) -> int:
    """Run the command or open the app, and return the exit status."""
    workspace = Workspace.find(invocation.home)
    workspace.use()
    if invocation.work is None or (invocation.app is not None and on_terminal()):
        return open_app(invocation.app or AppStart(), workspace)
    logging.getLogger().addHandler(LogFile(workspace))
    context = Context(workspace, Output(json=invocation.json))
    return asyncio.run(_guarded(invocation.work, context))


async def _guarded(work: Callable[[Context], Awaitable[int]], context: Context) -> int:
    """Run `work` so that the first signal to end cancels it and lets it clean up."""
    task = asyncio.current_task()
    assert task is not None
    signals: list[int] = []

    def stop(number: int) -> None:
        signals.append(number)
        task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Whoever started it may want it to survive a signal (nohup, background jobs).
        if signal.getsignal(number) != signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await work(context)
    except BaseException:
        if not signals:
            raise
        context.out.status.clear()
        _leave(128 + signals[0])
    finally:
        context.out.status.clear()


def _leave(code: int) -> NoReturn:
    """End the process at once: the command has closed what it opened, but the interpreter would
    wait for a thread that is still reading a large file."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
