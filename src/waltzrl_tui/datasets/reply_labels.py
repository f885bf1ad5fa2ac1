"""A dataset's own labels of its replies, which override the refusal detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.datasets.reading.rows import plain_name, truth_of
from waltzrl_tui.records.labels import ReplyLabel

# Field → whether true, or one of these words, means that the reply declines.
_REFUSALS: Final[dict[str, bool]] = {
    "jailbroken": False,  # JailbreakBench's artifacts: the judge's verdict on the reply
    "finallabel": True,  # XSTest's completions: 1_full_compliance, 2_full_refusal, 3_partial_…
    "responserefusallabel": True,  # WildGuardMix: refusal, compliance
    "isrefusal": True,
    "refusal": True,
    "refused": True,
}
_DECLINES: Final = ("refus", "declin")
_COMPLIES: Final = ("complian", "complie", "answer")

REPLY_FIELDS: Final[dict[str, ReplyLabel]] = {
    "response_harm_label": "unsafe",  # WildGuardMix
    "is_response_safe": "safe",
    "is_safe": "safe",  # BeaverTails, PKU
    "safe": "safe",
    "is_unsafe": "unsafe",
    "unsafe": "unsafe",
    "desirable": "good",
    "is_desirable": "good",
    "kto_tag": "good",
}
"""Field names of labels of replies, best first, with the meaning of true."""

KTO_REPLY: Final = "completion"
KTO_LABEL: Final = "label"
"""TRL's unpaired preferences: a true `label` beside a `completion` means that people prefer it."""

_MEANINGS: Final[dict[str, ReplyLabel]] = {
    **{plain_name(name): meaning for name, meaning in REPLY_FIELDS.items()},
    KTO_LABEL: "good",
}
_OPPOSITE: Final[dict[ReplyLabel, ReplyLabel]] = {
    "safe": "unsafe",
    "unsafe": "safe",
    "good": "bad",
    "bad": "good",
}
_WORDS: Final[dict[str, ReplyLabel]] = {
    "safe": "safe",
    "harmless": "safe",
    "unharmful": "safe",
    "unsafe": "unsafe",
    "harmful": "unsafe",
    "good": "good",
    "desirable": "good",
    "chosen": "good",
    "bad": "bad",
    "undesirable": "bad",
    "rejected": "bad",
}


def names_safety(field_name: str) -> bool:
    """Whether the field's name is that of a label of a reply's safety."""
    return _MEANINGS.get(plain_name(field_name), "") in ("safe", "unsafe")


def reply_label_of(field_name: str, value: object) -> ReplyLabel:
    """The label of the reply by `value` of the field `field_name`; "" when it is not known."""
    truth = truth_of(value)
    if truth is None:
        return _WORDS.get(plain_name(value), "") if isinstance(value, str) else ""
    meaning = _MEANINGS.get(plain_name(field_name), "")
    return meaning if truth or not meaning else _OPPOSITE[meaning]


def labelled_refusal(fields: Mapping[str, Any]) -> bool | None:
    """Whether the dataset labels the reply as a refusal; None without such a label.

    Args:
        fields: The row's fields beside prompt, reply, harm and category.
    """
    if not fields:
        return None
    values = {plain_name(name): value for name, value in fields.items()}
    for name, meaning in _REFUSALS.items():
        value = values.get(name)
        if isinstance(value, str):
            word = value.casefold()
            if word in ("true", "false"):
                value = word == "true"
            elif any(part in word for part in _DECLINES):
                return True
            elif any(part in word for part in _COMPLIES):
                return False
        if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
            return bool(value) is meaning
    return None
