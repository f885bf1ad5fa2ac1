"""What all endpoints share: patience, another attempt before the first token, and a cap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

from waltzrl_tui.endpoints.errors import Fault, FilteredError
from waltzrl_tui.endpoints.response_text import WholeText
from waltzrl_tui.endpoints.thinking import Thinking
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.text import one_line

_SLACK: Final = 20_000
_LONGEST_TOKEN: Final = 64
_MOST_SILENT: Final = 100_000
_BACKOFF_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a reply came from, in the server's own words ("" where it does not tell).

    Attributes:
        model: The model that answered, which may not be called as the one that was asked for.
        id: The server's name of this reply.
        fingerprint: Of what runs there (`system_fingerprint`).
        finish: Why the reply ended: `stop`, `length`, `content_filter`, or its own word.
        without: Settings that the server does not take, so that it was asked without them.
    """

    model: str = ""
    id: str = ""
    fingerprint: str = ""
    finish: str = ""
    without: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "id": self.id,
            "fingerprint": self.fingerprint,
            "finish": self.finish,
            "without": list(self.without),
        }


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply.

    `restart`: what came before was thinking whose begin was not sent; the reply begins here. In the
    last piece, where the server tells: `tokens` of the whole reply, `prompt_tokens` of
    what it read, and `origin`.
    """

    text: str
    tokens: int | None = None
    prompt_tokens: int | None = None
    origin: Origin | None = None
    restart: bool = False


BEGUN: Final = Delta("")
"""A first piece by which an endpoint that had the request wait tells that it is asked now."""


@dataclass(slots=True)
class Told:
    """What a server tells besides text while it replies."""

    model: str = ""
    id: str = ""
    fingerprint: str = ""
    finish: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    without: tuple[str, ...] = ()
    complete: bool = False

    def last(self) -> Delta:
        # llama.cpp names a model by its file, whose folder is nobody's business.
        model = PurePath(self.model).name if self.model.startswith("/") else self.model
        origin = Origin(
            one_line(model, 160),
            one_line(self.id, 160),
            one_line(self.fingerprint, 160),
            one_line(self.finish, 40),
            self.without,
        )
        return Delta("", self.tokens, self.prompt_tokens, origin)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint is waited for.

    Attributes:
        connect: Seconds to reach it.
        first: Seconds to the first token (of a reply in one piece: to its end).
        pause: Seconds between two tokens.
        attempts: As long as no text has come. `crowded`: where it says that it is asked too often.
    """

    connect: float = 10.0
    first: float = 120.0
    pause: float = 60.0
    attempts: int = 3
    crowded: int = 6


@dataclass(slots=True)
class Gate:
    """What the streams of an endpoint share: all are held back while it asks for that.

    Attributes:
        unopened: Whether a reply has begun inside thinking, without a sign of it: later ones are
            held back until their thinking ends.
    """

    unopened: bool = False
    _until: float = field(default=0.0)

    def hold(self, seconds: float) -> None:
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def passed(self) -> None:
        while (wait := self._until - asyncio.get_running_loop().time()) > 0:
            # Not all at the same moment.
            await asyncio.sleep(wait + random.random() * min(wait, 1.0) / 4)


Attempt = Callable[[Told], AsyncGenerator[str, None]]
"""Asks once, yields text (also empty text, as a sign of life), and fills in what it is told."""


async def steady(
    attempt: Attempt,
    *,
    name: str,
    max_tokens: int,
    patience: Patience,
    gate: Gate,
    fault: Callable[[Exception, bool], Fault],
) -> AsyncGenerator[Delta, None]:
    """The reply of `attempt`, which is made again while no text has come and it may help.

    Thinking in the text is left out. A server whose filter refuses has replied, too: its reply
    ends there, with the reason `content_filter`.

    The last piece holds no text but what the server told of the reply.

    Args:
        name: What errors call the endpoint.
        max_tokens: What the endpoint was asked to keep to; far longer replies are cut off.
        fault: What an error means, and whether text had come.

    Raises:
        EndpointError: It failed, stalled, or sends without an end.
    """
    tries = 0
    while True:
        tries += 1
        await gate.passed()
        told, text, said = Told(), WholeText(), False
        thinking = Thinking(unopened=gate.unopened)
        cap = _Cap(name, max_tokens)
        try:
            async with aclosing(attempt(told)) as pieces:
                while True:
                    seconds = patience.pause if said else patience.first
                    try:
                        # Only the wait is timed: the consumer may take its time.
                        async with asyncio.timeout(seconds):
                            piece = await anext(pieces, None)
                    except TimeoutError as error:
                        raise _silent(name, seconds, said) from error
                    if piece is None:
                        break
                    if piece := cap.within(text.feed(piece)):
                        said = True
                        answer, restart = thinking.feed(piece)
                        gate.unopened = gate.unopened or thinking.unopened
                        if answer or restart:
                            yield Delta(answer, restart=restart)
                    cap.check()
            rest = thinking.feed(text.rest())[0] + thinking.rest(cut=told.finish == "length")
            if rest:
                said = True
                yield Delta(rest)
            if not told.complete:
                raise EOFError("the stream ended before the reply did")
            yield told.last()
            return
        except Exception as error:
            found = fault(error, said)
            if isinstance(found.error, FilteredError):
                break
            most = patience.crowded if found.crowded else patience.attempts
            if said or not found.again or tries >= most:
                raise found.error from error
        wait = found.after
        if wait is None:
            wait = min(8.0, _BACKOFF_SECONDS * 2 ** (tries - 1)) * random.uniform(0.75, 1.0)
        if found.crowded:
            gate.hold(wait)
        else:
            await asyncio.sleep(wait)
    if rest := thinking.rest(cut=True):
        yield Delta(rest)
    told.finish = "content_filter"
    if not said:
        # What was refused is not billed.
        told.tokens = told.prompt_tokens = 0
    yield told.last()


class _Cap:
    """Sees that an endpoint comes to an end. No tokenizer has tokens as long as it allows."""

    def __init__(self, name: str, max_tokens: int) -> None:
        self._name, self._max_tokens = name, max_tokens
        self._left = max_tokens * _LONGEST_TOKEN + _SLACK
        self._silent = 0

    def within(self, text: str) -> str:
        self._silent = 0 if text else self._silent + 1
        allowed = text[: max(0, self._left)]
        self._left -= len(text)
        return allowed

    def check(self) -> None:
        if self._left < 0 or self._silent > _MOST_SILENT:
            raise EndpointError(
                f"{self._name} does not come to an end: it was asked for at most "
                f"{self._max_tokens} tokens; the rest was not read.",
                hint="The endpoint does not keep to the cap that it was given.",
            )


def _silent(name: str, seconds: float, said: bool) -> EndpointError:
    if said:
        return EndpointError(
            f"{name} broke off: nothing came for {seconds:.0f} s in the middle of its reply.",
            hint="Ask again.",
        )
    return EndpointError(
        f"{name} did not begin to reply within {seconds:.0f} s.",
        hint="Ask again when it is less busy, and check that its model is loaded.",
    )
