"""Limits on one endpoint's replies: timeouts, waiting between attempts, and a cap on text."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from waltzrl_tui.errors import EndpointError

_SLACK_CHARACTERS: Final = 20_000
_LONGEST_TOKEN: Final = 64
_MAX_EMPTY_PIECES: Final = 100_000
_BACKOFF_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for an endpoint, and how often to try.

    Attributes:
        connect: Seconds to connect.
        first_token: Seconds to the first token (of a reply in one piece: to its end).
        next_token: Seconds between two tokens.
        attempts: Attempts, as long as no text has arrived.
        rate_limited_attempts: The same, where the server reports too many requests.
    """

    connect: float = 10.0
    first_token: float = 120.0
    next_token: float = 60.0
    attempts: int = 3
    rate_limited_attempts: int = 6


class Backoff:
    """Holds back all streams of an endpoint while it asks for that."""

    def __init__(self) -> None:
        self._until = 0.0

    def hold(self, seconds: float) -> None:
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def wait(self) -> None:
        while (seconds := self._until - asyncio.get_running_loop().time()) > 0:
            # Not all at the same moment.
            await asyncio.sleep(seconds + random.random() * min(seconds, 1.0) / 4)


def backoff_seconds(attempts: int) -> float:
    """Seconds to wait after so many failed attempts, where the server names none."""
    return min(8.0, _BACKOFF_SECONDS * 2.0 ** (attempts - 1)) * random.uniform(0.75, 1.0)


class OutputCap:
    """Cuts off an endpoint that sends without end. No tokenizer has tokens this long."""

    def __init__(self, name: str, max_tokens: int) -> None:
        self._name, self._max_tokens = name, max_tokens
        self._characters_left = max_tokens * _LONGEST_TOKEN + _SLACK_CHARACTERS
        self._empty_pieces = 0

    def clip(self, text: str) -> str:
        """As much of `text` as the cap allows."""
        self._empty_pieces = 0 if text else self._empty_pieces + 1
        clipped = text[: max(0, self._characters_left)]
        self._characters_left -= len(text)
        return clipped

    def check(self) -> None:
        """Check that the endpoint comes to an end.

        Raises:
            EndpointError: The cap is used up, or too many pieces in a row were empty.
        """
        if self._characters_left < 0 or self._empty_pieces > _MAX_EMPTY_PIECES:
            raise EndpointError(
                f"{self._name} keeps sending beyond the limit of {self._max_tokens} tokens; "
                "the rest was not read.",
                hint="The endpoint ignores the cap in the request.",
            )
