"""Which words of a draft were given up, and which of its revision are new."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from waltzrl_tui.tui.widgets.chat_wrap import Span

_MOST_WORDS: Final = 1500
"""Longer texts are shown without marks: comparing takes time that grows with the square."""

_GAP = re.compile(r"(^\s+|\s*\n\s*|\s{2,})")
_PART = re.compile(r"\s*\S+|\s+")


@lru_cache(maxsize=64)
def changed_words(
    draft: str, revision: str, *, kept: str, gone: str, new: str
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Both texts in pieces, each with a style: `kept`, or `gone` in the draft, `new` after it.

    The pieces of either side joined are that text.
    """
    before, after = _PART.findall(draft), _PART.findall(revision)
    if len(before) > _MOST_WORDS or len(after) > _MOST_WORDS:
        return ((draft, kept),), ((revision, kept),)
    matcher = SequenceMatcher(
        None, [part.strip() for part in before], [part.strip() for part in after], autojunk=False
    )
    left: list[Span] = []
    right: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], kept if same else gone, kept)
        _add(right, after[c:d], kept if same else new, kept)
    return tuple(left), tuple(right)


def _add(spans: list[Span], parts: list[str], style: str, kept: str) -> None:
    # Gaps are not marked: a struck or underlined indent is hard to read.
    for piece in _GAP.split("".join(parts)):
        if piece:
            spans.append((piece, kept if piece.isspace() else style))
