"""The parts of a reply and its verdict, in order and in words; every view only styles them.

Titles and texts can hold text from outside: whoever shows a part must make both printable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.records.verdict import TEXTS, Verdict
from waltzrl_tui.waltz.events import ending_words

EMPTY: Final = "(empty)"
"""Stands where a reply has no text."""
FINAL_REPLY: Final = "final reply"
"""The title of the reply that the user gets, where it is not the last one."""

Tone = Literal["plain", "soft", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Part:
    """A title on one line, and the text under it, if any."""

    title: str
    text: str = ""
    tone: Tone = "plain"


def round_title(number: int, count: int) -> str:
    """What the reply of round `number` (from 0) of `count` is called."""
    if number:
        return f"revision {number}"
    return "reply" if count == 1 else "draft"


def reply_parts(title: str, reply: str, finish: str = "") -> list[Part]:
    """A reply, and why it is empty or cut off, if it is.

    Args:
        finish: Why it ended, in its server's word.
    """
    parts = [Part(title, reply if reply.strip() else EMPTY)]
    if cause := ending_words(reply, Origin(finish=finish)):
        parts.append(Part(cause, tone="bad"))
    return parts


def verdict_parts(verdict: Verdict | None, *, error: str, raw: str, finish: str) -> list[Part]:
    """A verdict with its flags, reasoning and feedback; nothing where none was asked for.

    Args:
        error: Why it cannot be read; `raw` is its text then.
        finish: Why it ended, in its server's word.
    """
    if verdict is None:
        return [Part(f"unreadable verdict: {error}", raw, "bad")] if error else []
    flags = ", ".join(verdict.labels)
    parts = [Part(f"verdict: {flags or 'satisfactory'}", tone="bad" if flags else "good")]
    for name, field in TEXTS.items():
        text = getattr(verdict, name)
        if text.strip():
            parts.append(Part(field.label, text, "soft"))
    if finish == "length":
        parts.append(Part("the verdict was cut off at its token limit", tone="bad"))
    return parts
