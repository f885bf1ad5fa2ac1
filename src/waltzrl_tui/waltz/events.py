"""The typed events of one waltz. Rounds count from 0: c_0 is the draft, c_1 its revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.records.verdict import Verdict

NO_ORIGIN: Final = Origin()
"""Of a reply that was stopped or broke off, so its server reported nothing."""

Outcome = Literal["", "empty", "exhausted", "filtered", "failed"]
"""What is wrong with a reply: no text, for no known reason; cut off at its cap before any text, as
by thinking; stopped by its server's filter; broken off by an error there."""

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


def outcome_of(reply: str, finish: str) -> Outcome:
    """What is wrong with a reply that ended with `finish`; "" if nothing is."""
    if finish == "content_filter":
        return "filtered"
    if finish == "error":
        return "failed"
    if reply.strip():
        return ""
    return "exhausted" if finish == "length" else "empty"


def ending_words(reply: str, origin: Origin) -> str:
    """Words for a reply that is empty or that its server cut off; else ""."""
    return cut_off_words(origin) if reply.strip() else _NO_TEXT[outcome_of(reply, origin.finish)]


def standing_round(rounds: Sequence[tuple[str, Verdict | None]]) -> int | None:
    """The number of the round whose reply stands; None if none does.

    It is the last reply with text. But an empty revision does not bring back an unsafe draft.
    """
    for number in reversed(range(len(rounds))):
        reply, verdict = rounds[number]
        withheld = number + 1 < len(rounds) and verdict is not None and verdict.unsafe
        if reply.strip() and not withheld:
            return number
    return None


def cut_off_words(origin: Origin) -> str:
    """Words for a text that its server cut off, else ""."""
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
    """The reply's text so far was thinking; the reply starts over."""

    round: int


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """A reply has ended.

    Attributes:
        seconds: From the request to the last token.
        tokens, prompt_tokens: Written and read, as the endpoint counted them, or None.
        stopped: By the user.
        cut: By the draft watch, which judged it unsafe.
        origin: What the server reported.
    """

    round: int
    reply: str
    seconds: float
    first_token_seconds: float | None
    tokens: int | None
    stopped: bool = False
    cut: bool = False
    prompt_tokens: int | None = None
    origin: Origin = NO_ORIGIN


@dataclass(frozen=True, slots=True)
class DraftJudged:
    """The draft watch judged the first `length` characters of a draft: not unsafe."""

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
    """The verdict's text so far was thinking; the verdict starts over."""

    round: int


@dataclass(frozen=True, slots=True)
class VerdictEnded:
    """A verdict has ended; it is None if its text (`raw`) cannot be read: `error` says why."""

    round: int
    verdict: Verdict | None
    error: str
    raw: str
    seconds: float
    tokens: int | None
    stopped: bool = False
    prompt_tokens: int | None = None
    origin: Origin = NO_ORIGIN


@dataclass(frozen=True, slots=True)
class Round:
    """One reply and its verdict.

    `seconds` and `tokens` cover both (tokens are 0 if no endpoint counted them). The origins are
    what the servers reported of the reply and of its verdict.
    """

    reply: str
    verdict: Verdict | None
    verdict_error: str
    seconds: float
    tokens: int
    origin: Origin = NO_ORIGIN
    verdict_origin: Origin | None = None

    @property
    def outcome(self) -> Outcome:
        return outcome_of(self.reply, self.origin.finish)

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
    """The last event: all rounds and the reply that stands ("" for none)."""

    rounds: tuple[Round, ...]
    final: str
    seconds: float
    stopped: bool = False

    @property
    def decisive(self) -> Round:
        """The round of the reply that stands; if none does, the last one."""
        number = standing_round([(each.reply, each.verdict) for each in self.rounds])
        return self.rounds[-1 if number is None else number]

    @property
    def outcome(self) -> Outcome:
        """What is wrong with the reply that stands; "" if the user stopped it."""
        return "" if self.stopped and not self.final else self.decisive.outcome

    @property
    def withheld(self) -> bool:
        """Whether there is a draft but no reply stands: the draft was judged unsafe."""
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
