"""MinHash signatures (rensa) in bands: texts that agree in one of them may be near."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from waltzrl_tui.datasets.near.chunked import count_values

_BANDS: Final = 16
_BAND_ROWS: Final = 4
_KEY: Final = 2**32 - 1
_SEED: Final = 7
# A key is made of its four 32-bit numbers taken as two of 64.
_PAIRS: Final = _BANDS * _BAND_ROWS // 2


class Bands:
    """For each text a 32-bit key per band: 64 bytes per text."""

    def __init__(self) -> None:
        self._keys = [array("I") for _ in range(_BANDS)]

    def add(self, runs: array[int], offsets: array[int]) -> None:
        """Add the texts whose shingles are in `runs`, each from its offset to the next."""
        from rensa import RMinHash

        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            runs, offsets, _BANDS * _BAND_ROWS, _SEED
        )
        values = memoryview(array("I", chain.from_iterable(matrix.to_rows()))).cast("B").cast("Q")
        for band, keys in enumerate(self._keys):
            pairs = zip(values[2 * band :: _PAIRS], values[2 * band + 1 :: _PAIRS], strict=True)
            keys.extend([key & _KEY for key in map(hash, pairs)])

    def buckets(
        self, stop: Callable[[], bool] | None, *, below: int | None = None
    ) -> Iterator[list[int]]:
        """For each band, the ascending numbers of texts that share a key in it.

        Each band is freed after use, so this works once.

        Args:
            below: Only buckets with a number below this one.
        """
        while self._keys:
            keys = self._keys.pop()
            for place, bucket in enumerate(_same(keys, keys[:below])):
                if stop and place % 256 == 0 and stop():
                    return
                yield bucket


def _same(keys: array[int], keys_below: array[int]) -> Iterable[list[int]]:
    # Most keys occur once and need no list.
    if len(keys_below) < len(keys):
        buckets: dict[int, list[int]] = {key: [] for key in keys_below}
    else:
        buckets = {key: [] for key, count in count_values(keys).items() if count > 1}
    for number, key in enumerate(keys):
        if key in buckets:
            buckets[key].append(number)
    return buckets.values()
