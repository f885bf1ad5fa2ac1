"""Which words of a draft were given up, and which of its revision are new."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from waltzrl_tui.tui.chat.wrap import Span

_MOST_WORDS: Final = 1500
"""Longer texts are shown without marks: comparing takes time that grows with the square."""

_GAP = re.compile(r"(^\s+|\s*\n\s*|\s{2,})")
_PART = re.compile(r"\s*\S+|\s+")


_MOST_GROWING: Final = 400
"""The same for a revision that still streams in, which is compared at every repaint."""


def growing_words(
    draft: str, revision: str, *, kept: str, gone: str, new: str
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """As `changed_words`, of a revision of which only the beginning is there.

    What of the draft comes after the last words that both have is not given up yet.
    """
    before, after = _PART.findall(draft), _PART.findall(revision)
    if not after or len(before) > _MOST_GROWING or len(after) > _MOST_GROWING:
        return ((draft, kept),), ((revision, kept),)
    matcher = _matcher(before, after)
    left: list[Span] = []
    right: list[Span] = []
    reached = max((block.a + block.size for block in matcher.get_matching_blocks()[:-1]), default=0)
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], kept if same or a >= reached else gone, kept)
        _add(right, after[c:d], kept if same else new, kept)
    return tuple(left), tuple(right)


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
    matcher = _matcher(before, after)
    left: list[Span] = []
    right: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], kept if same else gone, kept)
        _add(right, after[c:d], kept if same else new, kept)
    return tuple(left), tuple(right)


def _matcher(before: list[str], after: list[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(
        None, [part.strip() for part in before], [part.strip() for part in after], autojunk=False
    )


def _add(spans: list[Span], parts: list[str], style: str, kept: str) -> None:
    # Gaps are not marked: a struck or underlined indent is hard to read.
    for piece in _GAP.split("".join(parts)):
        if piece:
            spans.append((piece, kept if piece.isspace() else style))
