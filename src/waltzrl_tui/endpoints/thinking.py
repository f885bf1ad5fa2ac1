"""Separates a model's thinking from its answer while both stream in.

Servers without a reasoning parser send thinking inside the text: between tags, with only an end tag
if the prompt's template holds the begin, or in the channels of gpt-oss. It is not part of a reply
or a verdict: not shown, not judged, not sent back.
"""

from __future__ import annotations

import re
from typing import Final

_TAG: Final = re.compile(
    r"<(?P<end>/?)(?P<name>think|thinking|thought|reasoning)>|\[(?P<close>/?)(?P<mark>THINK)\]"
    r"|<\|(?P<token>start|channel|message|end|return|call)\|>",
    re.IGNORECASE,
)
_TAGS: Final = (
    *(f"<{end}{name}>" for end in ("", "/") for name in ("think", "thinking", "thought")),
    *("<reasoning>", "</reasoning>", "[think]", "[/think]"),
    *(f"<|{token}|>" for token in ("start", "channel", "message", "end", "return", "call")),
)
_LONGEST: Final = max(map(len, _TAGS)) - 1
_ALONE: Final = ("think", "thinking")
"""Tags whose end may come without a begin. Documents use the other names, too."""
_QUOTES: Final = ("`", '"', "'", "“", "‘")


class Thinking:
    """Separates one text, piece by piece.

    A tag in quotes, in code or inside an object is text. Only the first thinking may end without a
    begin, so an answer that quotes such an end later is not cut short.

    Args:
        unopened: The text is expected to begin inside thinking, so it is held back until the
            thinking ends.
        lone: Whether an end without a begin counts.

    Attributes:
        unopened: Whether an end without a begin has arrived.
    """

    def __init__(self, *, unopened: bool = False, lone: bool = True) -> None:
        self.unopened = False
        self._expected = unopened
        self._lone = lone
        self._mode = "thinking" if unopened else "start"
        self._name = ""
        # Held back as thinking; it is text if nothing confirms that it is thinking.
        self._raw: list[str] | None = [] if unopened else None
        self._buffer = ""
        self._space = ""
        self._header = ""
        self._context = _Context()
        self._separated = self._channels = self._returned = False

    @property
    def unfinished(self) -> bool:
        """Whether thinking has begun and not ended."""
        return self._mode != "answer" and self._raw is None and bool(self._name)

    def feed(self, text: str) -> tuple[str, bool]:
        """Take in a piece.

        Returns:
            The new part of the answer, and whether everything returned before was thinking.
        """
        if self._mode == "answer" and not self._buffer and "<" not in text and "[" not in text:
            return self._plain(text), False
        self._buffer += text
        out: list[str] = []
        at, restart = 0, False
        for tag in _TAG.finditer(self._buffer):
            out.append(self._plain(self._buffer[at : tag.start()]))
            at = tag.end()
            before = self._returned
            literal, over = self._tag(tag)
            if over:
                restart, self._returned = restart or before, False
                out.clear()
            out.append(literal)
        cut = max(at, len(self._buffer) - _held_back(self._buffer[at:]))
        out.append(self._plain(self._buffer[at:cut]))
        self._buffer = self._buffer[cut:]
        answer = "".join(out)
        self._returned = self._returned or bool(answer)
        return answer, restart

    def rest(self, *, cut: bool = False) -> str:
        """The rest of the answer, once the text has ended.

        Args:
            cut: The text was cut off at its cap, so unfinished thinking is thinking.
        """
        buffer, self._buffer = self._buffer, ""
        out = self._plain(buffer)
        raw, self._raw = self._raw, None
        if raw is not None and not (cut and self._expected):
            held = "".join(raw)
            # A template's own marks at the end are not text.
            out += held if _TAG.sub("", held).strip() not in ("", "assistant") else ""
            self._mode = "answer"
        if self._mode == "start" and not self._separated:
            out += self._space
        return out

    def _plain(self, text: str) -> str:
        if self._mode == "answer":
            self._context.add(text)
            return text
        if self._mode == "start":
            held = self._space + text
            if not held.strip():
                self._space = held
                return ""
            self._mode, self._space = "answer", ""
            held = held.lstrip() if self._separated else held
            self._context.add(held)
            return held
        if self._mode == "header":
            self._header += text
        if self._raw is not None:
            self._raw.append(text)
            self._context.add(text)
        return ""

    def _tag(self, tag: re.Match[str]) -> tuple[str, bool]:
        """The tag if it is text, and whether the text before it was thinking after all."""
        if tag["token"]:
            return self._token(tag.group(), tag["token"].lower())
        name = (tag["name"] or tag["mark"]).lower()
        ends = bool(tag["end"] or tag["close"])
        if self._mode in ("thinking", "header", "between"):
            if self._name == "" and self._expected and not self._channels:
                if ends and name in _ALONE and self._context.free:
                    return "", self._end_unopened()
                if not ends and self._raw is not None and not "".join(self._raw).strip():
                    self._name, self._raw = name, None
                    return "", False
            elif ends and name == self._name:
                self._begin_answer()
                return "", False
            if self._raw is not None:
                self._raw.append(tag.group())
            return "", False
        if ends:
            if self._lone and name in _ALONE and not self._separated and self._context.free:
                return "", self._end_unopened()
        elif self._mode == "start":
            self._mode, self._name, self._space = "thinking", name, ""
            return "", False
        elif self._context.free and self._context.line_begins:
            self._mode, self._name, self._raw = "thinking", name, [tag.group()]
            return "", False
        return self._plain(tag.group()), False

    def _token(self, text: str, token: str) -> tuple[str, bool]:
        """Handles a mark of gpt-oss's channels; returns as `_tag`."""
        if self._mode == "thinking" and self._name not in ("", "|"):
            if self._raw is not None:
                self._raw.append(text)
            return "", False
        if self._mode == "answer" and not self._channels:
            if not self._context.free or token == "message" or not self._lone:
                return self._plain(text), False
            self._raw = []
        if self._raw is not None:
            self._raw.append(text)
        if token == "channel":
            self._mode, self._header = "header", ""
        elif token != "message":
            self._mode = "between"
        elif self._mode == "header" and self._header.lower().split()[:1] != ["final"]:
            self._mode, self._name, self._channels = "thinking", "|", True
            if not self._context.used:
                self._raw = None
        elif self._mode in ("header", "between", "start"):
            self._channels = True
            if self._context.used and not self._separated:
                return "", self._end_unopened()
            self._begin_answer()
        return "", False

    def _end_unopened(self) -> bool:
        """All text so far was thinking whose begin was not sent."""
        self.unopened = self._context.used
        self._begin_answer()
        return True

    def _begin_answer(self) -> None:
        self._mode, self._name, self._space, self._raw = "start", "", "", None
        self._separated, self._expected = True, False
        self._context = _Context()


class _Context:
    """The text before a tag, as far as it shows whether the tag is meant or quoted."""

    def __init__(self) -> None:
        self.used = False
        self.line_begins = True
        self._depth = 0
        self._fences = 0
        self._tail = ""

    def add(self, text: str) -> None:
        if not text:
            return
        self._depth += text.count("{") - text.count("}")
        joined = self._tail + text
        self._fences += joined.count("```")
        self._tail = "" if joined.endswith("```") else joined[-2:]
        _, newline, line = text.rpartition("\n")
        self.line_begins = not line.strip() and (bool(newline) or self.line_begins)
        self.used = self.used or bool(text.strip())

    @property
    def free(self) -> bool:
        """Whether no quote, code block or object is open here."""
        quoted = self._tail.endswith(_QUOTES)
        return self._depth <= 0 and self._fences % 2 == 0 and not quoted


def answer_of(text: str, *, lone: bool = False) -> str | None:
    """The answer in a complete text; None if its thinking does not reach one.

    Args:
        lone: Whether an end without a begin counts. Endpoints separate their text already: there
            such an end is quoted.
    """
    thinking = Thinking(lone=lone)
    answer = thinking.feed(text)[0] + thinking.rest()
    return None if thinking.unfinished else answer


def _held_back(text: str) -> int:
    """The number of characters at the end of `text` that may begin a tag."""
    for size in range(min(_LONGEST, len(text)), 0, -1):
        if text[-size] in "<[" and any(tag.startswith(text[-size:].lower()) for tag in _TAGS):
            return size
    return 0
