"""How the values of a label field were read: shown so that nobody trains on inverted labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from waltzrl_tui.datasets.reading.rows import plain_name
from waltzrl_tui.text import one_line
from waltzrl_tui.words import plural

_KEPT: Final = 1000
_OTHER: Final = "(other)"


@dataclass(frozen=True, slots=True)
class LabelValue:
    """One value of a label field, as text.

    Attributes:
        meaning: The label it was read as; "" where it was not understood.
    """

    value: str
    meaning: str
    rows: int

    @property
    def plain(self) -> bool:
        """Whether the value is the name of its meaning."""
        return plain_name(self.value) == self.meaning

    @property
    def words(self) -> str:
        """`true → harmful`; just `harmful` where that is the value."""
        if self.plain:
            return one_line(self.value, 40)
        return f"{one_line(self.value, 40)} → {self.meaning or 'not understood'}"


class LabelCounter:
    """Counts the values of one field."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str]] = Counter()

    def add(self, value: str, meaning: str) -> None:
        """Count one row."""
        known = (value, meaning) in self._rows or len(self._rows) < _KEPT
        self._rows[(value if known else _OTHER), meaning] += 1

    def values(self) -> list[LabelValue]:
        """Most frequent first, those that were not understood last."""
        values = [
            LabelValue(value=value, meaning=meaning, rows=rows)
            for (value, meaning), rows in self._rows.items()
        ]
        return sorted(values, key=lambda one: (not one.meaning, -one.rows, one.value))


def shown_values(values: Sequence[LabelValue], limit: int) -> list[LabelValue]:
    """At most `limit` values that were understood, and twice as many that were not."""
    return [
        *[one for one in values if one.meaning][:limit],
        *[one for one in values if not one.meaning][: 2 * limit],
    ]


def format_label_values(values: Sequence[LabelValue], limit: int = 6) -> str:
    """`true → harmful: 120 rows, false → benign: 80 rows`."""
    shown = shown_values(values, limit)
    words = [f"{one.words}: {plural(one.rows, 'row')}" for one in shown]
    if rest := len(values) - len(shown):
        words.append(plural(rest, "more value"))
    return ", ".join(words)
