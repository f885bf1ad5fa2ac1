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

Sides = tuple[tuple[Span, ...], tuple[Span, ...]]


def growing_words(draft: str, revision: str, *, both: str, gone: str, new: str) -> Sides:
    """As `changed_words`, for a revision that is still streaming in.

    The draft beyond the last words that both have may still be kept, so it is not marked.
    """
    return _compare(draft, revision, both, gone, new, growing=True)


@lru_cache(maxsize=64)
def changed_words(draft: str, revision: str, *, both: str, gone: str, new: str) -> Sides:
    """Both texts in pieces with their styles: `both`; `gone` in the draft, `new` in the revision.

    The pieces of either side joined are that text.
    """
    return _compare(draft, revision, both, gone, new, growing=False)


def _compare(draft: str, revision: str, both: str, gone: str, new: str, *, growing: bool) -> Sides:
    before, after = _PART.findall(draft), _PART.findall(revision)
    most = _MOST_GROWING if growing else _MOST_WORDS
    if max(len(before), len(after)) > most or (growing and not after):
        return ((draft, both),), ((revision, both),)
    matcher = SequenceMatcher(
        None, [part.strip() for part in before], [part.strip() for part in after], autojunk=False
    )
    reached = len(before)
    if growing:
        blocks = matcher.get_matching_blocks()[:-1]
        reached = max((block.a + block.size for block in blocks), default=0)
    left: list[Span] = []
    right: list[Span] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        same = tag == "equal"
        _add(left, before[a:b], both if same or a >= reached else gone, both)
        _add(right, after[c:d], both if same else new, both)
    return tuple(left), tuple(right)


def _add(spans: list[Span], parts: list[str], style: str, both: str) -> None:
    # Gaps are not marked: a struck or underlined indent is hard to read.
    for piece in _GAP.split("".join(parts)):
        if piece:
            spans.append((piece, both if piece.isspace() else style))
