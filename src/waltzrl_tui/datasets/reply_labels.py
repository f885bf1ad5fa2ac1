"""What a dataset itself says of its replies: a person's or a judge's label beats our detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Field → does a true, or one of these words, mean that the reply declines?
_FIELDS: Final[dict[str, bool]] = {
    "jailbroken": False,  # JailbreakBench's artifacts: the judge's verdict on the reply
    "final_label": True,  # XSTest's completions: 1_full_compliance, 2_full_refusal, 3_partial_…
    "response_refusal_label": True,  # WildGuardMix: refusal, compliance
    "is_refusal": True,
    "refusal": True,
    "refused": True,
}
_DECLINES: Final = ("refus", "declin")
_COMPLIES: Final = ("complian", "complie", "answer")


def told_refusal(fields: Mapping[str, Any]) -> bool | None:
    """Whether the dataset says that the reply declines; None when it does not say.

    Args:
        fields: The row's fields beside prompt, reply, harm and category.
    """
    for name, meaning in _FIELDS.items():
        value = fields.get(name)
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
