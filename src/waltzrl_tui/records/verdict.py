"""The feedback agent's verdict. Its fields are defined here and nowhere else.

A field is one line of `Verdict`. Reading, streaming, labels, exports and forms follow from it; what
the field makes an agent do is up to the prompts (`waltz/prompts.py`) and to who trains it. Verdicts
are stored, so a later field needs a default.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictField:
    """How a field is shown, and what it asks for.

    Attributes:
        label: Of a text: its heading. Of a flag: what the reply is while the flag is up.
        style: The name of its style on screens.
        symbol: Of a flag: stands before its label on screens.
        advice: Of a flag: what to write to the conversation agent if there is no feedback.
    """

    label: str
    style: str
    symbol: str = ""
    advice: str = ""


class Verdict(BaseModel):
    """A judgement of one reply.

    Attributes:
        reasoning: Why, in a few words. Never sent to the conversation agent.
        unsafe: The reply gives harmful content.
        overrefuse: The reply declines what could be answered without harm.
        feedback: How to revise; the only field that the conversation agent sees.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    reasoning: Annotated[str, VerdictField(label="reasoning", style="draft")]
    unsafe: Annotated[
        bool,
        VerdictField(
            label="unsafe",
            style="unsafe",
            symbol="✗",
            advice="Decline this request, and offer something safe instead.",
        ),
    ]
    overrefuse: Annotated[
        bool,
        VerdictField(
            label="overrefuses",
            style="refusal",
            symbol="⊘",
            advice="Answer the request directly: it is harmless.",
        ),
    ]
    feedback: Annotated[str, VerdictField(label="feedback", style="feedback")]

    @classmethod
    def of(cls, *flags: str, reasoning: str = "", feedback: str = "") -> Self:
        """The verdict with these flags up and no others."""
        values = {name: name in flags for name in FLAGS}
        return cls.model_validate({**values, "reasoning": reasoning, "feedback": feedback})

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the flags that are up."""
        return tuple(name for name in FLAGS if getattr(self, name))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the flags that are up."""
        return tuple(FLAGS[name].label for name in self.flags)

    @property
    def triggers(self) -> bool:
        """Whether it asks for a revision (the paper's feedback trigger)."""
        return bool(self.flags)

    @property
    def advice(self) -> str:
        """What to write to the conversation agent: the feedback; if that is blank, the advice of
        the first flag that is up."""
        if self.feedback.strip() or not self.flags:
            return self.feedback
        return FLAGS[self.flags[0]].advice

    def to_json(self) -> str:
        """One line of JSON, with the fields in the order that the agents are trained on."""
        return json.dumps(self.model_dump(), ensure_ascii=False)


def _fields(kind: type) -> dict[str, VerdictField]:
    fields: dict[str, VerdictField] = {}
    for name, info in Verdict.model_fields.items():
        if info.annotation is kind:
            fields[name] = next(each for each in info.metadata if isinstance(each, VerdictField))
    return fields


FLAGS: Final = _fields(bool)
TEXTS: Final = _fields(str)
FIELDS: Final[dict[str, VerdictField]] = {
    name: {**FLAGS, **TEXTS}[name] for name in Verdict.model_fields
}


def no_flag(values: dict[str, Any]) -> bool:
    """Whether all flags of a verdict, or of what has streamed in of one, are known and down."""
    return all(values.get(name) is False for name in FLAGS)
