"""Work in threads that ends when nobody waits for it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from textual.dom import DOMNode
    from textual.worker import Worker

T = TypeVar("T")


def run_exclusive(
    node: DOMNode, group: str, work: Callable[[], Coroutine[Any, Any, None]]
) -> Worker[None]:
    """Run `work` as the worker `group` of `node`, ending a running one of that group."""
    worker: Worker[None] = node.run_worker(work, group=group, name=group, exclusive=True)
    return worker


async def in_thread(work: Callable[[Callable[[], bool]], T]) -> T:
    """Run `work(stop)` in a thread; `stop()` turns true when the waiting task is cancelled."""
    ended = threading.Event()
    try:
        return await asyncio.to_thread(work, ended.is_set)
    finally:
        ended.set()


def from_thread(callback: Callable[..., None], *, every: float = 0.15) -> Callable[..., None]:
    """A function for a thread that calls `callback` on this event loop, at most every `every` s."""
    loop = asyncio.get_running_loop()
    last = 0.0

    def call(*values: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= every and not loop.is_closed():
            last = now
            loop.call_soon_threadsafe(callback, *values)

    return call
