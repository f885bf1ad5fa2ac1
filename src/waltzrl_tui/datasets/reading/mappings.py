"""Which field of a file is what: guessed from its first records, or said by the user."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Mapping as AbcMapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast, get_args

from waltzrl_tui.datasets.reading.parse import BadLine, reader_of
from waltzrl_tui.datasets.reading.rows import (
    ALTERNATIVE,
    CONSTANT,
    HARM_FIELDS,
    Mapping,
    Shape,
    harm_of,
    label_text,
    plain_name,
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

FIELD_PARTS = ("prompt", "reply", "harm", "category", "context", "reply_label")
"""What a mapping names by a field."""
PARTS = (*FIELD_PARTS, "harmful")
"""What a mapping can say."""

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
_SPOKEN = ("assistant", "gpt", "model")


def guess_mapping(objects: Sequence[Object]) -> Mapping:
    """The mapping that fits the first records of a file.

    A field counts when at least half of the records have it, so that one odd record decides
    nothing. Names are compared without case and punctuation: `SemanticCategory` is
    `semantic_category`.
    """
    seen = Counter(key for record in objects for key in record)
    usual = _Names(key for key, count in seen.items() if count * 2 >= len(objects))
    mapping = _guessed(objects, usual)
    if mapping.reply and (field := _reply_label(objects, usual, mapping)):
        # What a flag says of the reply, it does not say of the prompt.
        mapping = replace(_guessed(objects, usual, apart=field), reply_label=field)
    return mapping


def _guessed(objects: Sequence[Object], usual: _Names, apart: str = "") -> Mapping:
    harm = _harm_field(objects, usual, apart)
    categories = [name for name in _CATEGORY_FIELDS if _categorises(objects, usual.first([name]))]
    category = usual.first(categories)
    # A label of two values is harm only; one of many kinds (XSTest's types) is a category as well.
    if category == harm and len({str(record.get(harm)) for record in objects}) <= 2:
        category = usual.first(name for name in categories if usual.first([name]) != harm)
    labels = {"harm": harm, "category": category}

    if chat := usual.first(CHATS):
        replies = chat if any(_answered(record.get(chat)) for record in objects) else ""
        return Mapping("messages", chat, replies, **labels)
    if known := _known_set(usual, labels):
        return known
    prompt = usual.first(_PAIR_PROMPTS)
    if prompt == "prompt" and usual.first(("expected_category", "suggested_response")):
        return Mapping("waltzrl", prompt, usual.first(["suggested_response"]), **labels)
    if instruction := usual.first(["instruction"]):
        reply = usual.first(("output", *_PAIR_REPLIES))
        context = usual.first(["input"])
        return Mapping("instruction", instruction, reply, **labels, context=context)
    reply = usual.first(name for name in _PAIR_REPLIES if usual.first([name]) != prompt)
    if prompt and reply:
        ours = prompt == "prompt" and reply == "reply"
        return Mapping("rows" if ours else "pairs", prompt, reply, **labels)
    if prompt := usual.first(_PROMPT_ONLY):
        return Mapping("prompts", prompt, **labels)
    return Mapping("unknown", "")


def _known_set(usual: _Names, labels: dict[str, str]) -> Mapping | None:
    """The public sets whose fields do not speak for themselves."""
    harm, category = labels["harm"], labels["category"]
    if usual.first(["forbidden_prompt"]) and not usual.first(["prompt"]):  # StrongREJECT
        reply = usual.first(("response", "completion"))
        shape: Shape = "pairs" if reply else "prompts"
        prompt = usual.first(["forbidden_prompt"])
        return Mapping(shape, prompt, reply, harm or "=harmful", category)
    if usual.first(["behavior"]) and usual.first(["behavior_id"]):  # HarmBench
        reply = usual.first(("generation", "completion", "response"))
        shape = "pairs" if reply else "prompts"
        context = usual.first(["context_string"])
        behavior = usual.first(["behavior"])
        return Mapping(shape, behavior, reply, harm or "=harmful", category, context)
    if usual.first(["jailbroken"]) and (prompt := usual.first(["prompt"])):  # JailbreakBench
        reply = usual.first(["response"])
        return Mapping("pairs" if reply else "prompts", prompt, reply, harm or "=harmful", category)
    if (goal := usual.first(["goal"])) and not usual.first(["prompt"]):
        # AdvBench and JailbreakBench: `target` is what an attack wants to hear, not a reply.
        reply = usual.first(("response", "completion", "reply"))
        return Mapping("pairs" if reply else "prompts", goal, reply, harm, category)
    vanilla, adversarial = usual.first(["vanilla"]), usual.first(["adversarial"])
    if vanilla and adversarial:  # WildJailbreak: one of the two is empty in many rows
        reply = usual.first(["completion"])
        prompt = f"{adversarial}{ALTERNATIVE}{vanilla}"
        return Mapping("pairs" if reply else "prompts", prompt, reply, harm, category)
    return None


class _Names:
    """The field names of a file, found whatever their case and punctuation."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names: dict[str, str] = {}
        for name in names:
            self._names.setdefault(name, name)
            self._names.setdefault(plain_name(name), name)

    def first(self, wanted: Iterable[str]) -> str:
        """The file's name of the first wanted field that it has, or ""."""
        for name in wanted:
            if found := self._names.get(name) or self._names.get(plain_name(name)):
                return found
        return ""


def _harm_field(objects: Sequence[Object], usual: _Names, apart: str) -> str:
    """The first field by name whose values are understood in most records that have one."""
    for known in HARM_FIELDS:
        name = usual.first([known])
        if name == apart:
            continue
        values = [record[name] for record in objects if record.get(name) not in (None, "")]
        if values and sum(harm_of(name, value) != "" for value in values) * 2 > len(values):
            return name
    return ""


def _reply_label(objects: Sequence[Object], usual: _Names, mapping: Mapping) -> str:
    """The field that says of each reply what it is; "" without one."""
    kto = (KTO_LABEL,) if plain_name(mapping.reply) == KTO_REPLY else ()
    for known in (*REPLY_FIELDS, *kto):
        name = usual.first([known])
        values = [record[name] for record in objects if record.get(name) not in (None, "")]
        if known in kto:
            # Words in it (XSTest's safe and unsafe) are about the prompt.
            values = [value if truth_of(value) is not None else None for value in values]
        if sum(reply_label_of(name, value) != "" for value in values) * 2 > len(values):
            return "" if _describes_prompts(objects, mapping, name) else name
    return ""


def _describes_prompts(objects: Sequence[Object], mapping: Mapping, name: str) -> bool:
    """Whether most replies of the records that a field calls unsafe decline: no reply is meant."""
    reader = reader_of(mapping)
    declined = []
    for record in objects:
        if reply_label_of(name, record.get(name)) == "unsafe":
            with suppress(BadLine):
                declined.append(is_refusal(reader.parts(dict(record))[1]))
    return sum(declined) * 2 > len(declined)


def _categorises(objects: Sequence[Object], name: str) -> bool:
    """Whether most values of a field name a category; a flag names none, nor does a list."""
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
    return any(speaker in _SPOKEN for speaker in speakers)


def parse_choices(text: str) -> dict[str, str]:
    """The choices in `prompt=FIELD,reply=FIELD,…`; `harm==harmful` is the constant `=harmful`.

    A comma that belongs to a field's name is written `\\,`. An empty FIELD says that the file has
    no such field. `harmful=VALUE` says which value of the harm field means harmful.

    Raises:
        UsageError: Not of that form, or a part that no mapping has.
    """
    choices: dict[str, str] = {}
    for piece in re.split(r"(?<!\\),", text):
        part, equals, name = piece.partition("=")
        part = part.strip()
        if not equals or part not in PARTS:
            raise UsageError(
                f"“{one_line(piece, 60)}” maps nothing.",
                hint=f"Write PART=FIELD, with commas between, and PART one of {', '.join(PARTS)}.",
            )
        choices[part] = name.strip().replace("\\,", ",")
    return choices


def corrected(
    guessed: Mapping, choices: AbcMapping[str, str], objects: Sequence[Object]
) -> Mapping:
    """`guessed` with the user's choices in it, checked against the first records of the file.

    Raises:
        UsageError: A field that the file does not have; its fields are named.
    """
    parts = {part: choices.get(part, getattr(guessed, part)) for part in PARTS}
    if parts["harm"] != guessed.harm and "harmful" not in choices:
        parts["harmful"] = ""  # It was said of another field.
    if parts["harm"] == parts["reply_label"] and "reply_label" not in choices:
        parts["reply_label"] = ""
    changed = Mapping(guessed.shape, **parts)
    known = {key for record in objects for key in record}
    for part in FIELD_PARTS:
        if part in choices:
            _check(part, getattr(changed, part), known)
    if changed.harm and changed.harm == changed.reply_label:
        raise UsageError(
            f"“{one_line(changed.harm, 40)}” cannot label both the prompt and the reply."
        )
    if changed.harmful:
        _check_harmful(changed, objects)
    if not changed.prompt:
        raise UsageError(
            "A mapping needs the field of the prompt.", hint=f"Choose one of: {_listed(known)}."
        )
    turns = any(isinstance(record.get(changed.prompt), list) for record in objects)
    if turns and "prompt" in choices and "reply" not in choices:
        answered = any(_answered(record.get(changed.prompt)) for record in objects)
        changed = replace(changed, reply=changed.prompt if answered else "")
    if changed.reply == changed.prompt and not turns:
        raise UsageError(
            f"“{one_line(changed.prompt, 40)}” cannot be both the prompt and the reply."
        )
    same = (changed.prompt, changed.reply) == (guessed.prompt, guessed.reply)
    shape = guessed.shape if same else _shape(changed, turns)
    return replace(changed, shape=shape)


def _shape(mapping: Mapping, turns: bool) -> Shape:
    if turns:
        return "messages"
    if mapping.context:
        return "instruction"
    return "pairs" if mapping.reply else "prompts"


def _check(part: str, name: str, known: set[str]) -> None:
    if name.startswith(CONSTANT):
        if part == "category" or (part == "harm" and harm_of("harm", name[1:])):
            return
        hint = "Only harm (=harmful or =benign) and category take a constant."
        raise UsageError(f"“{one_line(name, 40)}” cannot be the {part} of every row.", hint=hint)
    names = name.split(ALTERNATIVE) if part == "prompt" else [name]
    missing = next((each for each in names if each and each not in known), None)
    if missing is not None:
        raise UsageError(
            f"The file has no field “{one_line(missing, 40)}” for the {part}.",
            hint=f"Its fields: {_listed(known)}.",
        )


def _check_harmful(mapping: Mapping, objects: Sequence[Object]) -> None:
    if not mapping.harm or mapping.harm.startswith(CONSTANT):
        raise UsageError(
            "“harmful” names a value of the harm field, and none is mapped.",
            hint="Name the field as well, for example: harm=reviewed_safe,harmful=false.",
        )
    seen = label_values(mapping, objects)
    truths = {truth_of(value) for value in seen}
    stated = {truth_of(value) for value in mapping.harmful.split(ALTERNATIVE)}
    if seen and None not in truths and (None in stated or len(stated) > 1):
        # A typing error would make every row benign.
        raise UsageError(
            f"“{one_line(mapping.harmful, 40)}” is not one value of the field "
            f"“{one_line(mapping.harm, 40)}”.",
            hint=f"Its values: {_listed(seen)}.",
        )


def label_values(mapping: Mapping, objects: Sequence[Object]) -> list[str]:
    """The values of the harm field in the first records of a file, as text, each once."""
    texts = (label_text(record.get(mapping.harm)) for record in objects)
    return list(dict.fromkeys(text for text in texts if text))


def _listed(names: Iterable[str]) -> str:
    return one_line(", ".join(sorted(names)), 400) or "none"


def usable_mapping(document: Object | None, objects: Sequence[Object]) -> Mapping | None:
    """The mapping that was kept for a file, as `Mapping.to_json` wrote it.

    None where there is none, or when the file no longer has its fields.
    """
    kept = document or {}
    parts = {part: kept.get(part, "") for part in PARTS}
    shape = kept.get("shape")
    if shape not in get_args(Shape) or not all(isinstance(name, str) for name in parts.values()):
        return None
    mapping = Mapping(cast("Shape", shape), **parts)
    fields = mapping.fields | ({mapping.reply_label} if mapping.reply_label else set())
    return mapping if fields <= {key for record in objects for key in record} else None


def describe_mapping(mapping: Mapping) -> str:
    """One line for the user: which field is what."""
    if mapping.shape == "unknown":
        return "no field looks like a prompt"
    parts = [(part, getattr(mapping, part)) for part in PARTS if getattr(mapping, part)]
    return ", ".join(
        f"{part}: every row {one_line(name[1:], 40)}"
        if name.startswith(CONSTANT)
        else f"harmful where: {one_line(name, 40)}"
        if part == "harmful"
        else f"{part}: {one_line(name, 40)}"
        for part, name in parts
    )
