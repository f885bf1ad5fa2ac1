"""Endpoints with a cache: the same question is never paid for twice.

With this cache an evaluation resumes after a kill in the middle of a waltz, baselines share drafts
of the same model, and another judge needs no new replies.
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
"""Answers from this time before a kill may be lost and asked for again."""

LONGEST: Final = 400_000
"""Characters of one answer; an endpoint that sends more ignores its token limit."""


def answer_key(
    identity: str,
    messages: Sequence[Message],
    max_tokens: int,
    temperature: float,
    seed: int | None,
) -> str:
    """The cache key of an answer: a hash of model, messages and settings.

    Args:
        identity: See `AgentClient.identity`.
    """
    question = [identity, list(messages), max_tokens, temperature, seed]
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:40]


class Writer(Generic[T]):
    """Collects values for a moment and writes them in one transaction.

    A commit per answer would take a twentieth of the time in which the endpoint could answer the
    next question.

    Args:
        write: Writes a batch in one transaction.
    """

    def __init__(self, write: Callable[[list[T]], Awaitable[None]]) -> None:
        self._write = write
        self._waiting: list[T] = []
        self._writing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._failed: Exception | None = None

    def put(self, value: T) -> None:
        """Write `value` soon, after all earlier ones.

        Raises:
            StoreError: An earlier value could not be written; nothing is written any more.
        """
        if self._failed is not None:
            raise self._failed
        self._waiting.append(value)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._drain())

    async def close(self) -> None:
        """Return when all values are committed.

        Raises:
            StoreError: A value cannot be written.
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
    """The cache of answers in the store; a question in flight is not asked twice.

    Args:
        keys: Keys in the store when the work began; others are not looked up.
        keep: Writes an answer, soon.
    """

    def __init__(
        self, store: AnswerStore, keys: Collection[str], keep: Callable[[Kept], None]
    ) -> None:
        self._store = store
        self._keys = keys
        self._keep = keep
        # Answers of this process: one may be needed again before it is written.
        self._now: dict[str, Answer] = {}
        self._coming: dict[str, asyncio.Event] = {}

    async def answer(self, key: str, ask: Callable[[], Awaitable[Answer]]) -> tuple[Answer, bool]:
        """The answer under `key`, else from `ask`; and whether it came from the cache."""
        while (waiting := self._coming.get(key)) is not None:
            await waiting.wait()
        if (known := self._now.get(key)) is not None:
            return known, True
        done = self._coming[key] = asyncio.Event()
        try:
            if key in self._keys and (known := await self._store.get(key)) is not None:
                return known, True
            answer = self._now[key] = await ask()
            if answer.finish != "error":
                self._keep((key, answer))
            return answer, False
        finally:
            del self._coming[key]
            done.set()


@dataclass(frozen=True)
class AgentClient:
    """An agent of a run with its endpoint, limit and price.

    Attributes:
        identity: Hash of what its answers depend on: model, adapter, address; not its name.
        gate: Shared by all agents at one server.
        limit: Requests in flight that the gate allows.
        price: USD per token; None where unknown.
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
        """Ask for one answer when the gate allows it.

        Raises:
            EndpointError: The endpoint fails, or its answer does not end.
        """
        async with self.gate:
            began = time.perf_counter()
            first: float | None = None
            pieces: list[str] = []
            size = 0
            tokens = prompt_tokens = None
            finish = ""
            stream = self.endpoint.stream(
                messages, max_tokens=max_tokens, temperature=temperature, seed=seed
            )
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    if delta is BEGUN:
                        # Until now it was queued behind other requests of this run.
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
                            f"An answer from {self.agent} is longer than {LONGEST:,} characters.",
                            hint="The endpoint ignores max_tokens.",
                        )
            seconds = time.perf_counter() - began
        return Answer(
            text="".join(pieces),
            tokens=tokens,
            prompt_tokens=prompt_tokens,
            seconds=round(seconds, 4),
            first_seconds=first,
            finish=finish,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One answer that an item needed; `kept`: it came from the cache."""

    source: AgentClient
    answer: Answer
    kept: bool

    @property
    def usd(self) -> float | None:
        """USD, as paid when it was asked for; None where price or token counts are unknown."""
        price = self.source.price
        if price is None:
            return None
        read, written = self.answer.prompt_tokens, self.answer.tokens
        if read is None or written is None:
            return 0.0 if price == Price(0.0, 0.0) else None
        return price.usd(read, written)


class KeptEndpoint:
    """A `ChatEndpoint` for one item: answers come whole, from the cache or from the agent.

    Args:
        salt: Part of every key: a new one asks all questions again.
        calls: Each answer is appended.
    """

    def __init__(self, source: AgentClient, answers: Answers, salt: str, calls: list[Call]) -> None:
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
        answer, kept = await self._answers.answer(
            key, lambda: source.ask(messages, max_tokens, temperature, seed)
        )
        self._calls.append(Call(source, answer, kept))
        text, finish = answer.text, answer.finish
        if finish is None:
            # Stored by a version that took thinking for a part of the answer.
            text, finish = answer_of(text, lone=True) or "", ""
        yield Delta(text, answer.tokens, answer.prompt_tokens, Origin(finish=finish))
