"""Count and sort millions of values in chunks, so that other threads can run.

A call into C holds the interpreter lock until it returns: sorting two million tuples in a thread
would freeze the screen for seconds.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

_STEP: Final = 20_000
_PARTS: Final = 256

T = TypeVar("T", bound=tuple[Any, ...])


def count_values(values: array[int]) -> Counter[int]:
    """How often each value occurs."""
    counts: Counter[int] = Counter()
    for first in range(0, len(values), _STEP):
        counts.update(values[first : first + _STEP])
    return counts


def count_distinct(values: array[int]) -> int:
    """The number of distinct values."""
    unique: set[int] = set()
    for first in range(0, len(values), _STEP):
        unique.update(values[first : first + _STEP])
    return len(unique)


def sort_in_parts(rows: Iterable[T], share: Callable[[T], float]) -> Iterator[T]:
    """`rows` sorted.

    Args:
        share: The position of a row, from 0 up to but excluding 1; monotonic in the order.
    """
    parts: list[list[T]] = [[] for _ in range(_PARTS)]
    for row in rows:
        parts[int(share(row) * _PARTS)].append(row)
    for part in parts:
        part.sort()
        yield from part
        part.clear()
