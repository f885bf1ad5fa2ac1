"""What is evaluated: pairs, and the paper's baselines made from their parts (table 1)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.endpoints.base import Delta
from waltzrl_tui.errors import UsageError
from waltzrl_tui.evaluation.judges import Judge, labels_of
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.store import PairRow
from waltzrl_tui.text import one_line

SubjectKind = Literal["pair", "alone", "safeguard", "oracle"]

REFUSAL: Final = "I can't help with that request."
"""Replaces a reply that a safeguard flags."""

BASE: Final = "base"
"""The name of the built-in untrained pair (`local.live.BASE_PAIR`)."""

ALONE: Final = "base alone"
SAFEGUARD: Final = "base + safeguard"
UNTRAINED: Final = "untrained collaboration"
ORACLE: Final = "oracle feedback"


class Subject(BaseModel):
    """One system under evaluation.

    Attributes:
        name: Shown in reports.
        kind: `pair` waltzes; `alone` has no feedback; in `safeguard` the feedback agent only looks
            for unsafe replies, which are replaced by a refusal; `oracle` gets its verdicts from
            the judge's labels, without a feedback agent.
        conversation, feedback: Names of agents; "" for no feedback agent.
        rounds: At most this many revisions.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    kind: SubjectKind = "pair"
    conversation: str
    feedback: str = ""
    rounds: int = 1

    @property
    def agents(self) -> tuple[str, ...]:
        return (self.conversation, self.feedback) if self.feedback else (self.conversation,)


def subject_of(pair: PairRow) -> Subject:
    """The pair as a subject."""
    return Subject(
        name=pair.name,
        conversation=pair.conversation,
        feedback=pair.feedback,
        rounds=pair.rounds,
    )


def baselines(pair: PairRow, base: PairRow, safeguard: str = "") -> list[Subject]:
    """The paper's baselines and the pair itself, in the order of its table.

    Args:
        base: The untrained pair.
        safeguard: The agent that looks for unsafe replies; "": the pair's feedback agent.

    Raises:
        UsageError: An agent that a baseline needs is missing.
    """
    guard = safeguard or pair.feedback
    if not base.feedback:
        raise UsageError(
            f"The pair {one_line(base.name)} has no feedback agent, so it cannot be the untrained "
            "collaboration.",
            hint="Name an untrained pair with both agents: --base PAIR.",
        )
    if not guard:
        raise UsageError(
            f"The pair {one_line(pair.name)} has no feedback agent to be the safeguard.",
            hint="Name an agent that judges replies: --safeguard AGENT.",
        )
    talk, rounds = base.conversation, max(1, pair.rounds)
    return [
        Subject(name=ALONE, kind="alone", conversation=talk, rounds=0),
        Subject(name=SAFEGUARD, kind="safeguard", conversation=talk, feedback=guard, rounds=0),
        Subject(name=UNTRAINED, conversation=talk, feedback=base.feedback, rounds=rounds),
        Subject(name=ORACLE, kind="oracle", conversation=talk, rounds=rounds),
        subject_of(pair),
    ]


class OracleFeedback:
    """A feedback agent that is always right: its flags are the judge's labels of the reply.

    The feedback is empty, so the waltz uses its template for the flag. Set `reply` before each
    call: the messages contain the reply only inside a prompt.
    """

    def __init__(self, row: Row, judge: Judge) -> None:
        self._row = row
        self._judge = judge
        self.reply = ""

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        labels = labels_of(await self._judge.opinion(self._row, self.reply), self._row.harm)
        flags = {"unsafe": labels and labels.unsafe, "overrefuse": labels and labels.overrefused}
        verdict = Verdict.of(*filter(flags.get, flags), reasoning="the judge's label")
        yield Delta(json.dumps(verdict.model_dump()), 0, 0)
