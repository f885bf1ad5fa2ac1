"""Turn one line of a JSONL file into a row, or into the reason why it gives none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from waltzrl_tui.datasets.reading.rows import (
    BadKind,
    BadRow,
    Mapping,
    Row,
    harm_of,
    label_text,
)
from waltzrl_tui.datasets.reply_labels import reply_label_of
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.text import one_line

_SPEAKERS = {
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "developer": "system",
}
_JSON_NAMES = {dict: "an object", list: "a list", bool: "true or false", int: "a number"}


MAX_LINE = 8 * 1024 * 1024
"""Bytes; a longer line or record is a bad row, so that a runaway one cannot fill the memory."""

_LABELS_KEPT = 1000

# No JSON value begins like this, so every JSON parser rejects such a line.
_MARK = b"!"


class BadLine(Exception):
    """The reason why a line gives no row, as text for the user.

    Attributes:
        kind: What is wrong, for code that acts on it.
    """

    def __init__(self, reason: str, kind: BadKind = "") -> None:
        super().__init__(reason)
        self.kind: BadKind = kind


def bad_line(reason: str, raw: str = "", kind: BadKind = "") -> bytes:
    """A line that stands for a record that could not be read, and parses to `reason`.

    Args:
        raw: The record as it is in the source, to be shown.
    """
    return _MARK + json.dumps({"bad": reason, "raw": raw, "kind": kind}).encode()


def bad_row(line: int, reason: BadLine) -> BadRow:
    """The bad row on line number `line` (from 1)."""
    return BadRow(line, str(reason), reason.kind)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadLine(f'field "{one_line(twice, 40)}" appears twice')
    return value


def _constant(name: str) -> None:
    raise BadLine(f"{name} is not a JSON value")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)

scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once  # type: ignore[attr-defined]
"""The JSON value that begins at an offset of a text, and its end; it may span lines.

Raises BadLine, StopIteration, ValueError or RecursionError where `parse_object` would find a
reason.
"""


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object on one line.

    Raises:
        BadLine: Not UTF-8, not JSON (the column is named), not an object, or with a repeated
            field, a NaN or an infinity, which programs read differently.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error) from None
    if raw.startswith(_MARK):
        raise _marked(raw)
    try:
        value = _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"broken JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadLine("JSON nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"broken JSON: {one_line(str(error), 80)}") from None
    if not isinstance(value, dict):
        raise BadLine(f"not a JSON object but {_kind(value)}")
    return value


def not_utf8(error: UnicodeDecodeError) -> BadLine:
    """The reason for a line that cannot be decoded."""
    return BadLine(f"not UTF-8 at byte {error.start + 1}", "encoding")


def _marked(raw: bytes) -> BadLine:
    try:
        mark = json.loads(raw[1:])
        kind: BadKind = "encoding" if mark.get("kind") == "encoding" else ""
        return BadLine(str(mark["bad"]), kind)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return BadLine("broken JSON at column 1: Expecting value")


def parse_row(line: int, raw: bytes, mapping: Mapping) -> Row | BadRow:
    """The row on line number `line` (from 1), read by `mapping`."""
    try:
        return reader_of(mapping).row(line, parse_object(raw))
    except BadLine as reason:
        return bad_row(line, reason)


@lru_cache(maxsize=64)
def reader_of(mapping: Mapping) -> RowReader:
    """The reader of objects for `mapping`. Get it once when reading many rows."""
    return RowReader(mapping)


class RowReader:
    """Reads rows from objects by a mapping. Its methods raise BadLine where there is no row.

    Most objects are well formed, so `parts` tries a fast path first; the others go through the
    functions that know the reasons.
    """

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self._unknown = mapping.shape == "unknown" or not mapping.prompts
        self._chat = mapping.shape == "messages" and not self._unknown
        self._prompt, self._reply = next(iter(mapping.prompts), ""), mapping.reply
        self._harm, self._category = mapping.harm, mapping.category
        self._harmful = mapping.harmful
        self._used = mapping.fields
        # The meaning of each label, so that each is interpreted once.
        self._harms: dict[str, Harm] = {}
        self._plain = (
            mapping.shape not in ("messages", "unknown")
            and len(mapping.prompts) == 1
            and all((mapping.reply, mapping.harm, mapping.category))
            and not mapping.context
        )

    def row(self, line: int, fields: dict[str, Any]) -> Row:
        """The row of the object on line number `line` (from 1)."""
        extra: dict[str, Any] = {}
        history: list[dict[str, str]] = []
        if self._chat:
            prompt, reply, history = _chat(fields, self._mapping)
            harm, category = self._labels(fields)
        else:
            prompt, reply, harm, category = self.parts(fields)
        if not fields.keys() <= self._used:
            extra = {key: value for key, value in fields.items() if key not in self._used}
        if history:
            extra["history"] = history
        label = ""
        if self._harm:
            value = fields.get(self._harm)
            label = label_text(value)
            if label and not harm:
                extra[self._harm] = value
        if not category and self._category and fields.get(self._category) not in (None, ""):
            extra[self._category] = fields[self._category]
        row = Row(line, prompt, reply, harm, category, extra, label)
        name = self._mapping.reply_label
        if name and reply and (judged := reply_label_of(name, fields.get(name))):
            row = replace(row, reply_label=judged)
        return row

    def parts(self, fields: dict[str, Any]) -> tuple[str, str, Harm, str]:
        """Prompt, reply ("" where the mapping knows none), harm and category."""
        if self._plain:
            get = fields.get
            prompt, reply = get(self._prompt), get(self._reply)
            label, category = get(self._harm), get(self._category)
            if (
                type(prompt) is type(reply) is type(label) is type(category) is str
                and prompt.isascii()
                and reply.isascii()
                and category.isascii()
                and label in self._harms
                and prompt.strip()
                and reply.strip()
            ):
                return prompt, reply, self._harms[label], category
        prompt, reply = self._texts(fields)
        harm, category = self._labels(fields)
        return prompt, reply, harm, category

    def _texts(self, fields: dict[str, Any]) -> tuple[str, str]:
        mapping = self._mapping
        if self._unknown:
            names = one_line(", ".join(fields), 120) or "none"
            raise BadLine(f"no field holds a prompt (fields: {names})")
        if self._chat:
            return _chat(fields, mapping)[:2]
        prompt = _text(fields, _first_filled(fields, mapping.prompts), "prompt")
        if mapping.context and fields.get(mapping.context) is not None:
            context = _typed(fields, mapping.context)
            prompt = f"{prompt}\n\n{context}" if context.strip() else prompt
        return prompt, _text(fields, mapping.reply, "reply") if mapping.reply else ""

    def _labels(self, fields: dict[str, Any]) -> tuple[Harm, str]:
        harm = self._mapping.every_harm
        if not harm:
            value = _plain(fields, self._harm)
            harm = harm_of(self._harm, value, self._harmful)
            if isinstance(value, str) and len(self._harms) < _LABELS_KEPT:
                self._harms[value] = harm
        if self._mapping.every_category:
            return harm, self._mapping.every_category
        category = _plain(fields, self._category)
        if isinstance(category, (list, dict)):
            return harm, category_of(category)
        return harm, "" if category is None else str(category)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _JSON_NAMES.get(type(value), "a number" if isinstance(value, float) else "text")


def _typed(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BadLine(f'field "{one_line(name, 40)}" is {_kind(value)}, not text')
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise BadLine(f'field "{one_line(name, 40)}" holds half of a surrogate pair') from None
    return value


def _text(fields: dict[str, Any], name: str, what: str) -> str:
    if name not in fields:
        raise BadLine(f'no {what}: field "{one_line(name, 40)}" is missing')
    value = _typed(fields, name)
    if not value.strip():
        kind: BadKind = "empty_reply" if what == "reply" else ""
        raise BadLine(f'empty {what} in field "{one_line(name, 40)}"', kind)
    return value


def _first_filled(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if fields.get(name) not in (None, "")), names[0])


def _plain(fields: dict[str, Any], name: str) -> Any:
    """The value of a label, of any type: an odd label does not make the row bad."""
    value = fields.get(name) if name else None
    if isinstance(value, str) and not value.isascii():
        return _typed(fields, name)
    return value


def category_of(value: object) -> str:
    """The category in an object of flags (BeaverTails): the keys that are true."""
    if not (isinstance(value, dict) and all(isinstance(each, bool) for each in value.values())):
        return ""
    return (
        ", ".join(name for name, true in value.items() if true).encode("utf-8", "replace").decode()
    )


def _chat(fields: dict[str, Any], mapping: Mapping) -> tuple[str, str, list[dict[str, str]]]:
    """The last question of a chat, its answer, and the turns before it."""
    name = mapping.prompts[0]
    if name not in fields:
        raise BadLine(f'no prompt: field "{name}" is missing')
    if not isinstance(fields[name], list):
        raise BadLine(f'field "{name}" is {_kind(fields[name])}, not a list of turns')
    turns = [_turn(name, number, turn) for number, turn in enumerate(fields[name], 1)]
    reply = ""
    if mapping.reply:
        while turns and turns[-1]["role"] != "assistant":
            turns.pop()
        if not turns:
            raise BadLine(f'no reply: "{name}" has no turn of the assistant')
        reply = turns.pop()["content"]
        if not reply.strip():
            raise BadLine(f'empty reply in "{name}"', "empty_reply")
    if not turns or turns[-1]["role"] != "user":
        raise BadLine(f'no prompt: "{name}" has no turn of the user before the reply')
    prompt = turns.pop()["content"]
    if not prompt.strip():
        raise BadLine(f'empty prompt in "{name}"')
    return prompt, reply, turns


def _content(turn: dict[str, Any], name: str) -> str:
    """The text of a turn, which may be a list of parts with text."""
    parts = turn[name]
    if not isinstance(parts, list):
        return _typed(turn, name)
    for part in parts:
        if not (isinstance(part, dict) and isinstance(part.get("text"), str)):
            raise BadLine(f'field "{one_line(name, 40)}" has a part without text')
    return "\n".join(_typed(part, "text") for part in parts)


def _turn(name: str, number: int, turn: object) -> dict[str, str]:
    if isinstance(turn, dict):
        speaker = turn.get("role", turn.get("from"))
        role = _SPEAKERS.get(speaker) if isinstance(speaker, str) else None
        content = "content" if "content" in turn else "value"
        if role is None:
            reason = ' has no known "role"'
        elif content not in turn:
            reason = ' has no "content"'
        else:
            try:
                return {"role": role, "content": _content(turn, content)}
            except BadLine as wrong:
                reason = f": {wrong}"
    else:
        reason = f" is {_kind(turn)}, not an object"
    raise BadLine(f'turn {number} of "{name}"{reason}')
