"""A text while it streams in from an endpoint, with what it took."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.waltz.events import NO_ORIGIN


@dataclass(slots=True)
class StreamedText:
    """What has streamed in from one endpoint, and what it took."""

    text: str = ""
    seconds: float = 0.0
    first_token_seconds: float | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    origin: Origin = NO_ORIGIN

    async def read(
        self, deltas: AsyncGenerator[Delta, None], *stops: asyncio.Event
    ) -> AsyncGenerator[Delta, None]:
        """The pieces with text or a restart, until one of `stops` is set."""
        began = time.perf_counter()
        try:
            async with aclosing(deltas), aclosing(_until(deltas, stops)) as pieces:
                async for delta in pieces:
                    if delta.tokens is not None:
                        self.tokens, self.prompt_tokens = delta.tokens, delta.prompt_tokens
                    if delta.origin is not None:
                        self.origin = delta.origin
                    if delta.restart:
                        self.text = ""
                    if delta.text and self.first_token_seconds is None:
                        self.first_token_seconds = time.perf_counter() - began
                    self.text += delta.text
                    if delta.text or delta.restart:
                        yield delta
        finally:
            self.seconds = time.perf_counter() - began


async def _until(
    source: AsyncGenerator[Delta, None], stops: Sequence[asyncio.Event]
) -> AsyncGenerator[Delta, None]:
    """`source`, abandoned at once when one of `stops` is set, even while it waits for a piece."""
    if not stops:
        async for delta in source:
            yield delta
        return
    pending: deque[Delta] = deque()
    arrived = asyncio.Event()

    async def read() -> None:
        try:
            async for delta in source:
                pending.append(delta)
                arrived.set()
        finally:
            arrived.set()

    # One task for all pieces: a task per piece would cost as much as the client itself.
    reading = asyncio.create_task(read())
    waiters = [asyncio.ensure_future(stop.wait()) for stop in stops]
    for waiter in waiters:
        waiter.add_done_callback(lambda _: arrived.set())
    try:
        while not any(stop.is_set() for stop in stops):
            if pending:
                yield pending.popleft()
            elif reading.done():
                reading.result()
                return
            else:
                arrived.clear()
                await arrived.wait()
    finally:
        for waiter in waiters:
            waiter.cancel()
        reading.cancel()
        with suppress(asyncio.CancelledError, EndpointError):
            await reading
