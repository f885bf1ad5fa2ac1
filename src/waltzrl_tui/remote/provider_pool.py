"""The providers that are open in this process, and how each of them fares."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.keys import Keys
from waltzrl_tui.providers.protocol import Provider
from waltzrl_tui.providers.registry import open_provider
from waltzrl_tui.remote.key_masking import Guard, guarded
from waltzrl_tui.workspace import Workspace

AT_ONCE: Final = 4
"""Requests under way at one provider."""

_FIRST_PAUSE: Final = 2.0
_LONGEST_PAUSE: Final = 600.0
_TRIAL: Final = 30.0
_JITTER: Final = 0.2


def jittered(seconds: float) -> float:
    """`seconds`, up to a fifth more or less: many clients must not ask in step."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)


@dataclass
class Health:
    """A provider's circuit breaker: after failures it is not asked for a while, ever longer.

    Then one request goes first; its outcome opens or closes the circuit.

    Attributes:
        failures: In a row; requests that were under way together count as one.
        until: Time on the steady clock of the next request.
        words: Message of the last failure.
        trial: Whether the one that goes first is under way.
    """

    failures: int = 0
    until: float = 0.0
    words: str = ""
    trial: bool = False
    gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def admits(self, at: float) -> bool:
        """Whether to ask now. After failures only one is let through, the others wait for it."""
        if at < self.until:
            return False
        if self.failures:
            # If nothing comes of it, another one may try.
            self.until, self.trial = at + _TRIAL, True
        return True

    def succeeded(self) -> None:
        """Note an answer, whatever it was."""
        self.failures, self.until, self.words, self.trial = 0, 0.0, "", False

    def failed(self, words: str, at: float, retry_after: float | None = None) -> None:
        """Note a failure that waiting may mend; a Retry-After is kept to."""
        first = self.trial or not self.failures
        if first:
            self.failures += 1
        self.words = words
        pause = jittered(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.failures - 1, 12)))
        if retry_after is not None:
            pause = max(retry_after, 0.0) + random.uniform(0.0, 1.0)
        self.until = at + pause if first else max(self.until, at + pause)
        self.trial = False

    def slept(self, seconds: float) -> None:
        """The steady clock has missed so much. What failed before says nothing of the network now,
        but a Retry-After that is not over is kept to."""
        self.until -= seconds
        self.failures, self.trial = 0, False


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
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._opener = opener
        self.clock = clock
        self.wall = wall
        self._keys = Keys()
        self._open: dict[tuple[str, str], Provider] = {}
        self._retired: list[Provider] = []
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
                self._open[name, url] = await asyncio.to_thread(self._guarded, name, url)
            return self._open[name, url]

    def _guarded(self, name: str, url: str) -> Provider:
        return guarded(self._opener(name, self._workspace, url), self._keys)

    async def renewed(self, name: str, url: str = "") -> bool:
        """After a key was refused: whether there is another one by now, which `get` will use."""
        opened = self._open.get((name, url))
        if not isinstance(opened, Guard) or not await asyncio.to_thread(opened.outdated):
            return False
        self._retire(name, url)
        return True

    def slept(self, seconds: float) -> None:
        """Go on after the machine slept: what connections there were are dead without a word."""
        for name, url in list(self._open):
            self._retire(name, url)
        for health in self._health.values():
            health.slept(seconds)

    def _retire(self, name: str, url: str) -> None:
        # Not closed yet: a request that creates something may be under way.
        if (provider := self._open.pop((name, url), None)) is not None:
            self._retired.append(provider)

    def health(self, name: str, url: str = "") -> Health:
        return self._health.setdefault((name, url), Health())

    async def close(self) -> None:
        opened, self._open, self._retired = [*self._open.values(), *self._retired], {}, []
        await asyncio.gather(*(provider.close() for provider in opened), return_exceptions=True)
