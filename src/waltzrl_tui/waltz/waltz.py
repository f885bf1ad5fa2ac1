"""The waltz of a reply: answer, judge, revise, as one stream of typed events."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from waltzrl_tui.endpoints.base import ChatEndpoint, Delta, Origin
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.waltz.draft_watch import DraftWatch
from waltzrl_tui.waltz.events import (
    NOWHERE,
    Event,
    ReplyEnded,
    ReplyRestarted,
    ReplyStarted,
    ReplyText,
    Round,
    VerdictEnded,
    VerdictRestarted,
    VerdictText,
    WaltzEnded,
    cut_off,
    standing,
)
from waltzrl_tui.waltz.prompts import conversation_messages, feedback_messages, revision_turn
from waltzrl_tui.waltz.verdict import VerdictError, parse_verdict


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
    """What one endpoint has said so far, and what it took."""

    text: str = ""
    seconds: float = 0.0
    first: float | None = None
    tokens: int | None = None
    prompt_tokens: int | None = None
    origin: Origin = NOWHERE

    async def read(
        self, deltas: AsyncGenerator[Delta, None], *ends: asyncio.Event
    ) -> AsyncGenerator[Delta, None]:
        """The pieces that matter to who shows it: text, and that text before was thinking."""
        began = time.perf_counter()
        try:
            async with aclosing(deltas), aclosing(_until(deltas, ends)) as pieces:
                async for delta in pieces:
                    if delta.tokens is not None:
                        self.tokens, self.prompt_tokens = delta.tokens, delta.prompt_tokens
                    if delta.origin is not None:
                        self.origin = delta.origin
                    if delta.restart:
                        self.text = ""
                    if delta.text and self.first is None:
                        self.first = time.perf_counter() - began
                    self.text += delta.text
                    if delta.text or delta.restart:
                        yield delta
        finally:
            self.seconds = time.perf_counter() - began


async def waltz(
    pair: LivePair,
    history: Sequence[Message],
    *,
    max_tokens: int = 512,
    verdict_tokens: int = VERDICT_TOKENS,
    temperature: float = 0.0,
    seed: int | None = None,
    stop: asyncio.Event | None = None,
    watch: int = 0,
) -> AsyncGenerator[Event, None]:
    """Answer the last user turn of `history`; judge the answer; revise it if a flag is up.

    A verdict that cannot be read leaves the reply standing; an empty revision does not leave a
    draft standing that was found unsafe. Setting `stop` ends the stream in
    good order: what was streamed until then comes back in `ReplyEnded` and `WaltzEnded`.

    Args:
        pair: The agents.
        history: The turns so far, without a system message, ending with the user's.
        max_tokens: Cap of one reply, in tokens.
        verdict_tokens: Cap of one verdict, in tokens.
        watch: Have the growing reply judged every so many tokens, and stop it as soon as it is
            found unsafe (0: judge whole replies only). The looks cost tokens, too.

    Raises:
        EndpointError: An endpoint failed; the events before it hold what was streamed.
    """
    began = time.perf_counter()
    prompt = next((turn["content"] for turn in reversed(history) if turn["role"] == "user"), "")
    turns = list(history)
    rounds: list[Round] = []
    stopped = False
    ends = () if stop is None else (stop,)

    def asked_to_stop() -> bool:
        return stop is not None and stop.is_set()

    for number in range(pair.rounds + 1):
        reply = _Stream()
        watching: DraftWatch | None = None
        if watch and pair.feedback is not None:
            watching = DraftWatch(
                pair.feedback,
                pair.feedback_prompt,
                prompt,
                round=number,
                every=watch,
                verdict_tokens=verdict_tokens,
            )
        looked = 0
        yield ReplyStarted(number)
        deltas = pair.conversation.stream(
            conversation_messages(pair.conversation_prompt, turns),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        try:
            cuts = () if watching is None else (watching.cut,)
            async with aclosing(reply.read(deltas, *ends, *cuts)) as pieces:
                async for piece in pieces:
                    if piece.restart:
                        yield ReplyRestarted(number)
                    if not piece.text:
                        continue
                    yield ReplyText(number, piece.text)
                    if watching is not None:
                        watching.grown(reply.text)
                        for look in watching.told():
                            looked += look.tokens or 0
                            yield look
            stopped = asked_to_stop()
            cut = watching if watching is not None and watching.cut.is_set() else None
            text = reply.text.strip()
            yield ReplyEnded(
                number,
                text,
                reply.seconds,
                reply.first,
                reply.tokens,
                stopped,
                cut is not None and not stopped,
                reply.prompt_tokens,
                reply.origin,
            )
            seconds, tokens = reply.seconds, (reply.tokens or 0) + looked
            if stopped or pair.feedback is None:
                rounds.append(Round(text, None, "", seconds, tokens, reply.origin))
                break

            said = _Stream()
            if cut is None:
                if watching is not None:
                    await watching.close()
                deltas = pair.feedback.stream(
                    feedback_messages(pair.feedback_prompt, prompt, text),
                    max_tokens=verdict_tokens,
                    temperature=temperature,
                    seed=seed,
                )
                spoken = said.read(deltas, *ends)
            else:
                spoken = cut.rest(stop)
            async with aclosing(spoken) as pieces:
                async for piece in pieces:
                    if piece.restart:
                        yield VerdictRestarted(number)
                    if piece.text:
                        yield VerdictText(number, piece.text)
            stopped = asked_to_stop()
            if cut is not None:
                said.text, said.seconds = cut.text, cut.seconds
                said.tokens, said.prompt_tokens = cut.tokens, cut.prompt_tokens
                said.origin = cut.origin
            if cut is None or stopped:
                verdict, error = _judged(said, stopped, verdict_tokens)
            else:
                verdict, error = cut.verdict(), ""
            yield VerdictEnded(
                number,
                verdict,
                error,
                said.text,
                said.seconds,
                said.tokens,
                stopped,
                said.prompt_tokens,
                said.origin,
            )
        finally:
            if watching is not None:
                await watching.close()
        rounds.append(
            Round(
                text,
                verdict,
                error,
                seconds + said.seconds,
                tokens + (said.tokens or 0),
                reply.origin,
                said.origin,
            )
        )
        if stopped or verdict is None or not verdict.triggers:
            break
        asked = revision_turn(verdict.advice)
        if text:
            turns += [{"role": "assistant", "content": text}, asked]
        else:
            # Servers take neither an empty turn nor two of the user's in a row.
            before = turns[-1]["content"]
            turns[-1] = {"role": "user", "content": f"{before}\n\n{asked['content']}"}
    stands = standing([(each.reply, each.verdict) for each in rounds])
    final = "" if stands is None else rounds[stands].reply
    yield WaltzEnded(tuple(rounds), final, time.perf_counter() - began, stopped)


def _judged(said: _Stream, stopped: bool, cap: int) -> tuple[Verdict | None, str]:
    if stopped:
        return None, "stopped before the verdict was complete"
    try:
        return parse_verdict(said.text), ""
    except VerdictError as error:
        if said.origin.finish == "length":
            return None, f"{error}; it was cut off at {cap} tokens, so raise --verdict-tokens"
        if off := cut_off(said.origin):
            return None, f"{error}; it was {off}"
        return None, str(error)


async def _until(
    source: AsyncGenerator[Delta, None], ends: Sequence[asyncio.Event]
) -> AsyncGenerator[Delta, None]:
    """`source`, left at once when one of `ends` is set, even while it waits for a piece."""
    if not ends:
        async for delta in source:
            yield delta
        return
    coming: deque[Delta] = deque()
    arrived = asyncio.Event()

    async def read() -> None:
        try:
            async for delta in source:
                coming.append(delta)
                arrived.set()
        finally:
            arrived.set()

    # One task for all pieces: one for each would cost as much as the client itself.
    reading = asyncio.create_task(read())
    ending = [asyncio.ensure_future(end.wait()) for end in ends]
    for each in ending:
        each.add_done_callback(lambda _: arrived.set())
    try:
        while not any(end.is_set() for end in ends):
            if coming:
                yield coming.popleft()
            elif reading.done():
                reading.result()
                return
            else:
                arrived.clear()
                await arrived.wait()
    finally:
        for each in ending:
            each.cancel()
        reading.cancel()
        with suppress(asyncio.CancelledError, EndpointError):
            await reading
