"""The providers that are open in this process, and how each of them fares."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.providers.protocol import Provider
from waltzrl_tui.providers.registry import open_provider
from waltzrl_tui.workspace import Workspace

AT_ONCE: Final = 4
"""Requests under way at one provider."""

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
_JITTER: Final = 0.2


def jittered(seconds: float) -> float:
    """`seconds`, up to a fifth more or less: many clients must not ask in step."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)


@dataclass
class Health:
    """A provider's circuit: after failures nothing is asked of it for a while, ever longer.

    Attributes:
        failures: In a row.
        until: On the monotonic clock: before that nothing is asked.
        words: What was said at the last failure.
    """

    failures: int = 0
    until: float = 0.0
    words: str = ""
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def open(self, at: float) -> bool:
        return at >= self.until

    def succeeded(self) -> None:
        self.failures, self.words = 0, ""

    def failed(self, words: str, at: float, retry_after: float | None = None) -> None:
        """Note a failure that waiting may mend; a Retry-After is kept to."""
        self.failures += 1
        self.words = words
        pause = jittered(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.failures - 1, 12)))
        if retry_after is not None:
            pause = max(retry_after, 0.0) + random.uniform(0.0, 1.0)
        self.until = max(self.until, at + pause)


Opener = Callable[[str, Workspace, str], Provider]


def _open(name: str, workspace: Workspace, url: str) -> Provider:
    return open_provider(name, workspace, url=url)


class Providers:
    """Opens providers once each, by name and address, and closes them all at the end."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        opener: Opener = _open,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._opener = opener
        self.clock = clock
        self._open: dict[tuple[str, str], Provider] = {}
        self._health: dict[tuple[str, str], Health] = {}
        self._lock = asyncio.Lock()

    async def get(self, name: str, url: str = "") -> Provider:
        """The provider of that name at `url` ("" for the vendor's own address).

        Raises:
            NotFoundError: There is none.
            ProviderError: Its client is not installed.
        """
        async with self._lock:
            if (name, url) not in self._open:
                # Importing an SDK takes up to a second.
                self._open[name, url] = await asyncio.to_thread(
                    self._opener, name, self._workspace, url
                )
            return self._open[name, url]

    def health(self, name: str, url: str = "") -> Health:
        return self._health.setdefault((name, url), Health())

    async def close(self) -> None:
        opened, self._open = list(self._open.values()), {}
        await asyncio.gather(*(provider.close() for provider in opened), return_exceptions=True)
