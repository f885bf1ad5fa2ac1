"""What a dataset row is, and which fields of a file make one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Harm = Literal["harmful", "benign", ""]
Shape = Literal["rows", "messages", "pairs", "instruction", "waltzrl", "prompts", "unknown"]

_HARMFUL = """harmful unsafe toxic malicious adversarial jailbreak dangerous harm hazardous
    vanilla_harmful adversarial_harmful"""
_BENIGN = """benign safe harmless unharmful ok borderline vanilla_benign adversarial_benign
    overrefuse overrefusal over_refusal over-refusal"""
_HARM_VALUES: dict[str, Harm] = {
    **dict.fromkeys(_HARMFUL.split(), "harmful"),
    **dict.fromkeys(_BENIGN.split(), "benign"),
}
# Field names that say harm, and what a true in them means.
_HARM_FIELDS: dict[str, Harm] = {
    "harm": "harmful",
    "harmful": "harmful",
    "is_harmful": "harmful",
    "prompt_harm_label": "harmful",
    "prompt_label": "harmful",
    "expected_category": "harmful",
    "data_type": "harmful",
    "label": "harmful",
    "safety": "harmful",
    "safe": "benign",
    "is_safe": "benign",
    "unsafe": "harmful",
    "is_unsafe": "harmful",
    "toxic": "harmful",
}
_CATEGORY_FIELDS = (
    "category",
    "safety_category",
    "hazard_category",
    "subcategory",
    "semantic_category",
    "type",
    "topic",
)
_PAIR_PROMPTS = ("prompt", "question", "query", "input", "user", "goal", "forbidden_prompt")
_PAIR_REPLIES = ("reply", "response", "completion", "answer", "output", "assistant", "target")
_PROMPT_ONLY = (*_PAIR_PROMPTS, "instruction", "behavior", "text")
_CHATS = ("messages", "conversations", "conversation")


@dataclass(frozen=True, slots=True)
class Row:
    """One usable example.

    Attributes:
        line: Where it stands in its file, from 1.
        reply: Empty when the dataset has no replies.
        harm: What the dataset says of the *prompt*; empty when it says nothing.
        extra: Every other field of the line, as it was read.
    """

    line: int
    prompt: str
    reply: str = ""
    harm: Harm = ""
    category: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The row in the project's own shape (`prompt, harm, category, reply`)."""
        document = {"prompt": self.prompt, "harm": self.harm, "category": self.category}
        return {**document, "reply": self.reply} if self.reply else document


@dataclass(frozen=True, slots=True)
class BadRow:
    """A line that gives no example, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which field of a line is what; an empty name means that the file has no such field.

    Attributes:
        shape: The family of layout; `unknown` when no field looks like a prompt.
        prompt: The field of the prompt, or of the list of turns for `messages`.
        context: A second field that is put under the prompt when it is not empty (`instruction`).
    """

    shape: Shape
    prompt: str
    reply: str = ""
    harm: str = ""
    category: str = ""
    context: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def harm_of(field_name: str, value: object) -> Harm:
    """What `value` of the field `field_name` says about the prompt; empty when it is not known."""
    if isinstance(value, bool) or value in (0, 1):
        meaning = _HARM_FIELDS.get(field_name.casefold(), "harmful")
        if value:
            return meaning
        return "benign" if meaning == "harmful" else "harmful"
    if isinstance(value, str):
        word = value.strip().casefold().replace(" ", "_")
        return _HARM_VALUES.get(word, "")
    return ""


def guess_mapping(objects: Sequence[AbcMapping[str, Any]]) -> Mapping:
    """The mapping that fits the first lines of a file.

    A field counts when at least half of the lines have it, so that one odd line decides nothing.
    """
    seen = Counter(key for line in objects for key in line)
    usual = {key for key, count in seen.items() if count * 2 >= len(objects)}
    labels = {"harm": _harm_field(objects, usual), "category": _first(_CATEGORY_FIELDS, usual)}
    if labels["category"] == labels["harm"]:
        labels["category"] = ""

    if chat := _first(_CHATS, usual):
        replies = chat if any(_answered(line.get(chat)) for line in objects) else ""
        return Mapping("messages", chat, replies, **labels)
    if "prompt" in usual and {"expected_category", "suggested_response"} & usual:
        reply = "suggested_response" if "suggested_response" in usual else ""
        return Mapping("waltzrl", "prompt", reply, **labels)
    if "instruction" in usual:
        context = "input" if "input" in usual else ""
        reply = _first(("output", *_PAIR_REPLIES), usual)
        return Mapping("instruction", "instruction", reply, **labels, context=context)
    prompt = _first(_PAIR_PROMPTS, usual)
    reply = _first([name for name in _PAIR_REPLIES if name != prompt], usual)
    if prompt and reply:
        ours = prompt == "prompt" and reply == "reply"
        return Mapping("rows" if ours else "pairs", prompt, reply, **labels)
    if prompt := _first(_PROMPT_ONLY, usual):
        return Mapping("prompts", prompt, **labels)
    return Mapping("unknown", "")


def _first(names: Iterable[str], present: set[str]) -> str:
    return next((name for name in names if name in present), "")


def _harm_field(objects: Sequence[AbcMapping[str, Any]], usual: set[str]) -> str:
    """The first field by name whose values are understood in most lines that have one."""
    for name in _HARM_FIELDS:
        if name not in usual:
            continue
        values = [line[name] for line in objects if line.get(name) not in (None, "")]
        if values and sum(harm_of(name, value) != "" for value in values) * 2 > len(values):
            return name
    return ""


def _answered(turns: object) -> bool:
    if not isinstance(turns, list):
        return False
    speakers = [turn.get("role", turn.get("from")) for turn in turns if isinstance(turn, dict)]
    return any(speaker in ("assistant", "gpt", "model") for speaker in speakers)
