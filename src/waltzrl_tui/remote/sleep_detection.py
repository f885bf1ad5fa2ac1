"""Noticing that the machine was asleep: deadlines of the steady clock are late by that much."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_GAP_SECONDS: Final = 30.0


class Sleeps:
    """Told of at each turn of a loop that turns several times a second.

    A steady clock stands still while a laptop sleeps (on Linux and macOS), the wall clock goes on;
    while a process is stopped both go on, and what was to come one by one is due all at once.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall, self._steady = wall, steady
        self._last = wall(), steady()

    def since(self) -> float | None:
        """Seconds since the last call that the steady clock has missed, 0 when it missed none.

        None when there was no pause. A wall clock that is set forward looks like a sleep; one
        that is set back like nothing.
        """
        before, self._last = self._last, (self._wall(), self._steady())
        wall, steady = self._last[0] - before[0], self._last[1] - before[1]
        if max(wall, steady) < _GAP_SECONDS:
            return None
        return max(0.0, wall - steady)
