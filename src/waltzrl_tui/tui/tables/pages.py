"""The rows of an open dataset by page: read in threads, parsed, and cut to what a line shows."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from waltzrl_tui.datasets.reading.parse import parse_row
from waltzrl_tui.datasets.reading.read import MAX_LINE, open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.text import one_line

_PAGE_BYTES = 64 * 1024
_CELL = 400


@dataclass(frozen=True, slots=True)
class Line:
    """What one line of the table shows. `number` is the line's in the file, from 0."""

    number: int
    prompt: str = ""
    reply: str = ""
    harm: str = ""
    category: str = ""
    bad: str = ""
    blank: bool = False


class OpenDataset:
    """A dataset on the screen: its index and its mapping. Methods that read block."""

    def __init__(self, path: Path) -> None:
        """Open the dataset at `path` and begin to count its lines.

        Raises:
            DatasetError: It cannot be read, or has no usable row.
        """
        self.path = path
        dataset = open_dataset(path)
        self.mapping: Mapping = dataset.mapping
        self.index = dataset.source.index()
        self.size = path.stat().st_size
        self.index.start()

    def lines(self, first: int, count: int) -> list[Line]:
        """The lines `first` to `first + count - 1`, as far as they are known."""
        raw = self.index.page(first, count, limit=_PAGE_BYTES)
        return [self._line(first + place, line) for place, line in enumerate(raw)]

    def some(self, numbers: array[int]) -> list[Line]:
        """The lines of those numbers."""
        return [line for number in numbers for line in self.lines(number, 1)]

    def row(self, number: int) -> tuple[Row | BadRow | None, bytes]:
        """One line as a row, None when it is blank, and its bytes (the first 8 MB)."""
        raw = self.index.line(number, limit=MAX_LINE + 1) or b""
        if not raw.strip():
            return None, raw
        if len(raw) > MAX_LINE:
            return BadRow(number + 1, f"line longer than {MAX_LINE // 1024 // 1024} MB"), raw
        return parse_row(number + 1, raw, self.mapping), raw

    def close(self) -> None:
        self.index.close()

    def _line(self, number: int, raw: bytes) -> Line:
        row: Row | BadRow | None
        if len(raw) >= _PAGE_BYTES:
            row, _ = self.row(number)
        elif raw.strip():
            row = parse_row(number + 1, raw, self.mapping)
        else:
            row = None
        if row is None:
            return Line(number, blank=True)
        if isinstance(row, BadRow):
            return Line(number, bad=one_line(row.reason, _CELL))
        return Line(
            number,
            prompt=one_line(row.prompt, _CELL),
            reply=one_line(row.reply, _CELL),
            harm=row.harm,
            category=one_line(row.category, 60),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """The matching lines, ascending; they grow while the search runs.

    Attributes:
        title: What they share, for the title of the pane: "with “kill”", "where tokens > 100".
        query: The text that was searched for, "" otherwise.
        mark: The text to highlight in them.
        empty: The message when there are none.
        kind: Whether they match a query, are bad, or are a fixed list.
    """

    title: str
    lines: array[int]
    query: str = ""
    mark: str = ""
    empty: str = ""
    kind: Literal["query", "bad", "lines"] = "query"


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """All lines of a file in the order of a column."""

    column: str
    descending: bool
    lines: array[int]

    @property
    def title(self) -> str:
        return f"by {one_line(self.column, 24)} {'▼' if self.descending else '▲'}"

    def apply(self, matches: Filter) -> array[int]:
        """The lines of `matches`, in this order. Blocks for as long as the file has lines."""
        listed = bytearray(max(self.lines, default=0) + 1)
        for line in matches.lines:
            if line < len(listed):
                listed[line] = 1
        return array("Q", (line for line in self.lines if listed[line]))
