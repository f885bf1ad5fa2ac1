"""A chat as stored records, and the turns built from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.endpoints.costs import BillingRate, PairRates
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.store.rows import PROMPT
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.waltz.events import (
    NO_ORIGIN,
    DraftJudged,
    Event,
    ReplyEnded,
    ReplyRestarted,
    ReplyText,
    VerdictEnded,
    VerdictRestarted,
    VerdictText,
    WaltzEnded,
    standing_round,
)
from waltzrl_tui.waltz.verdict import partial_fields

Record = tuple[str, dict[str, Any]]
"""The kind and the data of one event of a transcript, as the store keeps it."""

STREAMED: Final = frozenset({"reply_text", "verdict_text"})
"""Kinds of records that hold a piece of a text."""


@dataclass(slots=True)
class RoundState:
    """One round as far as known. Its text is untrusted: make it printable before showing it.

    Attributes:
        seconds, tokens, verdict_seconds, verdict_tokens: None until the endpoint has finished, or
            if it does not count.
        usd, verdict_usd: None if no price is known.
        reply_cut: The reply was judged unsafe while it streamed.
        looks, look_tokens, look_usd: Checks of the reply while it streamed, and their cost.
        origin, verdict_origin: What the servers reported of the reply and the verdict.
        edited: A person corrected it.
    """

    reply: str = ""
    reply_ended: bool = False
    reply_stopped: bool = False
    reply_cut: bool = False
    seconds: float | None = None
    first_token_seconds: float | None = None
    tokens: int | None = None
    usd: float | None = None
    origin: Origin = NO_ORIGIN
    looks: int = 0
    look_tokens: int = 0
    look_usd: float | None = 0.0
    judged: bool = False
    verdict_text: str = ""
    verdict: Verdict | None = None
    verdict_error: str = ""
    verdict_stopped: bool = False
    verdict_seconds: float | None = None
    verdict_tokens: int | None = None
    verdict_usd: float | None = None
    verdict_origin: Origin = NO_ORIGIN
    edited: bool = False

    @property
    def all_seconds(self) -> float | None:
        """Seconds of the reply and its verdict, as far as they have ended."""
        known = [each for each in (self.seconds, self.verdict_seconds) if each is not None]
        return sum(known) if known else None

    @property
    def all_tokens(self) -> int:
        """Tokens generated: the reply, its verdict, and checks while it streamed."""
        return (self.tokens or 0) + (self.verdict_tokens or 0) + self.look_tokens

    @property
    def all_usd(self) -> float | None:
        """The cost of all that; None while a part is not known."""
        parts = [self.usd, self.look_usd]
        if self.judged:
            parts.append(self.verdict_usd)
        known = [each for each in parts if each is not None]
        return sum(known) if len(known) == len(parts) else None

    def fields(self) -> dict[str, str | bool]:
        """The verdict's fields, as far as they have streamed in."""
        if self.verdict is not None:
            return dict(self.verdict.model_dump())
        return partial_fields(self.verdict_text)


@dataclass(slots=True)
class Turn:
    """A prompt and what followed.

    Attributes:
        pair: The pair's name.
        again: The last turn's prompt was sent once more; if a reply came, that earlier turn is
            left out of later histories.
        ended: False while it streams, and if the app ended before it did.
        number: Its place in its transcript, from 0.
    """

    prompt: str
    pair: str
    again: bool = False
    rounds: list[RoundState] = field(default_factory=list)
    error: str = ""
    hint: str = ""
    seconds: float | None = None
    stopped: bool = False
    ended: bool = False
    number: int = field(default=0, compare=False)

    @property
    def reply(self) -> str:
        """The reply that stands, else ""; see `standing_round`."""
        number = self.standing_round
        return "" if number is None else self.rounds[number].reply

    @property
    def standing_round(self) -> int | None:
        """The number of the round whose reply stands, of those that an error did not break off."""
        return standing_round(
            [(each.reply if each.reply_ended else "", each.verdict) for each in self.rounds]
        )

    @property
    def tokens(self) -> int:
        """Tokens generated in this turn, as far as endpoints counted."""
        return sum(state.all_tokens for state in self.rounds)

    @property
    def usd(self) -> float | None:
        """The cost of the turn; None while a part is not known."""
        known = [each for state in self.rounds if (each := state.all_usd) is not None]
        return sum(known) if known and len(known) == len(self.rounds) else None

    def apply(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in one record. Records of unknown kinds are ignored."""
        match kind:
            case "error":
                self.error, self.hint = str(data.get("message", "")), str(data.get("hint", ""))
                self.ended = True
            case "end":
                self.seconds, self.stopped = data.get("seconds"), bool(data.get("stopped"))
                self.ended = True
            case "reply_text":
                self._round(data).reply += str(data.get("text", ""))
            case "reply_restart":
                self._round(data).reply = ""
            case "reply":
                _end_reply(self._round(data), data)
            case "look":
                _add_look(self._round(data), data)
            case "verdict_text":
                self._round(data).verdict_text += str(data.get("text", ""))
            case "verdict_restart":
                self._round(data).verdict_text = ""
            case "verdict":
                _end_verdict(self._round(data), data)

    def _round(self, data: Mapping[str, Any]) -> RoundState:
        number = int(data.get("round", 0))
        while len(self.rounds) <= number:
            self.rounds.append(RoundState())
        return self.rounds[number]

    def correct(self, data: Mapping[str, Any]) -> None:
        """Take in a person's correction: `round`, and the new `text` or `verdict`."""
        number = int(data.get("round", 0))
        if number >= len(self.rounds):
            return
        state = self.rounds[number]
        state.edited = True
        if "text" in data:
            state.reply, state.reply_ended = str(data["text"]), True
        if "verdict" in data:
            _set_verdict(state, data["verdict"])


def _end_reply(state: RoundState, data: Mapping[str, Any]) -> None:
    state.reply, state.reply_ended = str(data.get("text", "")), True
    state.reply_stopped, state.reply_cut = bool(data.get("stopped")), bool(data.get("cut"))
    state.seconds, state.tokens = data.get("seconds"), data.get("tokens")
    state.usd, state.origin = data.get("usd"), _origin(data)
    state.first_token_seconds = data.get("first_token_seconds")


def _add_look(state: RoundState, data: Mapping[str, Any]) -> None:
    usd = data.get("usd")
    state.looks += 1
    state.look_tokens += data.get("tokens") or 0
    state.look_usd = None if usd is None or state.look_usd is None else state.look_usd + usd


def _end_verdict(state: RoundState, data: Mapping[str, Any]) -> None:
    state.verdict_error = str(data.get("error", ""))
    state.verdict_stopped = bool(data.get("stopped"))
    state.verdict_seconds, state.verdict_tokens = data.get("seconds"), data.get("tokens")
    state.verdict_usd = data.get("usd")
    state.verdict_origin = _origin(data)
    _set_verdict(state, data.get("verdict"))


def _origin(data: Mapping[str, Any]) -> Origin:
    # Chats of the first versions hold the model's name alone.
    stored = data.get("origin") or {"model": data.get("model")}
    return Origin(
        model=str(stored.get("model") or ""),
        id=str(stored.get("id") or ""),
        fingerprint=str(stored.get("fingerprint") or ""),
        finish=str(stored.get("finish") or ""),
        without=tuple(stored.get("without") or ()),
    )


def _set_verdict(state: RoundState, document: object) -> None:
    state.judged = True
    if document is None:
        return
    try:
        state.verdict = Verdict.model_validate(document)
    except ValidationError:
        state.verdict_error = state.verdict_error or "the stored verdict cannot be read"


def prompt_record(text: str, pair: str, *, again: bool = False) -> Record:
    """The record that opens a turn; `again`: with the last turn's prompt once more."""
    return PROMPT, {"text": text, "pair": pair, **({"again": True} if again else {})}


def error_record(message: str, hint: str) -> Record:
    """The record that ends a failed turn."""
    return "error", {"message": message, "hint": hint}


def event_record(event: Event, rates: PairRates = (None, None)) -> Record | None:
    """`event` as a record; None for one that adds nothing to the others."""
    match event:
        case ReplyText(number, text):
            return "reply_text", {"round": number, "text": text}
        case ReplyRestarted(number):
            return "reply_restart", {"round": number}
        case ReplyEnded():
            return "reply", {
                "round": event.round,
                "text": event.reply,
                "seconds": round(event.seconds, 3),
                "first_token_seconds": _rounded(event.first_token_seconds),
                "tokens": event.tokens,
                "stopped": event.stopped,
                "cut": event.cut,
                "usd": _usd(event, rates[0]),
                "origin": event.origin.to_json(),
            }
        case DraftJudged():
            return "look", {
                "round": event.round,
                "length": event.length,
                "seconds": round(event.seconds, 3),
                "tokens": event.tokens,
                "usd": _usd(event, rates[1]),
            }
        case VerdictText(number, text):
            return "verdict_text", {"round": number, "text": text}
        case VerdictRestarted(number):
            return "verdict_restart", {"round": number}
        case VerdictEnded():
            return "verdict", {
                "round": event.round,
                "verdict": None if event.verdict is None else event.verdict.model_dump(),
                "error": event.error,
                "seconds": round(event.seconds, 3),
                "tokens": event.tokens,
                "stopped": event.stopped,
                "usd": _usd(event, rates[1]),
                "origin": event.origin.to_json(),
            }
        case WaltzEnded():
            return "end", {"seconds": round(event.seconds, 3), "stopped": event.stopped}
    return None


def _usd(event: ReplyEnded | DraftJudged | VerdictEnded, rate: BillingRate | None) -> float | None:
    if rate is None:
        return None
    usd = rate.usd(event.seconds, event.prompt_tokens, event.tokens)
    return None if usd is None else round(usd, 9)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def merge_pieces(records: Iterable[Record]) -> list[Record]:
    """The same records, with adjacent pieces of one text merged."""
    out: list[Record] = []
    for kind, data in records:
        if kind in STREAMED and out and out[-1][0] == kind and out[-1][1]["round"] == data["round"]:
            out[-1] = kind, {**data, "text": out[-1][1]["text"] + data["text"]}
        else:
            out.append((kind, data))
    return out


def replay(records: Iterable[Record], turns: list[Turn] | None = None) -> list[Turn]:
    """The turns of `records`, appended to `turns` if there are any."""
    turns = [] if turns is None else turns
    for kind, data in records:
        if kind == PROMPT:
            again = bool(data.get("again"))
            turns.append(Turn(str(data.get("text", "")), str(data.get("pair", "")), again))
        elif turns:
            turns[-1].apply(kind, data)
    return turns


def history_messages(
    turns: Sequence[Turn], max_tokens: int, prompt: str = "", *, again: bool = False
) -> list[Message]:
    """The turns before the next prompt as chat messages: the latest that fit.

    Left out are turns without a standing reply, drafts, verdicts, a stopped turn whose prompt is
    asked again, and turns whose prompt was asked again with success.

    Args:
        max_tokens: All messages together (estimated).
        prompt: The next prompt.
        again: It is the last turn's prompt, asked again.
    """
    messages: list[Message] = []
    replaced = again
    for turn in reversed(turns):
        is_replaced = replaced
        replaced = turn.again and (is_replaced or bool(turn.reply))
        if is_replaced or not turn.reply or (turn.stopped and turn.prompt == prompt):
            continue
        max_tokens -= estimate_tokens(turn.prompt) + estimate_tokens(turn.reply)
        if max_tokens < 0:
            break
        messages += [
            {"role": "assistant", "content": turn.reply},
            {"role": "user", "content": turn.prompt},
        ]
    return messages[::-1]
