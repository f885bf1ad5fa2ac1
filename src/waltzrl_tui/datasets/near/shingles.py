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


def text_digest(*parts: str) -> int:
    """64 bits that tell a text, or several together, from others; the same on any machine.

    Two of n texts are taken for one with a chance of n²/2⁶⁵: 1 in 2,000 for a hundred million.
    """
    raw = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(raw, digest_size=8).digest(), "big")


def padded(text: bytes) -> bytes:
    """`text` with a space at both ends, and long enough for one shingle."""
    return (b" %b " % text).ljust(SHINGLE, b"\0")


def shingles(text: bytes) -> frozenset[int]:
    """The runs of 8 bytes of `padded(text)`; never empty."""
    return shingles_of(padded(text))


def shingles_of(raw: bytes) -> frozenset[int]:
    """The runs of 8 bytes of a text that is padded already."""
    return frozenset(_runs(raw))


def similarity(one: frozenset[int], other: frozenset[int]) -> float:
    """The Jaccard similarity of two sets, 0 to 1; 0 at once when their sizes rule out a match."""
    small, large = sorted((one, other), key=len)
    if len(small) < THRESHOLD * len(large):
        return 0.0
    # Two texts that are near differ in little: what they share would take longer to put together.
    shared = len(small) - len(small - large)
    return shared / (len(small) + len(large) - shared)


def flat_runs(raw: bytes, ends: Sequence[int]) -> array[int]:
    """The runs of all texts in `raw`, one for each of its bytes: text after text, in one array.

    A run must not reach into the next text: where one would, the first run of its own text stands
    once more instead, which changes nothing of the set.

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
    # Every eighth of them stands in `raw` as it is needed.
    for first in range(min(SHINGLE, count)):
        whole = (len(raw) - first) // SHINGLE * SHINGLE
        runs[first::SHINGLE] = array("Q", raw[first : first + whole])
    return runs
