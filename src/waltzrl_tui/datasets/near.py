"""Texts that are nearly the same: found by MinHash, verified by their true similarity.

A text is the set of its shingles, the runs of 8 bytes in it (k-shingles as in Leskovec, Rajaraman
and Ullman, Mining of Massive Datasets, chapter 3), and two texts are near when the Jaccard
similarity of their sets is at least 0.7: a typing error in 60 characters, or one word in 15. Only
texts that agree in a band of their MinHash signatures (rensa) are compared; a pair at 0.8 is missed
with a chance of 1 in 5,000, at 0.7 of 1 in 80. What is compared is compared exactly, so that no
estimate ever makes a cluster.

Everything is decided in the order of the texts' digests, so the order of a file does not matter.
"""

from __future__ import annotations

import mmap
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import Final

from waltzrl_tui.datasets.shingles import (
    SHINGLE,
    THRESHOLD,
    runs_of,
    shingles,
    similarity,
    text_digest,
)
from waltzrl_tui.errors import DatasetError

__all__ = ["LIMIT", "THRESHOLD", "NearGroups", "NearIndex", "shingles", "similarity", "text_digest"]

LIMIT: Final = 16 * 1024
"""Bytes of a text that are compared."""

_BANDS: Final = 16
_BAND_ROWS: Final = 4
_PERMUTATIONS: Final = _BANDS * _BAND_ROWS
_KEY: Final = 2**32 - 1
_SEED: Final = 7
_BATCH_BYTES: Final = 4 * 1024 * 1024
# A bucket or a component is compared with so many of its first members, which keeps the cost of a
# template with a hundred thousand variations linear.
_HUBS: Final = 24
_SETS_KEPT: Final = 1024


@dataclass(frozen=True)
class NearGroups:
    """What is near what, by the numbers that `NearIndex.add` gave.

    Attributes:
        component: For each text the number of the first text of its component: texts that are
            linked, however long the chain. Texts of two components are not near.
        cluster: For each text the number of the text that it is near to itself, its own for the
            others. No chains: every member of a cluster is near to its centre.
        lowest: The lowest similarity to its centre in each cluster of several texts.
        contaminated: Texts that are near a reference: the reference, and how similar they are.
    """

    component: array[int]
    cluster: array[int]
    lowest: dict[int, float] = field(default_factory=dict)
    contaminated: dict[int, tuple[int, float]] = field(default_factory=dict)

    @property
    def clusters(self) -> int:
        """How many texts are left when one of each cluster is kept."""
        return sum(number == centre for number, centre in enumerate(self.cluster))


class NearIndex:
    """Different texts: 100 bytes of memory for each, and their bytes in a temporary file.

    Not safe to use from several threads at once. Close it, or use it in a `with`.
    """

    def __init__(self) -> None:
        try:
            self._file = tempfile.TemporaryFile(buffering=1 << 20)  # noqa: SIM115
        except OSError as error:
            raise _no_room(error) from error
        self._ends = array("Q", [0])
        self._digests = array("Q")
        self._bands = [array("I") for _ in range(_BANDS)]
        self._pending: list[bytes] = []
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._digests)

    def __enter__(self) -> NearIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()

    def add(self, digest: int, text: str) -> int:
        """Take one more text and give its number, from 0.

        Args:
            digest: 64 bits that tell this text from all others; decides the order.
            text: Normalised.

        Raises:
            DatasetError: There is no room for the temporary file.
        """
        raw = text.encode("utf-8", "replace")[:LIMIT]
        runs = runs_of(raw)
        try:
            self._file.write(raw)
        except OSError as error:
            raise _no_room(error) from error
        self._ends.append(self._ends[-1] + len(raw))
        self._digests.append(digest)
        self._pending.append(runs)
        self._waiting += len(runs)
        if self._waiting >= _BATCH_BYTES:
            self._sign()
        return len(self._digests) - 1

    def groups(self, references: int = 0, *, stop: Callable[[], bool] | None = None) -> NearGroups:
        """Find what is near what.

        Args:
            references: The first so many texts are references: they are in no component and
                no cluster, but what is near them is told.
            stop: Asked now and then; when it says so, what is found until there is given.

        Raises:
            DatasetError: There is no room for the temporary file.
        """
        self._sign()
        count = len(self)
        roots = array("Q", range(count))
        contaminated: dict[int, tuple[int, float]] = {}
        if count < 2:
            return NearGroups(roots, array("Q", roots))
        with _Texts(self) as texts:
            for bucket in self._buckets(stop):
                known = [number for number in bucket if number < references]
                found = [number for number in bucket if number >= references]
                for number in found if known else ():
                    _check(texts, number, known, contaminated)
                _link(texts, found, roots)
            for number in range(count):
                roots[number] = _root(roots, number)
            return self._clustered(texts, roots, contaminated, stop)

    def _clustered(
        self,
        texts: _Texts,
        roots: array[int],
        contaminated: dict[int, tuple[int, float]],
        stop: Callable[[], bool] | None,
    ) -> NearGroups:
        members: defaultdict[int, list[int]] = defaultdict(list)
        seen = set()
        for number, root in enumerate(roots):
            if number != root:
                seen.add(root)
        for number, root in enumerate(roots):
            if root in seen:
                members[root].append(number)
        cluster = array("Q", range(len(roots)))
        lowest: dict[int, float] = {}
        for group in members.values():
            if stop and stop():
                break
            # The name of a component is its first text by digest, whatever was linked first.
            group.sort(key=self._order)
            for number in group:
                roots[number] = group[0]
            centres: list[int] = []
            for number in group:
                for centre in centres[:_HUBS]:
                    found = similarity(texts.shingles(centre), texts.shingles(number))
                    if found >= THRESHOLD:
                        cluster[number] = centre
                        lowest[centre] = min(found, lowest.get(centre, 1.0))
                        break
                else:
                    centres.append(number)
        return NearGroups(roots, cluster, lowest, contaminated)

    def _order(self, number: int) -> tuple[int, int]:
        return self._digests[number], number

    def _sign(self) -> None:
        """Compute the signatures of the texts that wait, and keep a key a band of each."""
        if not self._pending:
            return
        from rensa import RMinHash

        offsets = array("Q", [0])
        for runs in self._pending:
            offsets.append(offsets[-1] + len(runs) // SHINGLE)
        flat = memoryview(b"".join(self._pending)).cast("Q")
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, offsets, _PERMUTATIONS, _SEED)
        columns = list(zip(*matrix.to_rows(), strict=True))
        for number, band in enumerate(self._bands):
            begin = number * _BAND_ROWS
            rows = zip(*columns[begin : begin + _BAND_ROWS], strict=True)
            band.extend([key & _KEY for key in map(hash, rows)])
        self._pending.clear()
        self._waiting = 0

    def _buckets(self, stop: Callable[[], bool] | None) -> Iterator[list[int]]:
        """Texts with the same key in a band, each list in the order of the digests."""
        for band in self._bands:
            first: dict[int, int] = {}
            buckets: dict[int, list[int]] = {}
            for number, key in enumerate(band):
                other = first.setdefault(key, number)
                if other != number:
                    buckets.setdefault(key, [other]).append(number)
            del first
            for asked, bucket in enumerate(buckets.values()):
                if stop and asked % 256 == 0 and stop():
                    return
                bucket.sort(key=self._order)
                yield bucket


class _Texts:
    """The texts of an index, read back as sets of shingles."""

    def __init__(self, index: NearIndex) -> None:
        try:
            index._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        self._ends = index._ends
        self._map = (
            mmap.mmap(index._file.fileno(), 0, access=mmap.ACCESS_READ) if self._ends[-1] else None
        )
        self.shingles = lru_cache(_SETS_KEPT)(self._shingles)

    def __enter__(self) -> _Texts:
        return self

    def __exit__(self, *_: object) -> None:
        self.shingles.cache_clear()
        if self._map is not None:
            self._map.close()

    def _shingles(self, number: int) -> frozenset[int]:
        begin, end = self._ends[number], self._ends[number + 1]
        return shingles(self._map[begin:end] if self._map is not None else b"")


def _check(
    texts: _Texts, number: int, known: Sequence[int], found: dict[int, tuple[int, float]]
) -> None:
    for reference in known:
        share = similarity(texts.shingles(reference), texts.shingles(number))
        if share >= THRESHOLD:
            best = found.get(number)
            if best is None or (-share, reference) < (-best[1], best[0]):
                found[number] = (reference, share)


def _link(texts: _Texts, bucket: Sequence[int], roots: array[int]) -> None:
    for place, number in enumerate(bucket):
        for other in bucket[: min(place, _HUBS)]:
            one, two = _root(roots, number), _root(roots, other)
            if one == two:
                continue
            if similarity(texts.shingles(other), texts.shingles(number)) >= THRESHOLD:
                roots[max(one, two)] = min(one, two)


def _root(roots: array[int], number: int) -> int:
    while roots[number] != number:
        roots[number] = roots[roots[number]]
        number = roots[number]
    return number


def _no_room(error: OSError) -> DatasetError:
    return DatasetError(
        f"No temporary file for near duplicates: {error.strerror or error}.",
        hint="Free some room, or point TMPDIR at a folder that has it.",
    )
