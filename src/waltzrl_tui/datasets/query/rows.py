"""The rows of a block as columns of values: what DuckDB is handed to ask an expression of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from waltzrl_tui.datasets.query.blocks import Block
from waltzrl_tui.datasets.query.columns import QueryColumn, field_text, row_text
from waltzrl_tui.datasets.reading.parse import BadLine, RowReader
from waltzrl_tui.datasets.reading.records import records
from waltzrl_tui.tokenizers.estimate import estimate_tokens

_PARTS: Final = ("prompt", "reply", "harm", "category")

Parts = tuple[str, str, str, str]


class BlockRows:
    """The usable rows of a block, as they are read everywhere else.

    Attributes:
        lines: Their numbers, from 0.
        given: The `lines`, and the values of the columns as `v0`, `v1`, … in their order.
    """

    def __init__(self, block: Block, reader: RowReader, columns: Sequence[QueryColumn]) -> None:
        self._block = block
        self.lines: list[int] = []
        self.given: dict[str, list[Any]] = {"lines": self.lines}
        # Only the values are kept, so that each object is gone before the next one is made.
        parts: list[tuple[Callable[[Any], None], int]] = []
        others: list[tuple[Callable[[Any], None], Callable[[int, dict[str, Any], Parts], Any]]] = []
        for number, column in enumerate(columns):
            keep = self.given.setdefault(f"v{number}", []).append
            if column.name in _PARTS and not column.field:
                parts.append((keep, _PARTS.index(column.name)))
            else:
                others.append((keep, _maker(column, block)))
        for place, found in records(block):
            if isinstance(found, str):
                continue
            try:
                row = reader.parts(found)
            except BadLine:
                continue
            self.lines.append(block.first + place)
            for keep, part in parts:
                keep(row[part])
            for keep, make in others:
                keep(make(place, found, row))

    def others(self) -> list[int]:
        """The numbers of the lines that give no row."""
        good = set(self.lines)
        last = self._block.first + self._block.raw.count(b"\n")
        return [line for line in range(self._block.first, last + 1) if line not in good]


def _maker(column: QueryColumn, block: Block) -> Callable[[int, dict[str, Any], Parts], Any]:
    """What gives the column's value of the row at a place, from its object and its parts."""
    name, first = column.name, block.first
    if column.field:
        return lambda place, fields, parts: field_text(fields.get(name))
    if name == "line":
        return lambda place, fields, parts: first + place + 1
    if name == "tokens":
        return lambda place, fields, parts: estimate_tokens(parts[0]) + estimate_tokens(parts[1])
    lines = block.text.split("\n")
    return lambda place, fields, parts: row_text(lines[place], fields)
