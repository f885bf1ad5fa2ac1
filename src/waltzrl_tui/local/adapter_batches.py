"""Many streams over one base with several adapters, in waves of one adapter each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class Waves:
    """Lets streams of one adapter run together and makes those of another wait their turn.

    llama.cpp decodes only streams of the same adapter in one batch. Prompts of an evaluation go
    from one agent to the other and back, so left alone half of them wait at every step; in waves
    the batch stays full. Nobody waits for ever: who has finished in one wave asks for the next.
    """

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self._adapter: Path | None = None
        self._running = 0

    @asynccontextmanager
    async def of(self, adapter: Path | None) -> AsyncIterator[None]:
        """Hold a place in a wave of `adapter`; None is the base alone."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._running or self._adapter == adapter)
            self._adapter = adapter
            self._running += 1
        try:
            yield
        finally:
            async with self._changed:
                self._running -= 1
                if not self._running:
                    self._changed.notify_all()
