"""Questions to a dataset in SQL: which lines match, and what a column holds line by line.

The expressions run in DuckDB, over the rows of a block of the file, which are read as they are
everywhere else; only the columns that an expression names are handed over. So broken lines fail
nothing, line numbers are those of `LineIndex`, the answer can be shown while it grows and given up
at any time, memory does not grow with the file, and DuckDB itself opens no file at all: whatever an
expression says, it reaches nothing but the rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.query.columns import QueryColumn, query_columns
from waltzrl_tui.datasets.query.engine import LineQuery
from waltzrl_tui.datasets.query.values import TEXT_KEPT, ColumnValues
from waltzrl_tui.datasets.reading.rows import Mapping

_NUMBERS: Final = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER"),
    *("UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
)


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
        on_progress: Called about every 2 MB with the bytes read.
        stop: Asked as often, and while DuckDB works; the answer then covers what was read.

    Raises:
        UsageError: The expression is wrong; the message names the word, the hint the columns.
        DatasetError: The file cannot be read.
    """
    lines = array("Q") if found is None else found
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, where, stop=stop) as query:
        query.check_condition()
        sql = query.select("_line", "WHERE _value ORDER BY _line")
        for _, found_here in query.each_block(path, sql, on_progress):
            lines.extend([line for (line,) in found_here])
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
        DatasetError: The file cannot be read, or there is no room for temporary files.
    """
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, value, stop=stop) as query:
        kind = query.check()
        number = kind.startswith(_NUMBERS) and not kind.endswith("]")
        real = kind in ("FLOAT", "DOUBLE")
        kept = "_value" if kind == "BOOLEAN" else f"left(_value::VARCHAR, {TEXT_KEPT})"
        if number:
            # Infinity and NaN have no place in an order, and no bar.
            kept = "CASE WHEN isfinite(_value) THEN _value END" if real else "_value"
        sql = query.select(f"_line AS line, true AS good, {kept} AS value")
        query.make_table("found", sql)
        bad = "INSERT INTO found SELECT unnest($lines), false, NULL"
        for rows, _ in query.each_block(path, f"INSERT INTO found {sql}", on_progress):
            if others := rows.others():
                query.run(bad, {"lines": others})
        if stop and stop():
            return None
        return ColumnValues(*query.keep(), value, number=number, real=real)
