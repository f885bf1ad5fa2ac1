"""From one line of a JSONL file to a row, or to the reason why it gives none."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from waltzrl_tui.datasets.rows import CONSTANT, BadRow, Mapping, Row, harm_of
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

# No JSON value begins like this, so every reader of JSON passes such a line over as broken.
_MARK = b"!"


class BadLine(Exception):
    """The reason why a line gives no row, as text for the user."""


def bad_line(reason: str, raw: str = "") -> bytes:
    """A line that stands for a record which could not be read, and parses to `reason`.

    Args:
        raw: The record as it was found, to be looked at.
    """
    return _MARK + json.dumps({"bad": reason, "raw": raw}).encode()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadLine(f'field "{one_line(twice, 40)}" stands there twice')
    return value


def _constant(name: str) -> None:
    raise BadLine(f"{name} is not a JSON value")


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant).decode


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object on one line.

    Raises:
        BadLine: Not UTF-8, not JSON (the column is named), not an object, or with a field twice,
            a NaN or an infinity: what one program reads there, another does not.
    """
    if raw.startswith(_MARK):
        raise BadLine(_marked(raw))
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 at byte {error.start + 1}") from None
    try:
        value = _decode(text)
    except json.JSONDecodeError as error:
        raise BadLine(f"broken JSON at column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise BadLine("JSON nested too deeply") from None
    except ValueError as error:
        raise BadLine(f"broken JSON: {one_line(str(error), 80)}") from None
    if not isinstance(value, dict):
        raise BadLine(f"not a JSON object but {_kind(value)}")
    return value


def _marked(raw: bytes) -> str:
    try:
        return str(json.loads(raw[1:])["bad"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return "broken JSON at column 1: Expecting value"


def parse_row(line: int, raw: bytes, mapping: Mapping) -> Row | BadRow:
    """The row on line number `line` (from 1), read by `mapping`."""
    try:
        return _row(line, parse_object(raw), mapping)
    except BadLine as reason:
        return BadRow(line, str(reason))


def _row(line: int, fields: dict[str, Any], mapping: Mapping) -> Row:
    if mapping.shape == "unknown":
        names = one_line(", ".join(fields), 120) or "none"
        raise BadLine(f"no field holds a prompt (fields: {names})")
    used, prompts = _names(mapping)
    extra = {key: value for key, value in fields.items() if key not in used}
    if mapping.shape == "messages":
        prompt, reply, history = _chat(fields, mapping)
        if history:
            extra["history"] = history
    else:
        prompt = _text(fields, _first_filled(fields, prompts), "prompt")
        if mapping.context and fields.get(mapping.context) is not None:
            context = _typed(fields, mapping.context)
            prompt = f"{prompt}\n\n{context}" if context.strip() else prompt
        reply = _text(fields, mapping.reply, "reply") if mapping.reply else ""
    if mapping.harm.startswith(CONSTANT):
        harm = harm_of("harm", mapping.harm[1:])
    else:
        told = _plain(fields, mapping.harm)
        harm = harm_of(mapping.harm, told)
        if not harm and told not in (None, ""):
            extra[mapping.harm] = told
    if mapping.category.startswith(CONSTANT):
        category: str | float | None = mapping.category[1:]
    else:
        category = _plain(fields, mapping.category)
    return Row(line, prompt, reply, harm, "" if category is None else str(category), extra)


@lru_cache(maxsize=64)
def _names(mapping: Mapping) -> tuple[frozenset[str], tuple[str, ...]]:
    return mapping.fields, mapping.prompts


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _JSON_NAMES.get(type(value), "a number" if isinstance(value, float) else "text")


def _typed(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BadLine(f'field "{one_line(name, 40)}" is {_kind(value)}, not text')
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise BadLine(f'field "{one_line(name, 40)}" holds half of a surrogate pair')
    return value


def _text(fields: dict[str, Any], name: str, what: str) -> str:
    if name not in fields:
        raise BadLine(f'no {what}: field "{one_line(name, 40)}" is missing')
    value = _typed(fields, name)
    if not value.strip():
        raise BadLine(f'empty {what} in field "{one_line(name, 40)}"')
    return value


def _first_filled(fields: dict[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if fields.get(name) not in (None, "")), names[0])


def _plain(fields: dict[str, Any], name: str) -> str | int | float | None:
    """The value of a label: text, a number, true, false or nothing."""
    value = fields.get(name) if name else None
    if isinstance(value, str):
        return _typed(fields, name)
    if value is None or isinstance(value, (int, float)):
        return value
    raise BadLine(f'field "{one_line(name, 40)}" is {_kind(value)}, not a label')


def _chat(fields: dict[str, Any], mapping: Mapping) -> tuple[str, str, list[dict[str, str]]]:
    """The last question of a chat, its answer, and the turns before it."""
    name = mapping.prompt
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
            raise BadLine(f'empty reply in "{name}"')
    if not turns or turns[-1]["role"] != "user":
        raise BadLine(f'no prompt: "{name}" has no turn of the user before the reply')
    prompt = turns.pop()["content"]
    if not prompt.strip():
        raise BadLine(f'empty prompt in "{name}"')
    return prompt, reply, turns


def _turn(name: str, number: int, turn: object) -> dict[str, str]:
    where = f'turn {number} of "{name}"'
    if not isinstance(turn, dict):
        raise BadLine(f"{where} is {_kind(turn)}, not an object")
    speaker = turn.get("role", turn.get("from"))
    role = _SPEAKERS.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise BadLine(f'{where} has no known "role"')
    content = "content" if "content" in turn else "value"
    if content not in turn:
        raise BadLine(f'{where} has no "content"')
    try:
        return {"role": role, "content": _typed(turn, content)}
    except BadLine as reason:
        raise BadLine(f"{where}: {reason}") from None
