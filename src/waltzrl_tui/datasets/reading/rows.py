"""A dataset row, and the mapping from a file's fields to it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from collections.abc import Mapping as AbcMapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, cast, get_args

from waltzrl_tui.records.labels import Harm, ReplyLabel

BadKind = Literal["encoding", "empty_reply", ""]
Shape = Literal["rows", "messages", "pairs", "instruction", "waltzrl", "prompts", "unknown"]

_CONSTANT = "="
_ALTERNATIVE = "|"
_VERSION = 2
"""Of the JSON document of a mapping. Documents without a version hold the text forms only."""

FIELD_PARTS = ("prompt", "reply", "harm", "category", "context", "reply_label")
"""The parts of a mapping that name fields."""
PARTS = (*FIELD_PARTS, "harmful")
"""All parts of a mapping."""

_HARMFUL = """harmful unsafe toxic malicious adversarial jailbreak dangerous harm hazardous
    vanilla_harmful adversarial_harmful not_safe"""
_BENIGN = """benign safe harmless unharmful ok borderline vanilla_benign adversarial_benign
    overrefuse overrefusal not_harmful non_harmful"""
# XSTest's types are labels as well: each contrast is the unsafe counterpart of a safe prompt.
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
# Files without types (CSV) write flags as words.
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
"""Field names of labels of harm, best first, with the meaning of true ("": it has none)."""
_TRUE_MEANS = {plain_name(name): meaning for name, meaning in HARM_FIELDS.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """One usable example.

    Attributes:
        line: The number of its record in the file, from 1; in a JSONL file its line.
        reply: Empty when the dataset has no replies.
        harm: The dataset's label of the *prompt*; empty without one.
        extra: Every other field of the record, unchanged, including other labels of the *reply*
            (`jailbroken`, `final_label`).
        reply_label: The label of the *reply* from the field that the mapping names: its safety,
            or whether people prefer it (KTO); empty without one.
        label: The value that `harm` was read from, as text, understood or not.
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
        """The turns before the prompt, each with `role` and `content`.

        They come from the fields `system` and `history`, a list of turns or of pairs of prompt
        and reply.
        """
        turns: list[dict[str, str]] = []
        match self.extra.get("system"):
            case str(system) if system.strip():
                turns.append({"role": "system", "content": system})
            case [{"text": str(system)}]:
                turns.append({"role": "system", "content": system})
        history = self.extra.get("history")
        if not isinstance(history, list):
            return tuple(turns)
        before = len(turns)
        for each in history:
            match each:
                case {"role": str(role), "content": str(content)}:
                    turns.append({"role": role, "content": content})
                case [str(prompt), str(reply)]:
                    turns.append({"role": "user", "content": prompt})
                    turns.append({"role": "assistant", "content": reply})
                case _:
                    return tuple(turns[:before])  # The field of that name is not a chat.
        return tuple(turns)

    def to_json(self) -> dict[str, Any]:
        """The row in the project's own shape (`prompt, harm, category, reply`)."""
        document = {"prompt": self.prompt, "harm": self.harm, "category": self.category}
        return {**document, "reply": self.reply} if self.reply else document


@dataclass(frozen=True, slots=True)
class BadRow:
    """A record that gives no row, and the reason.

    Attributes:
        kind: `encoding` where its bytes are not UTF-8; `empty_reply` where it has a reply field
            without text; "" for any other reason.
    """

    line: int
    reason: str
    kind: BadKind = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Which field of a record is what; an empty name means that the file has no such field.

    Each part also has a text form, for `--map` and for JSON documents (`text`, `from_text`):
    `a|b` for alternatives, and a constant behind `=` (`=harmful`).

    Attributes:
        shape: The family of layout; `unknown` when no field looks like a prompt.
        prompts: The fields of the prompt, or of the list of turns for `messages`: the first that
            is not empty counts.
        harm: The field of the prompt's label. `every_harm`: the label of all rows instead.
        category: The field of the category. `every_category`: the category of all rows instead.
        context: A second field that follows the prompt when it is not empty (`instruction`).
        harmful: The values of the harm field that mean harmful; none where the field's name and
            its values are clear by themselves.
        reply_label: The field that says whether the reply is safe, or whether people prefer it.
    """

    shape: Shape
    prompts: tuple[str, ...] = ()
    reply: str = ""
    harm: str = ""
    every_harm: Harm = ""
    category: str = ""
    every_category: str = ""
    context: str = ""
    harmful: tuple[str, ...] = ()
    reply_label: str = ""

    @property
    def fields(self) -> frozenset[str]:
        """All fields of the file that are read by their own names."""
        named = (*self.prompts, self.reply, self.harm, self.category, self.context)
        return frozenset(name for name in named if name)

    def text(self, part: str) -> str:
        """The text form of one of the `PARTS`; "" where the part is empty."""
        match part:
            case "prompt":
                return _ALTERNATIVE.join(self.prompts)
            case "harmful":
                return _ALTERNATIVE.join(self.harmful)
            case "harm" if self.every_harm:
                return _CONSTANT + self.every_harm
            case "category" if self.every_category:
                return _CONSTANT + self.every_category
            case _:
                return str(getattr(self, part))

    @classmethod
    def from_text(
        cls, shape: Shape, parts: AbcMapping[str, str], fields: Collection[str] = ()
    ) -> Mapping:
        """The mapping whose parts have these text forms.

        Args:
            fields: The file's fields: a text that is the name of one of them is that field,
                whatever characters it holds.
        """

        def names(part: str) -> tuple[str, ...]:
            text = parts.get(part, "")
            return () if not text else (text,) if text in fields else split_alternatives(text)

        def constant(part: str) -> str:
            text = parts.get(part, "")
            return text[1:] if is_constant(text) and text not in fields else ""

        def field(part: str) -> str:
            return "" if constant(part) else parts.get(part, "")

        return cls(
            shape=shape,
            prompts=names("prompt"),
            reply=field("reply"),
            harm=field("harm"),
            every_harm=harm_of("harm", constant("harm")),
            category=field("category"),
            every_category=constant("category"),
            context=field("context"),
            harmful=split_alternatives(parts.get("harmful", "")),
            reply_label=field("reply_label"),
        )

    def to_json(self) -> dict[str, Any]:
        """The document that is stored and shown by `--json`.

        Version 1 held the text forms; they stay for its readers. Where a text form is ambiguous,
        the keys that version 2 added decide.
        """
        return {
            "shape": self.shape,
            **{part: self.text(part) for part in PARTS},
            "version": _VERSION,
            "prompts": list(self.prompts),
            "harmful_values": list(self.harmful),
            "constants": {"harm": self.every_harm, "category": self.every_category},
        }

    @classmethod
    def from_json(cls, document: AbcMapping[str, Any]) -> Mapping | None:
        """The mapping of a document of any version; None where it is not one."""
        shape = document.get("shape")
        parts = {part: document.get(part, "") for part in PARTS}
        if shape not in get_args(Shape) or not all(
            isinstance(text, str) for text in parts.values()
        ):
            return None
        mapping = cls.from_text(cast("Shape", shape), parts)
        if document.get("version", 1) == 1:
            return mapping
        try:
            constants = document["constants"]
            return replace(
                mapping,
                prompts=tuple(map(str, document["prompts"])),
                harmful=tuple(map(str, document["harmful_values"])),
                harm="" if constants["harm"] else parts["harm"],
                every_harm=harm_of("harm", constants["harm"]),
                category="" if constants["category"] else parts["category"],
                every_category=str(constants["category"]),
            )
        except (KeyError, TypeError):
            return None


def is_constant(text: str) -> bool:
    """Whether the text form of a part is a constant for every row."""
    return len(text) > 1 and text.startswith(_CONSTANT)


def split_alternatives(text: str) -> tuple[str, ...]:
    """The names or values in a text form, in their order."""
    return tuple(text.split(_ALTERNATIVE)) if text else ()


def harm_of(field_name: str, value: object, harmful: Sequence[str] = ()) -> Harm:
    """The label of the prompt by `value` of the field `field_name`; "" when it is not known.

    Args:
        harmful: As `Mapping.harmful`. The other one of true and false is then benign; so are all
            others of any other values.
    """
    truth = truth_of(value)
    if harmful:
        truths = {truth_of(each) for each in harmful}
        if None not in truths:
            return "" if truth is None else "harmful" if truth in truths else "benign"
        words = {each.strip().casefold() for each in harmful}
        text = label_text(value).casefold()
        return "" if not text else "harmful" if text in words else "benign"
    if truth is None:
        return _HARM_VALUES.get(plain_name(value), "") if isinstance(value, str) else ""
    meaning = _TRUE_MEANS.get(plain_name(field_name), "")
    if truth or not meaning:
        return meaning
    return "benign" if meaning == "harmful" else "harmful"


def truth_of(value: object) -> bool | None:
    """The flag that a value is, also as a word or a digit; None for any other value."""
    if isinstance(value, str):
        return _TRUTH.get(value.strip().casefold())
    return bool(value) if isinstance(value, (bool, int, float)) and value in (0, 1) else None


def label_text(value: object) -> str:
    """The text of a label, for display and comparison."""
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
