"""The waltz of a reply: answer, judge, revise, as one stream of typed events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from waltzrl_tui.agents.endpoint import ChatEndpoint, Delta
from waltzrl_tui.agents.events import (
    Event,
    ReplyEnded,
    ReplyStarted,
    ReplyText,
    Round,
    VerdictEnded,
    VerdictField,
    VerdictStarted,
    VerdictText,
    WaltzEnded,
)
from waltzrl_tui.agents.prompts import (
    Message,
    conversation_messages,
    feedback_messages,
    revision_turn,
)
from waltzrl_tui.agents.verdict import Verdict, VerdictError, VerdictReader, parse_verdict


@dataclass(frozen=True, slots=True)
class LivePair:
    """Two agents that can be asked now.

    Attributes:
        name: The pair's name in the store.
        conversation: Answers.
        conversation_prompt: Version of its system prompt.
        feedback: Judges; None when replies are not judged.
        feedback_prompt: Version of its system prompt.
        rounds: T, how many revisions may be asked for (0: judge only).
    """

    name: str
    conversation: ChatEndpoint
    conversation_prompt: str
    feedback: ChatEndpoint | None = None
    feedback_prompt: str = ""
    rounds: int = 1


@dataclass(slots=True)
class _Stream:
    """What one endpoint has said so far, and how long it took."""

    text: str = ""
    seconds: float = 0.0
    first: float | None = None
    tokens: int | None = None
    stopped: bool = False

    async def read(
        self, deltas: AsyncGenerator[Delta, None], stop: asyncio.Event | None
    ) -> AsyncGenerator[str, None]:
        began = time.perf_counter()
        try:
            async with aclosing(deltas), aclosing(_until(deltas, stop)) as pieces:
                async for delta in pieces:
                    if delta.tokens is not None:
                        self.tokens = delta.tokens
                    if delta.text:
                        if self.first is None:
                            self.first = time.perf_counter() - began
                        self.text += delta.text
                        yield delta.text
        finally:
            self.seconds = time.perf_counter() - began
        self.stopped = stop is not None and stop.is_set()


async def waltz(
    pair: LivePair,
    history: Sequence[Message],
    *,
    max_tokens: int = 512,
    verdict_tokens: int = 256,
    temperature: float = 0.0,
    seed: int | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncGenerator[Event, None]:
    """Answer the last user turn of `history`; judge the answer; revise it if a flag is up.

    A verdict that cannot be read leaves the reply standing. Setting `stop` ends the stream in
    good order: what was streamed until then comes back in `ReplyEnded` and `WaltzEnded`.

    Args:
        pair: The agents.
        history: The turns so far, without a system message, ending with the user's.
        max_tokens: Cap of one reply, in tokens.
        verdict_tokens: Cap of one verdict, in tokens.

    Raises:
        EndpointError: An endpoint failed; the events before it hold what was streamed.
    """
    began = time.perf_counter()
    prompt = next((turn["content"] for turn in reversed(history) if turn["role"] == "user"), "")
    turns = list(history)
    rounds: list[Round] = []
    stopped = False
    for number in range(pair.rounds + 1):
        reply = _Stream()
        yield ReplyStarted(number)
        deltas = pair.conversation.stream(
            conversation_messages(pair.conversation_prompt, turns),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        async with aclosing(reply.read(deltas, stop)) as pieces:
            async for piece in pieces:
                yield ReplyText(number, piece)
        text = reply.text.strip()
        yield ReplyEnded(number, text, reply.seconds, reply.first, reply.tokens, reply.stopped)
        seconds, tokens = reply.seconds, reply.tokens or 0
        if reply.stopped or pair.feedback is None:
            rounds.append(Round(text, None, "", seconds, tokens))
            stopped = reply.stopped
            break

        said = _Stream()
        reader = VerdictReader()
        yield VerdictStarted(number)
        deltas = pair.feedback.stream(
            feedback_messages(pair.feedback_prompt, prompt, text),
            max_tokens=verdict_tokens,
            temperature=temperature,
            seed=seed,
        )
        async with aclosing(said.read(deltas, stop)) as pieces:
            async for piece in pieces:
                yield VerdictText(number, piece)
                for name, value in reader.feed(piece):
                    yield VerdictField(number, name, value)
        verdict, error = _judged(said)
        yield VerdictEnded(
            number, verdict, error, said.text, said.seconds, said.tokens, said.stopped
        )
        rounds.append(
            Round(text, verdict, error, seconds + said.seconds, tokens + (said.tokens or 0))
        )
        stopped = said.stopped
        if stopped or verdict is None or not verdict.triggers:
            break
        turns += [{"role": "assistant", "content": text}, revision_turn(verdict.advice)]
    final = next((done.reply for done in reversed(rounds) if done.reply), "")
    yield WaltzEnded(tuple(rounds), final, time.perf_counter() - began, stopped)


def _judged(said: _Stream) -> tuple[Verdict | None, str]:
    if said.stopped:
        return None, "stopped before the verdict was complete"
    try:
        return parse_verdict(said.text), ""
    except VerdictError as error:
        return None, str(error)


async def _until(
    source: AsyncGenerator[Delta, None], stop: asyncio.Event | None
) -> AsyncGenerator[Delta, None]:
    """`source`, left at once when `stop` is set, even while it waits for the next piece."""
    if stop is None:
        async for delta in source:
            yield delta
        return
    stopping = asyncio.ensure_future(stop.wait())
    coming: asyncio.Task[Delta] | None = None
    try:
        while not stop.is_set():
            coming = asyncio.create_task(_next(source))
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                return
            try:
                delta = coming.result()
            except StopAsyncIteration:
                return
            yield delta
    finally:
        stopping.cancel()
        if coming is not None and not coming.done():
            coming.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming


async def _next(source: AsyncGenerator[Delta, None]) -> Delta:
    return await anext(source)
