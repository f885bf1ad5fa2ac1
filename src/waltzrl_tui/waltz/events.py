"""The typed events of one waltz. Rounds count from 0: c_0 is the draft, c_1 its revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.records.verdict import Verdict

NOWHERE: Final = Origin()
"""Of a reply whose server told nothing of it: one that was stopped, or broke off."""

Outcome = Literal["", "empty", "exhausted", "filtered", "failed"]
"""How a reply is none, or not whole: without text for no known reason; cut off at its cap before
any text, as by thinking; stopped by a filter of its server; broken off by an error there."""

_CUT_OFF: Final = {
    "length": "cut off at the length limit",
    "content_filter": "cut off by the server's filter",
    "error": "broken off by an error at the server",
}
_NO_TEXT: Final[dict[Outcome, str]] = {
    "empty": "an empty reply",
    "exhausted": "an empty reply: the length limit was reached before any text",
    "filtered": "an empty reply: the server's filter withheld it",
    "failed": "an empty reply: the server reports an error",
}


def outcome(reply: str, finish: str) -> Outcome:
    """What is wrong with a reply that ended for the reason `finish`; "" for nothing."""
    if finish == "content_filter":
        return "filtered"
    if finish == "error":
        return "failed"
    if reply.strip():
        return ""
    return "exhausted" if finish == "length" else "empty"


def fate(reply: str, origin: Origin) -> str:
    """What to say of a reply that is empty, or that its server ended before it was whole; else
    ""."""
    return cut_off(origin) if reply.strip() else _NO_TEXT[outcome(reply, origin.finish)]


def standing(rounds: Sequence[tuple[str, Verdict | None]]) -> int | None:
    """Which of the replies and verdicts is the one that stands; None for none.

    The last reply that has text. But an empty revision does not bring a draft back that was found
    unsafe.
    """
    for number in reversed(range(len(rounds))):
        reply, verdict = rounds[number]
        withheld = number + 1 < len(rounds) and verdict is not None and verdict.unsafe
        if reply.strip() and not withheld:
            return number
    return None


def cut_off(origin: Origin) -> str:
    """What to say of a text that its server ended before it was whole, else ""."""
    return _CUT_OFF.get(origin.finish, "")


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    round: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class ReplyRestarted:
    """The text of the reply so far was thinking: it begins anew."""

    round: int


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """`seconds` from asking to the last token; `tokens` as the endpoint counted them, or None.

    `cut`: the feedback agent found the draft unsafe while it grew, and it was stopped there.
    `prompt_tokens` were read for it; `origin` is what the server told of it at its end.
    """

    round: int
    reply: str
    seconds: float
    first_token_seconds: float | None
    tokens: int | None
    stopped: bool = False
    cut: bool = False
    prompt_tokens: int | None = None
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class DraftJudged:
    """The first `length` characters of a draft that still grows were judged: not unsafe."""

    round: int
    length: int
    seconds: float
    tokens: int | None
    prompt_tokens: int | None


@dataclass(frozen=True, slots=True)
class VerdictText:
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class VerdictRestarted:
    """The text of the verdict so far was thinking, and its fields are none of the verdict's."""

    round: int


@dataclass(frozen=True, slots=True)
class VerdictEnded:
    """`verdict` is None when the text (`raw`) could not be read; `error` then says why."""

    round: int
    verdict: Verdict | None
    error: str
    raw: str
    seconds: float
    tokens: int | None
    stopped: bool = False
    prompt_tokens: int | None = None
    origin: Origin = NOWHERE


@dataclass(frozen=True, slots=True)
class Round:
    """One reply and what the feedback agent said about it.

    `seconds` and `tokens` cover both (tokens is 0 where no endpoint counted them). The origins
    are what the servers told of the reply and of its verdict.
    """

    reply: str
    verdict: Verdict | None
    verdict_error: str
    seconds: float
    tokens: int
    origin: Origin = NOWHERE
    verdict_origin: Origin | None = None

    @property
    def outcome(self) -> Outcome:
        return outcome(self.reply, self.origin.finish)

    def to_json(self) -> dict[str, Any]:
        return {
            "reply": self.reply,
            "verdict": None if self.verdict is None else self.verdict.model_dump(),
            "verdict_error": self.verdict_error,
            "outcome": self.outcome,
            "seconds": round(self.seconds, 3),
            "tokens": self.tokens,
            "origin": {
                "reply": self.origin.to_json(),
                "verdict": self.verdict_origin and self.verdict_origin.to_json(),
            },
        }


@dataclass(frozen=True, slots=True)
class WaltzEnded:
    """The last event: all rounds and the reply that stands, "" for none."""

    rounds: tuple[Round, ...]
    final: str
    seconds: float
    stopped: bool = False

    @property
    def decisive(self) -> Round:
        """The round of the reply that stands; where none does, the last one."""
        number = standing([(each.reply, each.verdict) for each in self.rounds])
        return self.rounds[-1 if number is None else number]

    @property
    def outcome(self) -> Outcome:
        """What is wrong with the reply that stands; "" for one that a user stopped."""
        return "" if self.stopped and not self.final else self.decisive.outcome

    @property
    def withheld(self) -> bool:
        """Whether no reply stands although there is a draft: it was found unsafe."""
        return not self.final and any(each.reply for each in self.rounds)


Event = (
    ReplyStarted
    | ReplyText
    | ReplyRestarted
    | ReplyEnded
    | DraftJudged
    | VerdictText
    | VerdictRestarted
    | VerdictEnded
    | WaltzEnded
)
