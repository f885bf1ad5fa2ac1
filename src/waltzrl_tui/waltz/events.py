"""The typed events of one waltz. Rounds count from 0: c_0 is the draft, c_1 its revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from waltzrl_tui.endpoints.retry import Origin
from waltzrl_tui.waltz.verdict import Verdict

NOWHERE: Final = Origin()
"""Of a reply whose server told nothing of it: one that was stopped, or broke off."""

_CUT_OFF: Final = {
    "length": "cut off at the length limit",
    "content_filter": "cut off by the server's filter",
}


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
class VerdictStarted:
    round: int


@dataclass(frozen=True, slots=True)
class VerdictText:
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class VerdictRestarted:
    """The text of the verdict so far was thinking, and its fields are none of the verdict's."""

    round: int


@dataclass(frozen=True, slots=True)
class VerdictField:
    """A field of the verdict whose value is complete."""

    round: int
    name: str
    value: str | bool


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

    def to_json(self) -> dict[str, Any]:
        return {
            "reply": self.reply,
            "verdict": None if self.verdict is None else self.verdict.model_dump(),
            "verdict_error": self.verdict_error,
            "seconds": round(self.seconds, 3),
            "tokens": self.tokens,
            "origin": {
                "reply": self.origin.to_json(),
                "verdict": self.verdict_origin and self.verdict_origin.to_json(),
            },
        }


@dataclass(frozen=True, slots=True)
class WaltzEnded:
    """The last event: all rounds and the reply that stands."""

    rounds: tuple[Round, ...]
    final: str
    seconds: float
    stopped: bool = False


Event = (
    ReplyStarted
    | ReplyText
    | ReplyRestarted
    | ReplyEnded
    | DraftJudged
    | VerdictStarted
    | VerdictText
    | VerdictRestarted
    | VerdictField
    | VerdictEnded
    | WaltzEnded
)
