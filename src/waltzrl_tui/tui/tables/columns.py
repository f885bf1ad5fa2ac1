"""Which columns a table of rows has, and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.cells import cell_len, set_cell_size

from waltzrl_tui.datasets.reading.rows import Mapping

ColumnName = Literal["number", "harm", "category", "prompt", "reply"]
GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    name: ColumnName
    width: int


def columns(mapping: Mapping, width: int, rows: int) -> tuple[Column, ...]:
    """The columns that fit into `width` cells, for a file of `rows` rows.

    Columns that the file does not have are left out; when space is short the category goes
    first, then the reply, then harm. The prompt is always there.
    """
    number = max(4, len(str(rows)))
    fixed: list[Column] = [Column("number", number)]
    if mapping.text("harm") and width >= 36:
        fixed.append(Column("harm", 7))
    if mapping.text("category") and width >= 76:
        fixed.append(Column("category", max(10, min(20, width // 7))))
    rest = width - sum(column.width + GAP for column in fixed)
    if mapping.reply and width >= 62:
        reply = (rest - GAP) * 45 // 100
        return (*fixed, Column("prompt", rest - GAP - reply), Column("reply", reply))
    return (*fixed, Column("prompt", max(1, rest)))


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis, or filled with spaces."""
    if text.isascii():
        return text.ljust(width) if len(text) <= width else text[: max(0, width - 1)] + "…"[:width]
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, max(0, width - 1)) + "…"[:width]
