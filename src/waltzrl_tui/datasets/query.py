"""Questions to a dataset in SQL: which lines match, and what a column holds line by line.

The expressions run in DuckDB, over blocks of the file that are handed to it as text. So broken
lines fail nothing, line numbers are those of `LineIndex`, the answer can be shown while it grows
and given up at any time, memory does not grow with the file, and DuckDB itself opens no file at
all: whatever an expression says, it reaches nothing but the lines.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

from waltzrl_tui.datasets.query_columns import QueryColumn, query_columns
from waltzrl_tui.datasets.query_engine import LineQuery
from waltzrl_tui.datasets.query_values import TEXT_KEPT, ColumnValues
from waltzrl_tui.datasets.rows import Mapping


def matching_lines(
    path: Path,
    mapping: Mapping,
    where: str,
    *,
    found: array[int] | None = None,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> array[int]:
    """The numbers (from 0, blank lines count) of the lines whose row fulfils `where`, ascending.

    `where` is SQL over `query_columns`, such as `harm = 'benign' and length(reply) > 40`. Lines
    that give no row never match, nor do rows on which the expression fails. Blocks for the whole
    file, so not on the event loop.

    Args:
        found: An array of type "Q" to grow while the file is read; one is made otherwise.
        on_progress: Called about every 8 MB with the bytes read.
        stop: Asked as often, and while DuckDB works; the answer then covers what was read.

    Raises:
        UsageError: The expression is wrong; the message names the word, the hint the columns.
        DatasetError: The file cannot be read.
    """
    lines = array("Q") if found is None else found
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, where, stop=stop) as query:
        query.check_condition()
        sql = query.select("_first + _place", "WHERE _good AND _value ORDER BY _place")
        for rows in query.each_block(path, sql, on_progress):
            lines.extend(line for (line,) in rows)
    return lines


def check_where(where: str, columns: Sequence[QueryColumn], mapping: Mapping) -> None:
    """Whether `where` is a condition over `columns`; no file is read.

    Raises:
        UsageError: It is not; the message names the word, the hint the columns.
    """
    with LineQuery(mapping, columns, where) as query:
        query.check_condition()


def column_values(
    path: Path,
    mapping: Mapping,
    value: str,
    *,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> ColumnValues | None:
    """What `value`, SQL over `query_columns`, is for each line; None when stopped.

    Of texts the first 80 characters are kept. Close the result. Blocks for the whole file.

    Raises:
        UsageError: The expression is wrong.
        DatasetError: The file cannot be read, or has too many rows for the memory allowed.
    """
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, value, stop=stop) as query:
        kind = query.check()
        text = kind in ("VARCHAR", "JSON")
        kept = f"left(_value::VARCHAR, {TEXT_KEPT})" if text else "_value"
        read = f"CASE WHEN _good THEN {kept} END AS value"
        sql = query.select(f"_first + _place AS line, _good AS good, {read}")
        query.make_table("found", sql)
        for _ in query.each_block(path, f"INSERT INTO found {sql}", on_progress):
            pass
        if stop and stop():
            return None
        return ColumnValues(query.keep(), value, number=not text and kind != "BOOLEAN")
