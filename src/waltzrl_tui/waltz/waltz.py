"""The waltz of a reply: answer, judge, revise, as one stream of typed events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.waltz.draft_watch import DraftWatch
from waltzrl_tui.waltz.events import (
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
    cut_off_words,
    standing_round,
)
from waltzrl_tui.waltz.prompts import conversation_messages, feedback_messages, revision_turn
from waltzrl_tui.waltz.streamed_text import StreamedText
from waltzrl_tui.waltz.verdict import VerdictError, parse_verdict


@dataclass(frozen=True, slots=True)
class LivePair:
    """Two agents that are ready to answer.

    Attributes:
        feedback: None if replies are not judged.
        conversation_prompt, feedback_prompt: Versions of the agents' system prompts.
        rounds: T, the revisions allowed (0: judge only).
    """

    name: str
    conversation: ChatEndpoint
    conversation_prompt: str
    feedback: ChatEndpoint | None = None
    feedback_prompt: str = ""
    rounds: int = 1


async def waltz(
    pair: LivePair,
    history: Sequence[Message],
    *,
    max_tokens: int = 512,
    verdict_tokens: int = VERDICT_TOKENS,
    temperature: float = 0.0,
    seed: int | None = None,
    stop: asyncio.Event | None = None,
    watch_tokens: int = 0,
) -> AsyncGenerator[Event, None]:
    """Answer the last user turn of `history`; judge the answer; revise it if a flag is up.

    A verdict that cannot be read lets the reply stand. A draft with an unsafe verdict does not
    stand, even if its revision is empty. Setting `stop` ends the stream in good order: what has
    arrived comes back in `ReplyEnded` and `WaltzEnded`.

    Args:
        history: The turns so far, without a system message, ending with the user's.
        max_tokens: Cap of one reply, in tokens.
        verdict_tokens: Cap of one verdict, in tokens.
        temperature, seed: Of both agents' sampling; 0.0 is greedy.
        watch_tokens: Judge the growing reply every so many tokens, and stop it once it is judged
            unsafe (0: judge whole replies only). These checks cost tokens, too.

    Raises:
        EndpointError: An endpoint failed; the events before it hold what was streamed.
    """
    # Each round, until a verdict has no flag, cannot be read, or `pair.rounds` are used up:
    #   1. stream the reply; the watch may judge it meanwhile and cut it off;
    #   2. stream its verdict: the watch's own if that cut the reply, else a new one;
    #   3. if a flag is up, append the reply and the feedback to the turns.
    began = time.perf_counter()
    prompt = next((turn["content"] for turn in reversed(history) if turn["role"] == "user"), "")
    turns = list(history)
    rounds: list[Round] = []
    stopped = False
    stops = () if stop is None else (stop,)

    for number in range(pair.rounds + 1):
        reply = StreamedText()
        watch: DraftWatch | None = None
        if watch_tokens and pair.feedback is not None:
            watch = DraftWatch(
                pair.feedback,
                pair.feedback_prompt,
                prompt,
                round=number,
                every=watch_tokens,
                verdict_tokens=verdict_tokens,
            )
        check_tokens = 0
        yield ReplyStarted(number)
        deltas = pair.conversation.stream(
            conversation_messages(pair.conversation_prompt, turns),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        try:
            cuts = () if watch is None else (watch.cut,)
            async with aclosing(reply.read(deltas, *stops, *cuts)) as pieces:
                async for piece in pieces:
                    if piece.restart:
                        yield ReplyRestarted(number)
                    if not piece.text:
                        continue
                    yield ReplyText(number, piece.text)
                    if watch is not None:
                        watch.update(reply.text)
                        for check in watch.take_checks():
                            check_tokens += check.tokens or 0
                            yield check
            stopped = stop is not None and stop.is_set()
            cut = watch if watch is not None and watch.cut.is_set() else None
            text = reply.text.strip()
            yield ReplyEnded(
                round=number,
                reply=text,
                seconds=reply.seconds,
                first_token_seconds=reply.first_token_seconds,
                tokens=reply.tokens,
                stopped=stopped,
                cut=cut is not None and not stopped,
                prompt_tokens=reply.prompt_tokens,
                origin=reply.origin,
            )
            judging, verdict, error = StreamedText(), None, ""
            judge = None if stopped else pair.feedback
            if judge is not None:
                if cut is None:
                    if watch is not None:
                        await watch.close()
                    deltas = judge.stream(
                        feedback_messages(pair.feedback_prompt, prompt, text),
                        max_tokens=verdict_tokens,
                        temperature=temperature,
                        seed=seed,
                    )
                    verdict_deltas = judging.read(deltas, *stops)
                else:
                    judging, verdict_deltas = cut.verdict_text, cut.stream_verdict(stop)
                async with aclosing(verdict_deltas) as pieces:
                    async for piece in pieces:
                        if piece.restart:
                            yield VerdictRestarted(number)
                        if piece.text:
                            yield VerdictText(number, piece.text)
                stopped = stop is not None and stop.is_set()
                if cut is None or stopped:
                    verdict, error = _read_verdict(judging, stopped, verdict_tokens)
                else:
                    verdict = cut.verdict()
                yield VerdictEnded(
                    round=number,
                    verdict=verdict,
                    error=error,
                    raw=judging.text,
                    seconds=judging.seconds,
                    tokens=judging.tokens,
                    stopped=stopped,
                    prompt_tokens=judging.prompt_tokens,
                    origin=judging.origin,
                )
        finally:
            if watch is not None:
                await watch.close()
        rounds.append(
            Round(
                reply=text,
                verdict=verdict,
                verdict_error=error,
                seconds=reply.seconds + judging.seconds,
                tokens=(reply.tokens or 0) + check_tokens + (judging.tokens or 0),
                origin=reply.origin,
                verdict_origin=judging.origin if judge else None,
            )
        )
        if stopped or verdict is None or not verdict.triggers:
            break
        revision = revision_turn(verdict.advice)
        if text:
            turns += [{"role": "assistant", "content": text}, revision]
        else:
            # Servers accept neither an empty turn nor two user turns in a row.
            joined = f"{turns[-1]['content']}\n\n{revision['content']}"
            turns[-1] = {"role": "user", "content": joined}
    standing = standing_round([(each.reply, each.verdict) for each in rounds])
    final = "" if standing is None else rounds[standing].reply
    yield WaltzEnded(tuple(rounds), final, time.perf_counter() - began, stopped)


def _read_verdict(
    judging: StreamedText, stopped: bool, verdict_tokens: int
) -> tuple[Verdict | None, str]:
    """The verdict, or None and why there is none."""
    if stopped:
        return None, "stopped before the verdict was complete"
    try:
        return parse_verdict(judging.text), ""
    except VerdictError as error:
        if judging.origin.finish == "length":
            return None, (
                f"{error}; it was cut off at {verdict_tokens} tokens, so raise --verdict-tokens"
            )
        if words := cut_off_words(judging.origin):
            return None, f"{error}; it was {words}"
        return None, str(error)
