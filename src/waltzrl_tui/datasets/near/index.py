"""Texts that are nearly the same: proposed by MinHash, verified by their exact similarity.

A text is the set of its shingles, the runs of 8 bytes in it (k-shingles as in Leskovec, Rajaraman
and Ullman, Mining of Massive Datasets, chapter 3), and two texts are near when the Jaccard
similarity of their sets is at least 0.7: a typing error in 60 characters, or one word in 15. Only
texts that agree in a band of their MinHash signatures (rensa) are compared; a pair at 0.8 is missed
with a chance of 1 in 5,000, at 0.7 of 1 in 80. Comparisons are exact, so that no cluster rests on
an estimate.

Everything is decided in the order of the texts' digests, so the order of a file does not matter.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Final, Literal

from waltzrl_tui.datasets.near.shingles import (
    THRESHOLD,
    flat_runs,
    padded,
    shingles,
    similarity,
    text_digest,
)
from waltzrl_tui.datasets.near.signatures import Bands
from waltzrl_tui.errors import DatasetError

__all__ = ["LIMIT", "THRESHOLD", "NearGroups", "NearIndex", "text_digest"]

LIMIT: Final = 16 * 1024
"""Bytes of a text that are compared."""

_BATCH_BYTES: Final = 512 * 1024
# Members of a bucket or component are compared with this many of its first ones, which keeps the
# cost of a template with a hundred thousand variations linear.
_HUBS: Final = 24
# More than a bucket needs; a set takes up to 70 bytes for each of the LIMIT.
_SETS_KEPT: Final = 32

Depth = Literal["references", "components", "clusters"]


@dataclass(frozen=True)
class NearGroups:
    """Groups of near texts, by the numbers from `NearIndex.add`.

    Attributes:
        component: For each text the number of the first text of its component: texts that are
            linked, however long the chain. Texts of two components are not near.
        cluster: For each text the number of the centre that it is near, its own where there is
            none. No chains: every member is near its centre. Empty below depth `clusters`.
        lowest: The lowest similarity to its centre in each cluster of several texts.
        contaminated: For each text near a reference, that reference and the similarity.
    """

    component: array[int]
    cluster: array[int]
    lowest: dict[int, float] = field(default_factory=dict)
    contaminated: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def clusters(self) -> int:
        """The number of texts when one of each cluster is kept."""
        return sum(number == centre for number, centre in enumerate(self.cluster))


class NearIndex:
    """Distinct texts: 16 bytes of memory each, and their bytes in a temporary file.

    Not safe to use from several threads at once. Close it, or use it in a `with`.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115
        except OSError as error:
            raise _no_room(error) from error
        self._ends = array("Q", [0])
        self._digests = array("Q")

    def __len__(self) -> int:
        return len(self._digests)

    def __enter__(self) -> NearIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> bytes:
        """Identifies these texts in this order: the same fingerprint means the same groups."""
        return sha256(self._digests).digest()

    def close(self) -> None:
        """Delete the temporary file."""
        self._file.close()

    def add(self, digest: int, text: str) -> int:
        """Add a text and return its number, from 0.

        Args:
            digest: 64 bits that identify the text and decide the order.
            text: Normalised.

        Raises:
            DatasetError: Not enough space for the temporary file.
        """
        raw = padded(text.encode("utf-8", "replace")[:LIMIT])
        try:
            self._file.write(raw)
        except OSError as error:
            raise _no_room(error) from error
        self._ends.append(self._ends[-1] + len(raw))
        self._digests.append(digest)
        return len(self._digests) - 1

    def groups(
        self,
        references: int = 0,
        *,
        depth: Depth = "clusters",
        stop: Callable[[], bool] | None = None,
    ) -> NearGroups:
        """Group the near texts. Takes about 100 bytes more per text while it runs.

        Args:
            references: The number of texts, from the first, that are references: they are in no
                component or cluster, but texts near them are reported.
            depth: Texts near a reference only, components too, or clusters too.
            stop: Checked now and then; once true, the groups found so far are returned.

        Raises:
            DatasetError: Not enough space for the temporary file.
        """
        count = len(self)
        roots = array("Q", range(count))
        contaminated: dict[int, tuple[int, float]] = {}
        linked = depth != "references"
        if count < 2 or not (linked or references):
            return NearGroups(roots, array("Q", roots))
        texts = _StoredTexts(self)
        links = _Links(texts, roots)
        for bucket in texts.bands(stop).buckets(stop, below=None if linked else references):
            if bucket[0] < references:
                known = [number for number in bucket if number < references]
                bucket = bucket[len(known) :]
                for number in bucket:
                    _check(texts, number, known, contaminated)
            if linked:
                # Which texts are compared must not depend on file order.
                bucket.sort(key=self._digests.__getitem__)
                links.add(bucket)
        links.flatten()
        return self._clustered(links, contaminated, depth == "clusters", stop)

    def _clustered(
        self,
        links: _Links,
        contaminated: dict[int, tuple[int, float]],
        clusters: bool,
        stop: Callable[[], bool] | None,
    ) -> NearGroups:
        roots = links.roots
        members: defaultdict[int, list[int]] = defaultdict(list)
        for number, root in enumerate(roots):
            if number != root:
                members[root].append(number)
        cluster = array("Q", range(len(roots)) if clusters else ())
        lowest: dict[int, float] = {}
        for root, others in members.items():
            if stop and stop():
                break
            # A component is named by its first text by digest, whatever was linked first.
            group = sorted((root, *others), key=self._digests.__getitem__)
            for number in group:
                roots[number] = group[0]
            centres: list[int] = []
            for number in group if clusters else ():
                for centre in centres[:_HUBS]:
                    share = links.similarity(centre, number)
                    if share >= THRESHOLD:
                        cluster[number] = centre
                        lowest[centre] = min(share, lowest.get(centre, 1.0))
                        break
                else:
                    centres.append(number)
        return NearGroups(roots, cluster, lowest, contaminated)


class _StoredTexts:
    """The texts of an index, read back as their shingles."""

    def __init__(self, index: NearIndex) -> None:
        try:
            index._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        self._ends = index._ends
        self._file = index._file.fileno()
        self.shingles = lru_cache(_SETS_KEPT)(self._shingles)

    def bands(self, stop: Callable[[], bool] | None) -> Bands:
        """The signatures of all texts, or of those done before `stop` was true."""
        bands = Bands()
        first, count = 0, len(self._ends) - 1
        while first < count and not (stop and stop()):
            begin = self._ends[first]
            last = max(first + 1, bisect_right(self._ends, begin + _BATCH_BYTES) - 1)
            offsets = array("Q", [end - begin for end in self._ends[first : last + 1]])
            raw = os.pread(self._file, offsets[-1], begin)
            bands.add(flat_runs(raw, offsets[1:]), offsets)
            first = last
        return bands

    def _shingles(self, number: int) -> frozenset[int]:
        begin = self._ends[number]
        return shingles(os.pread(self._file, self._ends[number + 1] - begin, begin))


def _check(
    texts: _StoredTexts, number: int, known: Sequence[int], matches: dict[int, tuple[int, float]]
) -> None:
    for reference in known:
        share = similarity(texts.shingles(reference), texts.shingles(number))
        if share >= THRESHOLD:
            best = matches.get(number)
            if best is None or (-share, reference) < (-best[1], best[0]):
                matches[number] = (reference, share)


class _Links:
    """Links between near texts (a disjoint-set forest), and the similarity of linked pairs.

    `roots` leads from each text to another of its component, and in the end to its root.
    """

    def __init__(self, texts: _StoredTexts, roots: array[int]) -> None:
        self._texts, self.roots = texts, roots
        # At most one per text: texts that are linked already are not compared.
        self._near: dict[tuple[int, int], float] = {}

    def add(self, bucket: Sequence[int]) -> None:
        """Link those of `bucket` that are near."""
        for place, number in enumerate(bucket):
            for other in bucket[: min(place, _HUBS)]:
                one, two = _root(self.roots, number), _root(self.roots, other)
                if one == two:
                    continue
                share = self.similarity(other, number)
                if share >= THRESHOLD:
                    self._near[other, number] = share
                    self.roots[max(one, two)] = min(one, two)

    def flatten(self) -> None:
        """Point each text directly at its root."""
        for number in range(len(self.roots)):
            self.roots[number] = _root(self.roots, number)

    def similarity(self, one: int, other: int) -> float:
        """The Jaccard similarity of two texts."""
        known = self._near.get((one, other))
        if known is not None:
            return known
        return similarity(self._texts.shingles(one), self._texts.shingles(other))


def _root(roots: array[int], number: int) -> int:
    while roots[number] != number:
        roots[number] = roots[roots[number]]
        number = roots[number]
    return number


def _no_room(error: OSError) -> DatasetError:
    return DatasetError(
        f"Cannot create a temporary file for near duplicates: {error.strerror or error}.",
        hint="Free some space, or point TMPDIR at a folder that has more.",
    )
