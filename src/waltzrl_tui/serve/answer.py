"""The answer to one request: a waltz, and what of it may be sent when."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.chat.transcript import event_record
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.serve.request import ChatRequest
from waltzrl_tui.waltz.events import (
    ReplyEnded,
    ReplyRestarted,
    ReplyText,
    VerdictEnded,
    WaltzEnded,
)
from waltzrl_tui.waltz.waltz import LivePair, waltz


@dataclass(frozen=True, slots=True)
class ReplyPiece:
    """A piece of the final reply."""

    text: str


@dataclass(frozen=True, slots=True)
class RoundEvent:
    """A piece of a draft or a verdict, as transcripts record it."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerEnd:
    """The end of an answer.

    Attributes:
        final: The whole final reply.
        finish: `stop`, `length`, `content_filter` (by a server, or by the pair itself: an unsafe
            draft whose revision is empty), or `error`, as some servers end a reply.
        waltzrl: Pair, rounds, seconds, and where each reply came from.
        prompt_tokens, tokens: Read and written by both agents in all rounds, as far as reported.
    """

    final: str
    finish: str
    waltzrl: dict[str, Any]
    prompt_tokens: int
    tokens: int

    def usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.tokens,
            "total_tokens": self.prompt_tokens + self.tokens,
        }


async def answer_request(
    pair: LivePair, request: ChatRequest, *, max_tokens: int, verdict_tokens: int, drafts: bool
) -> AsyncGenerator[ReplyPiece | RoundEvent | AnswerEnd, None]:
    """Answer a request. The reply of the last round streams; a reply that may still be revised is
    sent whole once its verdict raises no flag.

    Args:
        max_tokens: Cap of a reply where the request gives none.
        verdict_tokens: Cap of a verdict.
        drafts: Whether to report drafts and verdicts as they arrive.

    Raises:
        EndpointError: An agent failed, or its thinking was sent before it was recognized.
    """
    last = pair.rounds if pair.feedback else 0
    trimmer = _ReplyTrimmer(request.stops)
    prompt_tokens = tokens = 0
    stream = waltz(
        pair,
        request.history,
        max_tokens=request.max_tokens or max_tokens,
        verdict_tokens=verdict_tokens,
        temperature=request.temperature,
        seed=request.seed,
    )
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, ReplyEnded | VerdictEnded):
                prompt_tokens += event.prompt_tokens or 0
                tokens += event.tokens or 0
            if isinstance(event, ReplyRestarted) and event.round >= last:
                if request.stream and trimmer.text:
                    raise _thinking_sent(pair.name)
                trimmer = _ReplyTrimmer(request.stops)
            elif isinstance(event, ReplyText) and event.round >= last:
                if text := trimmer.feed(event.text):
                    yield ReplyPiece(text)
            elif isinstance(event, WaltzEnded):
                if not trimmer.begun:
                    yield ReplyPiece(trimmer.feed(event.final) + trimmer.rest())
                elif text := trimmer.rest():
                    yield ReplyPiece(text)
                waltzrl = {
                    "pair": pair.name,
                    "rounds": [each.to_json() for each in event.rounds],
                    "outcome": event.outcome,
                    "withheld": event.withheld,
                    "seconds": round(event.seconds, 3),
                    "ignored": list(request.ignored),
                }
                yield AnswerEnd(
                    final=trimmer.text,
                    finish=_finish(event, trimmer),
                    waltzrl=waltzrl,
                    prompt_tokens=prompt_tokens,
                    tokens=tokens,
                )
            elif drafts and (recorded := event_record(event)) is not None:
                kind, fields = recorded
                yield RoundEvent({"event": kind, **fields})


def _finish(ended: WaltzEnded, trimmer: _ReplyTrimmer) -> str:
    # A reply that ends at one of the request's stops ended as requested.
    if trimmer.ended:
        return "stop"
    if ended.withheld:
        return "content_filter"
    finish = ended.decisive.origin.finish
    return finish if finish in ("length", "content_filter", "error") else "stop"


def _thinking_sent(name: str) -> EndpointError:
    # Streamed text cannot be taken back, and a client would take it for the reply.
    return EndpointError(
        f"The text streamed from {name} was its thinking, which its server does not mark.",
        hint="Send the request again: from now on, replies are held back until the thinking ends.",
    )


class _ReplyTrimmer:
    """Trims a reply while it streams: surrounding white space, and all from the first stop on."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._reserve = max(map(len, stops), default=1) - 1
        self._held = ""
        self.ended = False
        self.text = ""

    @property
    def begun(self) -> bool:
        """Whether anything but white space has arrived."""
        return bool(self.text or self._held.strip() or self.ended)

    def feed(self, piece: str) -> str:
        """Take a piece of the reply and return the text that can be sent now."""
        if self.ended:
            return ""
        held = self._held + piece
        if not self.text:
            held = held.lstrip()
        places = [place for stop in self._stops if (place := held.find(stop)) >= 0]
        if places:
            self.ended, self._held = True, ""
            return self._release(held[: min(places)].rstrip())
        # Trailing white space may end the reply, and the last characters may begin a stop.
        keep = min(len(held), max(len(held) - len(held.rstrip()), self._reserve))
        cut = len(held[: len(held) - keep].rstrip())
        self._held = held[cut:]
        return self._release(held[:cut])

    def rest(self) -> str:
        """The text still held back, once the reply has ended."""
        held, self._held = self._held, ""
        return "" if self.ended else self._release(held.rstrip())

    def _release(self, text: str) -> str:
        self.text += text
        return text
