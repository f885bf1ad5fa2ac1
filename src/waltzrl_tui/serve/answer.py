"""One request played out: the waltz, with what of it may be given out at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.chat.transcript import event_record
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.serve.request import Ask
from waltzrl_tui.waltz.events import (
    ReplyEnded,
    ReplyRestarted,
    ReplyText,
    VerdictEnded,
    WaltzEnded,
)
from waltzrl_tui.waltz.waltz import LivePair, waltz


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the final reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something of a draft or a verdict, as transcripts record it."""

    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """The end.

    Attributes:
        final: The whole final reply.
        finish: `stop`, `length`, `content_filter` (of a server, or of the pair itself: an unsafe
            draft whose revision is empty), or `error`, as some servers end a reply.
        waltzrl: Pair, rounds, seconds; where each reply came from.
        prompt_tokens, tokens: Read and written by both agents in all rounds, as far as told.
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


async def play(
    pair: LivePair, ask: Ask, *, max_tokens: int, verdict_tokens: int, drafts: bool
) -> AsyncGenerator[Text | Step | Done, None]:
    """Answer a request. The reply of the last round streams; one that may still be revised is
    given out once its verdict lets it stand.

    Args:
        max_tokens: Where the request names no cap.
        verdict_tokens: Cap of a verdict.
        drafts: Whether to tell of drafts and verdicts while they come.

    Raises:
        EndpointError: An agent failed, or its thinking was given out before it could be told.
    """
    last = pair.rounds if pair.feedback else 0
    out = _Cut(ask.stops)
    read = written = 0
    events = waltz(
        pair,
        ask.history,
        max_tokens=ask.max_tokens or max_tokens,
        verdict_tokens=verdict_tokens,
        temperature=ask.temperature,
        seed=ask.seed,
    )
    async with aclosing(events) as told:
        async for event in told:
            if isinstance(event, ReplyEnded | VerdictEnded):
                read += event.prompt_tokens or 0
                written += event.tokens or 0
            if isinstance(event, ReplyRestarted) and event.round >= last:
                if ask.stream and out.text:
                    raise _thinking_sent(pair.name)
                out = _Cut(ask.stops)
            elif isinstance(event, ReplyText) and event.round >= last:
                if text := out.feed(event.text):
                    yield Text(text)
            elif isinstance(event, WaltzEnded):
                if not out.begun:
                    yield Text(out.feed(event.final) + out.rest())
                elif text := out.rest():
                    yield Text(text)
                waltzrl = {
                    "pair": pair.name,
                    "rounds": [each.to_json() for each in event.rounds],
                    "outcome": event.outcome,
                    "withheld": event.withheld,
                    "seconds": round(event.seconds, 3),
                    "ignored": list(ask.ignored),
                }
                yield Done(out.text, _finish(event, out), waltzrl, read, written)
            elif drafts and (found := event_record(event)) is not None:
                yield Step({"event": found[0], **found[1]})


def _finish(ended: WaltzEnded, out: _Cut) -> str:
    # A reply that ends at one of the request's stops ends as it was wished.
    if out.ended:
        return "stop"
    if ended.withheld:
        return "content_filter"
    finish = ended.decisive.origin.finish
    return finish if finish in ("length", "content_filter", "error") else "stop"


def _thinking_sent(name: str) -> EndpointError:
    # What was streamed cannot be taken back, and a client would take it for the reply.
    return EndpointError(
        f"What was streamed of {name} was its thinking, which its server does not mark.",
        hint="Ask again: from now on it is held back until its thinking ends.",
    )


class _Cut:
    """A reply as it is given out: without white space around it, and up to the first stop."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._reserve = max(map(len, stops), default=1) - 1
        self._held = ""
        self.ended = False
        self.text = ""

    @property
    def begun(self) -> bool:
        """Whether anything but white space has come."""
        return bool(self.text or self._held.strip() or self.ended)

    def feed(self, piece: str) -> str:
        if self.ended:
            return ""
        held = self._held + piece
        if not self.text:
            held = held.lstrip()
        places = [place for stop in self._stops if (place := held.find(stop)) >= 0]
        if places:
            self.ended, self._held = True, ""
            return self._give(held[: min(places)].rstrip())
        # White space at the end may be the end, and the last letters may begin a stop.
        keep = min(len(held), max(len(held) - len(held.rstrip()), self._reserve))
        cut = len(held[: len(held) - keep].rstrip())
        self._held = held[cut:]
        return self._give(held[:cut])

    def rest(self) -> str:
        held, self._held = self._held, ""
        return "" if self.ended else self._give(held.rstrip())

    def _give(self, text: str) -> str:
        self.text += text
        return text
