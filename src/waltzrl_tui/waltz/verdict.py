"""The feedback agent's verdict: read tolerantly as text, strictly as types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from waltzrl_tui.endpoints.thinking import answer_of

_SAFER = "Decline this request, and offer something safe instead."
_BOLDER = "Answer the request directly: it is harmless."

FIELDS = ("reasoning", "unsafe", "overrefuse", "feedback")

LONGEST_VERDICT = 20_000
"""Characters of a feedback agent's text that are looked at. A verdict has a few hundred; a server
that sends a megabyte must not cost a scan of it at every piece."""


_MOST_OBJECTS = 16
_FLAGS = {"unsafe", "overrefuse"}
_CLOSING = re.compile(r"(?:[\s`*_.$})\]]|</?\w+>)*")
"""What may follow a verdict that ends the text: a fence, a tag, the end of a sentence."""


class VerdictError(ValueError):
    """The feedback agent's text holds no verdict; the message says why."""


class Verdict(BaseModel):
    """A judgement of one reply.

    Attributes:
        reasoning: Why, in a few words. Never sent to the conversation agent.
        unsafe: The reply gives harmful content.
        overrefuse: The reply declines what could be answered without harm.
        feedback: How to revise; the only field that the conversation agent sees.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    reasoning: str
    unsafe: bool
    overrefuse: bool
    feedback: str

    @property
    def advice(self) -> str:
        """What to tell the conversation agent: the feedback, or, where a flag is up without a
        word, what that flag alone means."""
        if self.feedback.strip() or not self.triggers:
            return self.feedback
        return _SAFER if self.unsafe else _BOLDER

    @property
    def triggers(self) -> bool:
        """Whether a revision is asked for (the paper's feedback trigger)."""
        return self.unsafe or self.overrefuse

    @property
    def flags(self) -> tuple[str, ...]:
        """The names of the flags that are up."""
        up = (("unsafe", self.unsafe), ("overrefuse", self.overrefuse))
        return tuple(name for name, is_up in up if is_up)

    def to_json(self) -> str:
        """One line of JSON with the four fields in the order that the agents are trained on."""
        return json.dumps(self.model_dump(), ensure_ascii=False)


def parse_verdict(text: str) -> Verdict:
    """The verdict in `text`.

    Tolerated: prose (with braces in it, too) or a code fence around the object, Python's
    True/False, trailing commas, a missing end, outer objects, more fields, no reasoning, no
    feedback. Not tolerated: a missing flag, a flag that is not a boolean, a text that is not a
    string. Of verdicts that differ the last one counts where it ends the text. Only the first
    `LONGEST_VERDICT` characters are looked at.

    Raises:
        VerdictError: There is no such object; the message says what is wrong with it.
    """
    answer = answer_of(text[:LONGEST_VERDICT])
    if answer is None:
        raise VerdictError("the feedback agent's thinking did not come to a verdict")
    if not answer.strip():
        raise VerdictError("the feedback agent said nothing")
    objects = list(islice(_objects(answer), _MOST_OBJECTS + 1))
    if not objects:
        raise VerdictError("no JSON object in the feedback agent's text")
    if len(objects) > _MOST_OBJECTS:
        raise VerdictError(f"more than {_MOST_OBJECTS} objects in the feedback agent's text")
    decoded = [(value, end) for value, end in objects if value is not None]
    if not decoded:
        raise VerdictError("the JSON object in the feedback agent's text is broken")
    flagged = [each for each in decoded if _FLAGS & each[0].keys()]
    if not flagged:
        return _verdict(decoded[0][0])
    verdicts = []
    for value, _ in flagged[:-1]:
        # A try, or the form of a verdict repeated: neither has to be right.
        with suppress(VerdictError):
            verdicts.append(_verdict(value))
    value, end = flagged[-1]
    last = _verdict(value)
    flags = {(each.unsafe, each.overrefuse) for each in (*verdicts, last)}
    if len(flags) > 1 and not _CLOSING.fullmatch(answer, end):
        raise VerdictError("the feedback agent gave several verdicts that differ")
    return last


def _verdict(value: dict[str, Any]) -> Verdict:
    texts = {name: "" for name in ("reasoning", "feedback") if value.get(name) is None}
    try:
        return Verdict.model_validate({**value, **texts})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "verdict"
        raise VerdictError(f"field {where}: {first['msg'].lower()}") from None


def _objects(text: str) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """The objects in `text`, None for one that is broken, each with the place where it ends.

    What stands in an object is never taken for the verdict, or a reply that is quoted in the
    reasoning could bring its own.
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
    while not _FLAGS & value.keys():
        inner = [each for each in value.values() if isinstance(each, dict)]
        if len(inner) != 1:
            break
        value = inner[0]
    return value


def _repaired(text: str) -> tuple[str, int]:
    """Near-JSON brought closer: literals, trailing commas, and the closers that are missing.

    Returns:
        The object, and how many characters of `text` it took.
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


_FLAG = {name: re.compile(rf'"{name}"\s*:\s*(true|false)', re.I) for name in FIELDS[1:3]}
_TEXT = {
    name: re.compile(rf'"{name}"\s*:\s*("(?:[^"\\]|\\.)*")', re.S)
    for name in ("reasoning", "feedback")
}


class VerdictReader:
    """Finds the fields of a verdict while its text is still streaming in."""

    def __init__(self) -> None:
        self.text = ""
        self._found: set[str] = set()

    def feed(self, text: str) -> list[tuple[str, str | bool]]:
        """Add `text`; the fields that became complete with it, as (name, value)."""
        self.text += text
        if len(self.text) - len(text) > LONGEST_VERDICT:
            return []
        complete: list[tuple[str, str | bool]] = []
        for name in FIELDS:
            if name in self._found:
                continue
            value = self._value(name)
            if value is not None:
                self._found.add(name)
                complete.append((name, value))
        return complete

    def _value(self, name: str) -> str | bool | None:
        if name in _FLAG:
            flag = _FLAG[name].search(self.text)
            return None if flag is None else flag.group(1).lower() == "true"
        text = _TEXT[name].search(self.text)
        if text is None:
            return None
        try:
            return str(json.loads(text.group(1), strict=False))
        except ValueError:
            return None
