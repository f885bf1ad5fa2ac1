"""Reading the feedback agent's verdict: tolerant of its text, strict about its types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any, Final

from pydantic import ValidationError

from waltzrl_tui.endpoints.thinking import answer_of
from waltzrl_tui.records.verdict import FIELDS, FLAGS, TEXTS, Verdict

MAX_VERDICT_CHARACTERS: Final = 20_000
"""Characters of a feedback agent's text that are read. A verdict has a few hundred; a server that
sends a megabyte must not cost a scan of it at every piece."""

_MAX_OBJECTS: Final = 16
_CLOSING: Final = re.compile(r"(?:[\s`*_.$})\]]|</?\w+>)*")
"""What may follow a verdict that ends the text: a fence, a tag, the end of a sentence."""


class VerdictError(ValueError):
    """The feedback agent's text holds no verdict; the message says why."""


def parse_verdict(text: str) -> Verdict:
    """The verdict in `text`.

    Tolerated: prose (even with braces) or a code fence around the object, Python's True/False,
    trailing commas, a missing end, outer objects, extra fields, no reasoning, no feedback. Not
    tolerated: a missing flag, a flag that is not a boolean, a text that is not a string. If
    verdicts differ, the last one counts, provided that it ends the text. Only the first
    `MAX_VERDICT_CHARACTERS` are read.

    Raises:
        VerdictError: There is no such object; the message says what is wrong with it.
    """
    answer = answer_of(text[:MAX_VERDICT_CHARACTERS])
    if answer is None:
        raise VerdictError("the feedback agent's thinking did not come to a verdict")
    if not answer.strip():
        raise VerdictError("the feedback agent's reply is empty")
    objects = list(islice(_objects(answer), _MAX_OBJECTS + 1))
    if not objects:
        raise VerdictError("no JSON object in the feedback agent's text")
    if len(objects) > _MAX_OBJECTS:
        raise VerdictError(f"more than {_MAX_OBJECTS} objects in the feedback agent's text")
    decoded = [(value, end) for value, end in objects if value is not None]
    if not decoded:
        raise VerdictError("the JSON object in the feedback agent's text is broken")
    flagged = [each for each in decoded if FLAGS.keys() & each[0].keys()]
    if not flagged:
        return _verdict(decoded[0][0])
    verdicts = []
    for value, _ in flagged[:-1]:
        # A first try, or the schema repeated: neither has to be valid.
        with suppress(VerdictError):
            verdicts.append(_verdict(value))
    value, end = flagged[-1]
    last = _verdict(value)
    flags = {each.flags for each in (*verdicts, last)}
    if len(flags) > 1 and not _CLOSING.fullmatch(answer, end):
        raise VerdictError("the feedback agent gave several verdicts that differ")
    return last


def _verdict(value: dict[str, Any]) -> Verdict:
    texts = {name: "" for name in TEXTS if value.get(name) is None}
    try:
        return Verdict.model_validate({**value, **texts})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "verdict"
        raise VerdictError(f"field {where}: {first['msg'].lower()}") from None


def _objects(text: str) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """The objects in `text`, None for a broken one, each with the position of its end.

    Nothing inside an object is taken for the verdict: a reply quoted in the reasoning could
    contain its own.
    """
    at = text.find("{")
    while at >= 0:
        value, end = _decoded(text, at)
        yield value, end
        at = text.find("{", end)


def _decoded(text: str, at: int) -> tuple[dict[str, Any] | None, int]:
    decoder = json.JSONDecoder(strict=False)
    value: dict[str, Any]
    try:
        value, end = decoder.raw_decode(text, at)
        return _unwrapped(value), end
    except (ValueError, RecursionError):
        pass
    repaired, size = _repaired(text[at:])
    try:
        value, _ = decoder.raw_decode(repaired)
        return _unwrapped(value), at + size
    except (ValueError, RecursionError):
        pass
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, at):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return None, brace.end()
    return None, len(text)


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """The object with the flags: `value`, or the only object in it."""
    while not FLAGS.keys() & value.keys():
        inner = [each for each in value.values() if isinstance(each, dict)]
        if len(inner) != 1:
            break
        value = inner[0]
    return value


def _repaired(text: str) -> tuple[str, int]:
    """Near-JSON repaired: Python literals, trailing commas, missing closers.

    Returns:
        The object, and how many characters of `text` it spans.
    """
    out: list[str] = []
    closers: list[str] = []
    quoted = False
    index = 0
    while index < len(text):
        char = text[index]
        if quoted:
            if char == "\\" and index + 1 < len(text):
                out.append(text[index : index + 2])
                index += 2
                continue
            quoted = char != '"'
            out.append(char)
        elif char == '"':
            quoted = True
            out.append(char)
        elif char in "{[":
            closers.append("}" if char == "{" else "]")
            out.append(char)
        elif char in "}]":
            _drop_comma(out)
            out.append(char)
            if closers:
                closers.pop()
            if not closers:
                return "".join(out), index + 1
        elif literal := re.match(r"True|False|None", text[index : index + 5]):
            word = literal.group()
            out.append({"True": "true", "False": "false", "None": "null"}[word])
            index += len(word)
            continue
        else:
            out.append(char)
        index += 1
    if quoted:
        out.append('"')
    _drop_comma(out)
    return "".join(out) + "".join(reversed(closers)), len(text)


def _drop_comma(out: list[str]) -> None:
    while out and out[-1].isspace():
        out.pop()
    if out and out[-1] == ",":
        out.pop()


# A text whose closing quote is still to come matches as well.
_STREAMED: Final = {
    **{name: re.compile(rf'"{name}"\s*:\s*(true|false)', re.I) for name in FLAGS},
    **{name: re.compile(rf'"{name}"\s*:\s*"((?:[^"\\]|\\.)*)', re.S) for name in TEXTS},
}


def partial_fields(text: str) -> dict[str, str | bool]:
    """The fields of a verdict that is still streaming in. Its last text may be incomplete."""
    fields: dict[str, str | bool] = {}
    for name in FIELDS:
        if match := _STREAMED[name].search(text, 0, MAX_VERDICT_CHARACTERS):
            fields[name] = match[1].lower() == "true" if name in FLAGS else _unescaped(match[1])
    return fields


def _unescaped(value: str) -> str:
    # The text so far may end in half an escape.
    for text in (value, value.rpartition("\\")[0]):
        try:
            return str(json.loads(f'"{text}"', strict=False))
        except ValueError:
            continue
    return value
