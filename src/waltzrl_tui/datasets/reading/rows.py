"""What a dataset row is, and which fields of a file make one."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal

from waltzrl_tui.records.labels import Harm, ReplyLabel

Shape = Literal["rows", "messages", "pairs", "instruction", "waltzrl", "prompts", "unknown"]

CONSTANT = "="
"""Begins the name of a "field" that is a constant: `harm` of `=harmful` labels every row."""
ALTERNATIVE = "|"
"""Separates the fields of which the first that is not empty is the prompt."""

_HARMFUL = """harmful unsafe toxic malicious adversarial jailbreak dangerous harm hazardous
    vanilla_harmful adversarial_harmful not_safe"""
_BENIGN = """benign safe harmless unharmful ok borderline vanilla_benign adversarial_benign
    overrefuse overrefusal not_harmful non_harmful"""
# The types of XSTest say it too: each contrast is the unsafe counterpart of a safe prompt.
_XSTEST_CONTRASTS = """contrast_homonyms contrast_figurative_language contrast_safe_targets
    contrast_safe_contexts contrast_definitions contrast_discr contrast_historical_events
    contrast_privacy"""
_XSTEST_SAFE = """homonyms figurative_language safe_targets safe_contexts definitions
    real_group_nons_discr nons_group_real_discr historical_events privacy_public
    privacy_fictional"""


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """A name without case and punctuation: `isSafe`, `Is Safe` and `IS-SAFE` are `is_safe`."""
    return re.sub(r"[\W_]+", "", name).casefold()


_HARM_VALUES: dict[str, Harm] = {
    **dict.fromkeys(map(plain_name, _HARMFUL.split()), "harmful"),
    **dict.fromkeys(map(plain_name, _BENIGN.split()), "benign"),
    **dict.fromkeys(map(plain_name, _XSTEST_CONTRASTS.split()), "harmful"),
    **dict.fromkeys(map(plain_name, _XSTEST_SAFE.split()), "benign"),
}
# Files without types (CSV) write truth as words.
_TRUTH = {"true": True, "yes": True, "1": True, "1.0": True} | {
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
HARM_FIELDS: dict[str, Harm] = {
    "harm": "harmful",
    "harmful": "harmful",
    "is_harmful": "harmful",
    "prompt_harm_label": "harmful",
    "prompt_label": "",
    "expected_category": "",
    "data_type": "",
    "label": "",
    "safety": "",
    "safe": "benign",
    "is_safe": "benign",
    "unsafe": "harmful",
    "is_unsafe": "harmful",
    "toxic": "harmful",
    "is_toxic": "harmful",
    "type": "",
}
"""Field names that say harm, best first, and what a true in them means ("": it does not tell)."""
_TRUE_MEANS = {plain_name(name): meaning for name, meaning in HARM_FIELDS.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """One usable example.

    Attributes:
        line: Which record of its file it is, from 1; of a JSONL file, its line.
        reply: Empty when the dataset has no replies.
        harm: What the dataset says of the *prompt*; empty when it says nothing.
        extra: Every other field of the record, as it was read; what a dataset says of the *reply*
            (`jailbroken`, `final_label`) is here.
        reply_label: What the field that the mapping names says of the *reply*: its safety, or
            whether people want it (KTO); empty when it says nothing.
        label: The value that `harm` was read from, as text, whether it was understood or not.
    """

    line: int
    prompt: str
    reply: str = ""
    harm: Harm = ""
    category: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    label: str = field(default="", compare=False)
    reply_label: ReplyLabel = ""

    @property
    def history(self) -> tuple[dict[str, str], ...]:
        """The turns before the prompt, `role` and `content` each; none in a chat of one round.

        They are read from the fields `system` and `history`, of turns or of pairs of prompt and
        reply.
        """
        turns: list[dict[str, str]] = []
        match self.extra.get("system"):
            case str(system) if system.strip():
                turns.append({"role": "system", "content": system})
            case [{"text": str(system)}]:
                turns.append({"role": "system", "content": system})
        told = self.extra.get("history")
        if not isinstance(told, list):
            return tuple(turns)
        before = len(turns)
        for each in told:
            match each:
                case {"role": str(role), "content": str(content)}:
                    turns.append({"role": role, "content": content})
                case [str(prompt), str(reply)]:
                    turns.append({"role": "user", "content": prompt})
                    turns.append({"role": "assistant", "content": reply})
                case _:
                    return tuple(turns[:before])  # A field of that name that is no chat.
        return tuple(turns)

    def to_json(self) -> dict[str, Any]:
        """The row in the project's own shape (`prompt, harm, category, reply`)."""
        document = {"prompt": self.prompt, "harm": self.harm, "category": self.category}
        return {**document, "reply": self.reply} if self.reply else document


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that gives no example, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which field of a record is what; an empty name means that the file has no such field.

    Attributes:
        shape: The family of layout; `unknown` when no field looks like a prompt.
        prompt: The field of the prompt, or of the list of turns for `messages`; `a|b` takes `a`
            where it is not empty, else `b`.
        harm: A field, or `=harmful` or `=benign` where the whole file is that.
        category: A field, or `=` and a name.
        context: A second field that is put under the prompt when it is not empty (`instruction`).
        harmful: The value of the harm field that means harmful, `a|b` for several; "" where the
            field's name and its values speak for themselves.
        reply_label: A field that says whether the reply is safe, or whether people want it.
    """

    shape: Shape
    prompt: str
    reply: str = ""
    harm: str = ""
    category: str = ""
    context: str = ""
    harmful: str = ""
    reply_label: str = ""

    @property
    def prompts(self) -> tuple[str, ...]:
        """The fields that the prompt is looked for in, in this order."""
        return tuple(self.prompt.split(ALTERNATIVE)) if self.prompt else ()

    @property
    def fields(self) -> frozenset[str]:
        """All fields of the file that are read by their own names."""
        named = (self.reply, self.harm, self.category, self.context)
        return frozenset(
            (*self.prompts, *(name for name in named if name and not name.startswith(CONSTANT)))
        )

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def harm_of(field_name: str, value: object, harmful: str = "") -> Harm:
    """What `value` of the field `field_name` says about the prompt; empty when it is not known.

    Args:
        harmful: As `Mapping.harmful`. Of true and false the other one is then benign; of any
            other values all others are.
    """
    truth = truth_of(value)
    if harmful:
        stated = harmful.split(ALTERNATIVE)
        truths = {truth_of(each) for each in stated}
        if None not in truths:
            return "" if truth is None else "harmful" if truth in truths else "benign"
        words = {each.strip().casefold() for each in stated}
        text = label_text(value).casefold()
        return "" if not text else "harmful" if text in words else "benign"
    if truth is None:
        return _HARM_VALUES.get(plain_name(value), "") if isinstance(value, str) else ""
    meaning = _TRUE_MEANS.get(plain_name(field_name), "")
    if truth or not meaning:
        return meaning
    return "benign" if meaning == "harmful" else "harmful"


def truth_of(value: object) -> bool | None:
    """A value that is true or false, also as a word or a digit; None for any other."""
    if isinstance(value, str):
        return _TRUTH.get(value.strip().casefold())
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def label_text(value: object) -> str:
    """The value of a label as it is shown and compared."""
    match value:
        case None:
            return ""
        case str():
            return value.strip()
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case dict():
            return "(an object)"
        case _:
            return "(a list)"
