"""Counting and sorting millions of values in steps, so that other threads get their turn.

One call into C keeps the interpreter to itself until it returns: sorting two million tuples would
stop the screen for seconds although it happens in another thread.
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
    """How often each value is there."""
    counts: Counter[int] = Counter()
    for first in range(0, len(values), _STEP):
        counts.update(values[first : first + _STEP])
    return counts


def count_distinct(values: array[int]) -> int:
    """How many different values there are."""
    values_seen: set[int] = set()
    for first in range(0, len(values), _STEP):
        values_seen.update(values[first : first + _STEP])
    return len(values_seen)


def sort_in_parts(rows: Iterable[T], share: Callable[[T], float]) -> Iterator[T]:
    """`rows` sorted.

    Args:
        share: Where a row belongs, from 0 up to but without 1; it never falls from a row to a
            greater one.
    """
    parts: list[list[T]] = [[] for _ in range(_PARTS)]
    for row in rows:
        parts[int(share(row) * _PARTS)].append(row)
    for part in parts:
        part.sort()
        yield from part
        part.clear()
