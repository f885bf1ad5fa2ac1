"""A text as the set of its shingles, and how similar two such sets are."""

from __future__ import annotations

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


def shingles(text: bytes) -> frozenset[int]:
    """The runs of 8 bytes of `text`, with a space put at both ends; never empty."""
    return frozenset(memoryview(runs_of(text)).cast("Q"))


def similarity(one: frozenset[int], other: frozenset[int]) -> float:
    """The Jaccard similarity of two sets, 0 to 1; 0 at once when their sizes rule out a match."""
    small, large = sorted((len(one), len(other)))
    if small < THRESHOLD * large:
        return 0.0
    shared = len(one & other)
    return shared / (small + large - shared)


def runs_of(text: bytes) -> bytes:
    """All runs of 8 bytes one after the other, as native 64-bit numbers."""
    padded = b" %b " % text
    if len(padded) < SHINGLE:
        padded = padded.ljust(SHINGLE, b"\0")
    size = len(padded)
    return b"".join(
        [padded[first : first + ((size - first) & -SHINGLE)] for first in range(SHINGLE)]
    )
