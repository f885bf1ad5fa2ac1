"""A text as the set of its shingles, and how similar two such sets are."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

THRESHOLD: Final = 0.7
"""Jaccard similarity of the shingles from which two texts count as near."""

SHINGLE: Final = 8
"""Bytes of a shingle: a 64-bit number, so that a set of them is made without a loop."""


def text_digest(text: str) -> int:
    """64 bits that identify a text; the same on any machine.

    The chance that two of n texts collide is n²/2⁶⁵: 1 in 2,000 for a hundred million.
    """
    raw = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "big")


def padded(text: bytes) -> bytes:
    """`text` with a space at both ends, and long enough for one shingle."""
    return (b" %b " % text).ljust(SHINGLE, b"\0")


def shingles(raw: bytes) -> frozenset[int]:
    """The runs of 8 bytes of a padded text; never empty."""
    return frozenset(_runs(raw))


def similarity(one: frozenset[int], other: frozenset[int]) -> float:
    """The Jaccard similarity of two sets, 0 to 1; 0 at once when their sizes rule out a match."""
    small, large = sorted((one, other), key=len)
    if len(small) < THRESHOLD * len(large):
        return 0.0
    # Near texts differ in little, so the difference is faster to compute than the intersection.
    shared = len(small) - len(small - large)
    return shared / (len(small) + len(large) - shared)


def flat_runs(raw: bytes, ends: Sequence[int]) -> array[int]:
    """The runs of all texts in `raw`, one per byte, text after text in one array.

    A run that would reach into the next text is replaced by the first run of its own text, which
    leaves the set unchanged.

    Args:
        raw: Padded texts, one after the other.
        ends: Where each of them ends.
    """
    flat = _runs(raw + b"\0" * (SHINGLE - 1))
    begin = 0
    for end in ends:
        tail = end - SHINGLE + 1
        flat[tail:end] = array("Q", (flat[begin],)) * (SHINGLE - 1)
        begin = end
    return flat


def _runs(raw: bytes) -> array[int]:
    """The run of 8 bytes, as a native 64-bit number, at each place of `raw` that has one."""
    count = len(raw) - SHINGLE + 1
    runs = array("Q", bytes(SHINGLE * count))
    # Every eighth run is in `raw` as it is.
    for first in range(min(SHINGLE, count)):
        whole = (len(raw) - first) // SHINGLE * SHINGLE
        runs[first::SHINGLE] = array("Q", raw[first : first + whole])
    return runs
