"""Endpoints whose answers are kept: asked again, the same question costs nothing.

This one cache makes an evaluation go on after a kill in the middle of a waltz, lets baselines share
the draft of the same model, and spares a second judge the replies.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from waltzrl_tui.endpoints.base import BEGUN, ChatEndpoint, Delta, Origin
from waltzrl_tui.endpoints.thinking import answer_of
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store.answers import Answer, AnswerStore, Price

T = TypeVar("T")

_TOGETHER_SECONDS: Final = 0.01
"""Of a process that is killed, answers of so long may be asked for again."""

LONGEST: Final = 400_000
"""Characters of one answer; an endpoint that sends more than this ignores its cap."""


def answer_key(
    identity: str,
    messages: Sequence[Message],
    max_tokens: int,
    temperature: float,
    seed: int | None,
) -> str:
    """The key of an answer: what was asked, of which model, with which settings."""
    question = [identity, list(messages), max_tokens, temperature, seed]
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:40]


class Writer(Generic[T]):
    """Writes what it is given a moment later, all of that moment in one transaction.

    A commit for each answer takes a twentieth of the time in which the endpoint could have been
    asked the next one.

    Args:
        write: Writes some, in one transaction.
    """

    def __init__(self, write: Callable[[list[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[T] = []
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failed: Exception | None = None

    def put(self, value: T) -> None:
        """Have `value` written soon, after what was put before.

        Raises:
            StoreError: Something before it could not be written, and nothing is any more.
        """
        if self._failed is not None:
            raise self._failed
        self._waiting.append(value)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Return when all that was put is committed.

        Raises:
            StoreError: It cannot be.
        """
        self._closing.set()
        if self._writing is not None:
            await self._writing
        if self._failed is not None:
            raise self._failed

    async def _drain(self) -> None:
        while self._waiting and self._failed is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), _TOGETHER_SECONDS)
            batch, self._waiting = self._waiting, []
            try:
                await self._write(batch)
            except Exception as error:
                self._failed = error


Kept = tuple[str, Answer]
"""An answer under its key."""


class Answers:
    """Answers that are kept in the store; of a question under way nobody asks a second time.

    Args:
        keys: Of the answers that the store had when the work began: what is not among them need
            not be looked for.
        keep: Has an answer written, soon.
    """

    def __init__(
        self, store: AnswerStore, keys: Collection[str], keep: Callable[[Kept], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._keep = keep
        # Those of now: one may be asked for again before it is written.
        self._now: dict[str, Answer] = {}
        self._coming: dict[str, asyncio.Event] = {}

    async def answer(self, key: str, ask: Callable[[], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """The answer under `key`, from `ask` when there is none; and whether it was kept."""
        while (waiting := self._coming.get(key)) is not None:
            await waiting.wait()
        if (known := self._now.get(key)) is not None:
            return known, True
        done = self._coming[key] = asyncio.Event()
        try:
            if key in self._keys and (known := await self._store.get(key)) is not None:
                return known, True
            found = self._now[key] = await ask()
            if found.finish != "error":
                self._keep((key, found))
            return found, False
        finally:
            del self._coming[key]
            done.set()


@dataclass(frozen=True)
class Source:
    """An agent of a run: whom to ask, how many at once, and at what price.

    Attributes:
        identity: What makes its answers what they are: model, adapter, place; not its name.
        gate: Shared by all agents at the same server.
        limit: Of the gate: requests in flight at once.
        price: USD by tokens; None where it is not known.
    """

    agent: str
    identity: str
    endpoint: ChatEndpoint
    gate: asyncio.Semaphore
    limit: int
    price: Price | None = None

    async def ask(
        self, messages: Sequence[Message], max_tokens: int, temperature: float, seed: int | None
    ) -> Answer:
        """One answer, after a turn at the gate.

        Raises:
            EndpointError: The endpoint fails, or answers without end.
        """
        async with self.gate:
            began = time.perf_counter()
            first: float | None = None
            pieces: list[str] = []
            size = 0
            tokens = prompt_tokens = None
            finish = ""
            asked = self.endpoint.stream(
                messages, max_tokens=max_tokens, temperature=temperature, seed=seed
            )
            async with aclosing(asked) as deltas:
                async for delta in deltas:
                    if delta is BEGUN:
                        # Until now it waited behind other requests of ours.
                        began = time.perf_counter()
                        continue
                    if delta.tokens is not None:
                        tokens = delta.tokens
                    if delta.prompt_tokens is not None:
                        prompt_tokens = delta.prompt_tokens
                    if delta.origin is not None:
                        finish = delta.origin.finish
                    if delta.restart:
                        pieces.clear()
                    if not delta.text:
                        continue
                    if first is None:
                        first = time.perf_counter() - began
                    pieces.append(delta.text)
                    size += len(delta.text)
                    if size > LONGEST:
                        raise EndpointError(
                            f"The answer of {self.agent} is longer than {LONGEST:,} characters.",
                            hint="The endpoint does not keep to the cap it was given.",
                        )
            seconds = time.perf_counter() - began
        return Answer("".join(pieces), tokens, prompt_tokens, round(seconds, 4), first, finish)


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that an item needed; `kept` when it was not asked for now."""

    source: Source
    answer: Answer
    kept: bool

    @property
    def usd(self) -> float | None:
        """What it cost when it was asked for; None where the price or the tokens are not known."""
        price = self.source.price
        if price is None:
            return None
        read, written = self.answer.prompt_tokens, self.answer.tokens
        if read is None or written is None:
            return 0.0 if price == Price(0.0, 0.0) else None
        return price.usd(read, written)


class KeptEndpoint:
    """A `ChatEndpoint` for one item: answers come whole, from the cache or from the source.

    Args:
        salt: Part of every key: another one has all questions asked anew.
        calls: Where each answer is noted.
    """

    def __init__(self, source: Source, answers: Answers, salt: str, calls: list[Call]) -> None:
        self._source = source
        self._answers = answers
        self._salt = salt
        self._calls = calls

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        source = self._source
        identity = source.identity + self._salt
        key = answer_key(identity, messages, max_tokens, temperature, seed)
        found, kept = await self._answers.answer(
            key, lambda: source.ask(messages, max_tokens, temperature, seed)
        )
        self._calls.append(Call(source, found, kept))
        text, finish = found.text, found.finish
        if finish is None:
            # Kept by a version that took thinking for a part of the answer.
            text, finish = answer_of(text, lone=True) or "", ""
        yield Delta(text, found.tokens, found.prompt_tokens, Origin(finish=finish))
