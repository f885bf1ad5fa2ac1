"""Which words of a draft were dropped, and which of its revision are new."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from waltzrl_tui.tui.chat.wrap import Span

_MOST_WORDS: Final = 1500
"""Longer texts get no marks: the time to compare grows with the square of their length."""

_GAP = re.compile(r"(^\s+|\s*\n\s*|\s{2,})")
_PART = re.compile(r"\s*\S+|\s+")


_MOST_GROWING: Final = 400
"""The same for a revision that still streams in, which is compared at every repaint."""


def growing_words(
    draft: str, revision: str, *, both: str, gone: str, new: str
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """As `changed_words`, for a revision that is still streaming in.

    The draft beyond the last words that both have may still be kept, so it is not marked.
    """
    before, after = _PART.findall(draft), _PART.findall(revision)
    if not after or len(before) > _MOST_GROWING or len(after) > _MOST_GROWING:
        return ((draft, both),), ((revision, both),)
    matcher = _matcher(before, after)
    left: list[Span] = []
    right: list[Span] = []
    reached = max((block.a + block.size for block in matcher.get_matching_blocks()[:-1]), default=0)
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], both if same or a >= reached else gone, both)
        _add(right, after[c:d], both if same else new, both)
    return tuple(left), tuple(right)


@lru_cache(maxsize=64)
def changed_words(
    draft: str, revision: str, *, both: str, gone: str, new: str
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Both texts in pieces with their styles: `both`; `gone` in the draft, `new` in the revision.

    The pieces of either side joined are that text.
    """
    before, after = _PART.findall(draft), _PART.findall(revision)
    if len(before) > _MOST_WORDS or len(after) > _MOST_WORDS:
        return ((draft, both),), ((revision, both),)
    matcher = _matcher(before, after)
    left: list[Span] = []
    right: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], both if same else gone, both)
        _add(right, after[c:d], both if same else new, both)
    return tuple(left), tuple(right)


def _matcher(before: list[str], after: list[str]) -> SequenceMatcher[str]:
    return SequenceMatcher(
        None, [part.strip() for part in before], [part.strip() for part in after], autojunk=False
    )


def _add(spans: list[Span], parts: list[str], style: str, both: str) -> None:
    # Gaps are not marked: a struck or underlined indent is hard to read.
    for piece in _GAP.split("".join(parts)):
        if piece:
            spans.append((piece, both if piece.isspace() else style))
