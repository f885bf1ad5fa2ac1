"""Find the mapping of a file: guess it from the first records, correct it, describe it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from waltzrl_tui.datasets.reading.parse import BadLine, reader_of
from waltzrl_tui.datasets.reading.rows import (
    FIELD_PARTS,
    HARM_FIELDS,
    PARTS,
    Mapping,
    Shape,
    harm_of,
    is_constant,
    label_text,
    plain_name,
    split_alternatives,
    truth_of,
)
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.datasets.reply_labels import (
    KTO_LABEL,
    KTO_REPLY,
    REPLY_FIELDS,
    reply_label_of,
)
from waltzrl_tui.errors import UsageError
from waltzrl_tui.text import one_line

Object = AbcMapping[str, Any]

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
CHATS = ("messages", "conversations", "conversation")
_ASSISTANTS = ("assistant", "gpt", "model")


def guess_mapping(objects: Sequence[Object]) -> Mapping:
    """The mapping that fits the first records of a file.

    A field counts when at least half of the records have it, so that an odd record has no
    effect. Names are compared without case and punctuation: `SemanticCategory` is
    `semantic_category`.
    """
    counts = Counter(key for record in objects for key in record)
    usual = _Names(key for key, count in counts.items() if count * 2 >= len(objects))
    mapping = _guessed(objects, usual)
    if mapping.reply and (field := _reply_label(objects, usual, mapping)):
        # A label of the reply is not a label of the prompt.
        mapping = replace(_guessed(objects, usual, apart=field), reply_label=field)
    return mapping


def _guessed(objects: Sequence[Object], usual: _Names, apart: str = "") -> Mapping:
    harm = _harm_field(objects, usual, apart)
    categories = [name for name in _CATEGORY_FIELDS if _categorises(objects, usual.name(name))]
    category = usual.first(categories)
    # A label of two values is harm only; one of many kinds (XSTest's types) is a category as well.
    if category == harm and len({str(record.get(harm)) for record in objects}) <= 2:
        category = usual.first(name for name in categories if usual.name(name) != harm)

    def build(shape: Shape, prompt: str, reply: str = "") -> Mapping:
        return Mapping(shape=shape, prompts=(prompt,), reply=reply, harm=harm, category=category)

    if chat := usual.first(CHATS):
        replies = chat if any(_answered(record.get(chat)) for record in objects) else ""
        return build("messages", chat, replies)
    if known := _known_set(usual, harm, category):
        return known
    prompt = usual.first(_PAIR_PROMPTS)
    if prompt == "prompt" and usual.first(("expected_category", "suggested_response")):
        return build("waltzrl", prompt, usual.name("suggested_response"))
    if instruction := usual.name("instruction"):
        reply = usual.first(("output", *_PAIR_REPLIES))
        context = usual.name("input")
        return replace(build("instruction", instruction, reply), context=context)
    reply = usual.first(name for name in _PAIR_REPLIES if usual.name(name) != prompt)
    if prompt and reply:
        ours = prompt == "prompt" and reply == "reply"
        return build("rows" if ours else "pairs", prompt, reply)
    if prompt := usual.first(_PROMPT_ONLY):
        return build("prompts", prompt)
    return Mapping(shape="unknown")


def _known_set(usual: _Names, harm: str, category: str) -> Mapping | None:
    """The public sets whose fields are not clear by themselves."""

    def build(
        prompts: Sequence[str], replies: Sequence[str], *, harmful: bool = False, context: str = ""
    ) -> Mapping:
        reply = usual.first(replies)
        return Mapping(
            shape="pairs" if reply else "prompts",
            prompts=tuple(map(usual.name, prompts)),
            reply=reply,
            harm=harm,
            every_harm="harmful" if harmful and not harm else "",
            category=category,
            context=usual.name(context),
        )

    if usual.name("forbidden_prompt") and not usual.name("prompt"):  # StrongREJECT
        return build(["forbidden_prompt"], ["response", "completion"], harmful=True)
    if usual.name("behavior") and usual.name("behavior_id"):  # HarmBench
        replies = ["generation", "completion", "response"]
        return build(["behavior"], replies, harmful=True, context="context_string")
    if usual.name("jailbroken") and usual.name("prompt"):  # JailbreakBench
        return build(["prompt"], ["response"], harmful=True)
    if usual.name("goal") and not usual.name("prompt"):
        # AdvBench and JailbreakBench: `target` is what an attack wants to hear, not a reply.
        return build(["goal"], ["response", "completion", "reply"])
    if usual.name("vanilla") and usual.name("adversarial"):
        # WildJailbreak: one of the two is empty in many rows.
        return build(["adversarial", "vanilla"], ["completion"])
    return None


class _Names:
    """The field names of a file, compared without case and punctuation."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        for name in names:
            self._names.setdefault(name, name)
            self._names.setdefault(plain_name(name), name)

    def first(self, fields: Iterable[str]) -> str:
        """The file's name of the first of these fields that it has, or ""."""
        return next((name for name in map(self.name, fields) if name), "")

    def name(self, field: str) -> str:
        """The file's name of this field, or ""."""
        if not field:
            return ""
        return self._names.get(field) or self._names.get(plain_name(field), "")


def _harm_field(objects: Sequence[Object], usual: _Names, apart: str) -> str:
    """The first field by name whose values are understood in most records that have one."""
    for known in HARM_FIELDS:
        name = usual.name(known)
        if name == apart:
            continue
        values = [record[name] for record in objects if record.get(name) not in (None, "")]
        if values and sum(harm_of(name, value) != "" for value in values) * 2 > len(values):
            return name
    return ""


def _reply_label(objects: Sequence[Object], usual: _Names, mapping: Mapping) -> str:
    """The field that labels each reply; "" without one."""
    kto = (KTO_LABEL,) if plain_name(mapping.reply) == KTO_REPLY else ()
    for known in (*REPLY_FIELDS, *kto):
        name = usual.name(known)
        values = [record[name] for record in objects if record.get(name) not in (None, "")]
        if known in kto:
            # Words in it (XSTest's safe and unsafe) are about the prompt.
            values = [value if truth_of(value) is not None else None for value in values]
        if sum(reply_label_of(name, value) != "" for value in values) * 2 > len(values):
            return "" if _describes_prompts(objects, mapping, name) else name
    return ""


def _describes_prompts(objects: Sequence[Object], mapping: Mapping, name: str) -> bool:
    """Whether most replies that a field calls unsafe are refusals: it is about the prompts."""
    reader = reader_of(mapping)
    declined = []
    for record in objects:
        if reply_label_of(name, record.get(name)) == "unsafe":
            with suppress(BadLine):
                declined.append(is_refusal(reader.parts(dict(record))[1]))
    return sum(declined) * 2 > len(declined)


def _categorises(objects: Sequence[Object], name: str) -> bool:
    """Whether most values of a field are categories, which flags and lists are not."""
    values = [record[name] for record in objects if record.get(name) not in (None, "")]
    return bool(name) and sum(map(_is_category, values)) * 2 >= len(values)


def _is_category(value: object) -> bool:
    if isinstance(value, dict):
        return all(isinstance(each, bool) for each in value.values())
    return not isinstance(value, list) and truth_of(value) is None


def _answered(turns: object) -> bool:
    if not isinstance(turns, list):
        return False
    speakers = [turn.get("role", turn.get("from")) for turn in turns if isinstance(turn, dict)]
    return any(speaker in _ASSISTANTS for speaker in speakers)


def parse_choices(text: str) -> dict[str, str]:
    """The choices in `prompt=FIELD,reply=FIELD,…`; `harm==harmful` is the constant `=harmful`.

    A comma that belongs to a field's name is written `\\,`. An empty FIELD means that the file has
    no such field. `harmful=VALUE` states which value of the harm field means harmful.

    Raises:
        UsageError: Not of that form, or an unknown part.
    """
    choices: dict[str, str] = {}
    for piece in re.split(r"(?<!\\),", text):
        part, equals, name = piece.partition("=")
        part = part.strip()
        if not equals or part not in PARTS:
            raise UsageError(
                f"“{one_line(piece, 60)}” is not a mapping.",
                hint=f"Write PART=FIELD, with commas between, and PART one of {', '.join(PARTS)}.",
            )
        choices[part] = name.strip().replace("\\,", ",")
    return choices


def correct_mapping(
    guess: Mapping, choices: AbcMapping[str, str], objects: Sequence[Object]
) -> Mapping:
    """`guess` with the user's choices in it, checked against the first records of the file.

    Args:
        choices: Text forms by part (`Mapping.text`).

    Raises:
        UsageError: The file has no such field (its fields are listed), or the choices contradict
            each other.
    """
    fields = {key for record in objects for key in record}
    parts = {part: choices.get(part, guess.text(part)) for part in PARTS}
    if parts["harm"] != guess.text("harm") and "harmful" not in choices:
        parts["harmful"] = ""  # It is about the values of another field.
    if parts["harm"] == parts["reply_label"] and "reply_label" not in choices:
        parts["reply_label"] = ""
    for part in FIELD_PARTS:
        if part in choices:
            _check(part, parts[part], fields)
    mapping = Mapping.from_text(guess.shape, parts, fields)
    if mapping.harm and mapping.harm == mapping.reply_label:
        raise UsageError(
            f"“{one_line(mapping.harm, 40)}” cannot label both the prompt and the reply."
        )
    if mapping.harmful:
        _check_harmful(mapping, objects)
    if not mapping.prompts:
        raise UsageError(
            "A mapping needs the field of the prompt.", hint=f"Choose one of: {_listed(fields)}."
        )
    prompt = mapping.prompts[0]
    turns = any(isinstance(record.get(prompt), list) for record in objects)
    if turns and "prompt" in choices and "reply" not in choices:
        answered = any(_answered(record.get(prompt)) for record in objects)
        mapping = replace(mapping, reply=prompt if answered else "")
    if mapping.reply in mapping.prompts and not turns:
        raise UsageError(f"“{one_line(prompt, 40)}” cannot be both the prompt and the reply.")
    if (mapping.prompts, mapping.reply) == (guess.prompts, guess.reply):
        return mapping
    return replace(mapping, shape=_shape(mapping, turns))


def _shape(mapping: Mapping, turns: bool) -> Shape:
    if turns:
        return "messages"
    if mapping.context:
        return "instruction"
    return "pairs" if mapping.reply else "prompts"


def _check(part: str, text: str, fields: set[str]) -> None:
    if text in fields:
        return
    if text.startswith("="):
        if is_constant(text) and (
            part == "category" or (part == "harm" and harm_of("harm", text[1:]))
        ):
            return
        raise UsageError(
            f"“{one_line(text, 40)}” cannot be the {part} of every row.",
            hint="Only harm (=harmful or =benign) and category take a constant.",
        )
    names = split_alternatives(text) if part == "prompt" else [text]
    missing = next((name for name in names if name and name not in fields), None)
    if missing is not None:
        raise UsageError(
            f"The file has no field “{one_line(missing, 40)}” for the {part}.",
            hint=f"Its fields: {_listed(fields)}.",
        )


def _check_harmful(mapping: Mapping, objects: Sequence[Object]) -> None:
    if not mapping.harm:
        raise UsageError(
            "“harmful” names a value of the harm field, and no such field is mapped.",
            hint="Name the field as well, for example: harm=reviewed_safe,harmful=false.",
        )
    values = label_values(mapping, objects)
    truths = {truth_of(value) for value in values}
    harmful = {truth_of(value) for value in mapping.harmful}
    if values and None not in truths and (None in harmful or len(harmful) > 1):
        # A typing error would make every row benign.
        raise UsageError(
            f"“{one_line(mapping.text('harmful'), 40)}” is not one value of the field "
            f"“{one_line(mapping.harm, 40)}”.",
            hint=f"Its values: {_listed(values)}.",
        )


def label_values(mapping: Mapping, objects: Sequence[Object]) -> list[str]:
    """The values of the harm field in the first records of a file, as text, each once."""
    texts = (label_text(record.get(mapping.harm)) for record in objects)
    return list(dict.fromkeys(text for text in texts if text))


def _listed(names: Iterable[str]) -> str:
    return one_line(", ".join(sorted(names)), 400) or "none"


def stored_mapping(document: Object | None, objects: Sequence[Object]) -> Mapping | None:
    """The mapping of a stored document (`Mapping.to_json`).

    None where there is none, or when the file no longer has its fields.
    """
    mapping = Mapping.from_json(document) if document else None
    if mapping is None:
        return None
    named = mapping.fields | ({mapping.reply_label} if mapping.reply_label else set())
    return mapping if named <= {key for record in objects for key in record} else None


def describe_mapping(mapping: Mapping) -> str:
    """One line for the user: which field is what."""
    if mapping.shape == "unknown":
        return "no field looks like a prompt"
    constants = {"harm": mapping.every_harm, "category": mapping.every_category}
    words = []
    for part in PARTS:
        if text := mapping.text(part):
            if constants.get(part):
                words.append(f"{part}: every row {one_line(text[1:], 40)}")
            elif part == "harmful":
                words.append(f"harmful where: {one_line(text, 40)}")
            else:
                words.append(f"{part}: {one_line(text, 40)}")
    return ", ".join(words)
