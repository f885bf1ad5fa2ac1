"""Query a dataset in SQL: which lines match, and the value of a column for each line.

Expressions run in DuckDB, one block of rows at a time. The rows are read as everywhere else, and
only the columns that an expression names are passed on. So broken lines cause no failure, line
numbers are those of `LineIndex`, an answer can be shown while it grows and stopped at any time,
memory does not grow with the file, and DuckDB opens no file: an expression reaches only the rows.
"""

from __future__ import annotations

import re
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.datasets.query.columns import (
    QueryColumn,
    field_text,
    query_columns,
    quote_name,
    row_text,
)
from waltzrl_tui.datasets.query.errors import explain_error, no_room, not_a_condition
from waltzrl_tui.datasets.query.values import TEXT_KEPT, ColumnValues
from waltzrl_tui.datasets.reading.blocks import Block, blocks, parse_block
from waltzrl_tui.datasets.reading.formats import unreadable
from waltzrl_tui.datasets.reading.parse import BadLine, RowReader, reader_of
from waltzrl_tui.datasets.reading.read import open_lines
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.errors import UsageError
from waltzrl_tui.tokenizers.estimate import estimate_tokens

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": "128MB",
    "threads": 2,
    "lock_configuration": True,
}
_LOOK_SECONDS: Final = 0.1
_BLOCK: Final = 2 * 1024 * 1024
_GIVEN: Final = re.compile(r"\$(?:lines|v\d+)(?=::)")
_NUMBERS: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL")
_PARTS: Final = ("prompt", "reply", "harm", "category")

RowParts = tuple[str, str, str, str]
MakeValue = Callable[[int, dict[str, Any], RowParts], Any]


def matching_lines(
    path: Path,
    mapping: Mapping,
    where: str,
    *,
    lines: array[int] | None = None,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> array[int]:
    """The numbers (from 0, blank lines count) of the lines whose row matches `where`, ascending.

    `where` is SQL over `query_columns`, such as `harm = 'benign' and length(reply) > 40`. Lines
    that give no row never match, nor do rows on which the expression fails. Blocks for the whole
    file, so not on the event loop.

    Args:
        lines: An array of type "Q" to extend while the file is read; a new one by default.
        on_progress: Called about every 2 MB with the bytes read.
        stop: Checked as often, and while DuckDB works; the answer then covers what was read.

    Raises:
        UsageError: The expression is wrong; the message names the word, the hint the columns.
        DatasetError: The file cannot be read.
    """
    numbers = array("Q") if lines is None else lines
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, where, stop=stop) as query:
        if (kind := query.check()) != "BOOLEAN":
            raise not_a_condition(where, kind)
        sql = query.select("_line", "WHERE _value ORDER BY _line")
        for _, answer in query.each_block(path, sql, on_progress):
            numbers.extend([line for (line,) in answer])
    return numbers


def column_values(
    path: Path,
    mapping: Mapping,
    value: str,
    *,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> ColumnValues | None:
    """The value of `value`, SQL over `query_columns`, for each line; None when stopped.

    Only the first 80 characters of a text are kept. Close the result. Blocks for the whole file.

    Raises:
        UsageError: The expression is wrong.
        DatasetError: The file cannot be read, or there is no room for temporary files.
    """
    columns = query_columns(path, mapping)
    with LineQuery(mapping, columns, value, stop=stop) as query:
        kind = query.check()
        number = bool(_NUMBERS.match(kind)) and not kind.endswith("]")
        real = kind in ("FLOAT", "DOUBLE")
        value_sql = "_value" if kind == "BOOLEAN" else f"left(_value::VARCHAR, {TEXT_KEPT})"
        if number:
            # Infinity and NaN cannot be ordered and have no bar.
            value_sql = "CASE WHEN isfinite(_value) THEN _value END" if real else "_value"
        sql = query.select(f"_line AS line, true AS good, {value_sql} AS value")
        query.make_table("line_values", sql)
        insert_bad = "INSERT INTO line_values SELECT unnest($lines), false, NULL"
        for rows, _ in query.each_block(path, f"INSERT INTO line_values {sql}", on_progress):
            if bad := rows.bad_lines():
                query.run(insert_bad, {"lines": bad})
        if stop and stop():
            return None
        return ColumnValues(*query.detach(), value, number=number, real=real)


class LineQuery:
    """`expression` evaluated over the rows of a file. A context manager; its methods block.

    Args:
        mapping: Which fields make a row.
        columns: The columns that the expression may name.
        stop: Checked about ten times a second; a running query then ends early.

    Raises:
        UsageError: The expression is empty.
    """

    def __init__(
        self,
        mapping: Mapping,
        columns: Sequence[QueryColumn],
        expression: str,
        *,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        if not expression.strip():
            raise UsageError("The expression is empty.", hint="For example: harm = 'benign'")
        self._mapping, self._columns, self._expression = mapping, columns, expression
        self._stop = stop
        # Only named columns are built: building them is most of the cost of a line.
        written = expression.casefold()
        self._named = [one for one in columns if one.spelling.casefold() in written]
        # A row on which it fails, such as a cast of an odd value, does not match.
        self._value = f"TRY(({expression}\n))"
        self._ended = threading.Event()
        self._detached = False

    def __enter__(self) -> LineQuery:
        import duckdb

        self._duckdb = duckdb
        try:
            # For what does not fit into the memory limit: only sorting texts needs it.
            self._folder = tempfile.TemporaryDirectory(prefix="waltzrl-query-")
        except OSError as error:
            raise no_room(error) from error
        config = {**_CONFIG, "temp_directory": self._folder.name}
        self._connection = duckdb.connect(":memory:", config=config)
        self._watcher = threading.Thread(target=self._watch, name="query-stop", daemon=True)
        if self._stop is not None:
            self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._stop is not None:
            # The watcher must not use a closed connection.
            self._watcher.join()
        if not self._detached:
            self._connection.close()
            self._folder.cleanup()

    def detach(self) -> tuple[DuckDBPyConnection, tempfile.TemporaryDirectory[str]]:
        """Hand over the connection and its folder, which then stay open."""
        self._detached = True
        return self._connection, self._folder

    def check(self) -> str:
        """The type of the expression, as DuckDB names it.

        Raises:
            UsageError: It is wrong.
        """
        plain = f"({self._expression}\n)"
        kind = self._kind(plain)
        try:
            self._kind(self._value)
        except UsageError:
            self._value = plain  # TRY takes no subqueries and no random numbers.
        return kind

    def select(self, columns: str, rest: str = "") -> str:
        """SQL that selects `columns`, made of `_line` and `_value`, from the rows of a block."""
        inputs = "".join(
            f", unnest($v{place}::{one.input_type}[]) AS _{place}"
            for place, one in enumerate(self._named)
        )
        named = "".join(
            f", {one.sql(f'_{place}')} AS {quote_name(one.name)}"
            for place, one in enumerate(self._named)
        )
        return (
            f"WITH _given AS (SELECT unnest($lines::BIGINT[]) AS _line{inputs}),"
            f" _made AS (SELECT _line{named} FROM _given),"
            f" _all AS (SELECT _line, {self._value} AS _value FROM _made)"
            f" SELECT {columns} FROM _all {rest}"
        )

    def make_table(self, name: str, sql: str) -> None:
        """Create an empty table with the columns of `sql`'s answer."""
        self._connection.execute(f"CREATE TABLE {name} AS {self._empty(sql)} LIMIT 0")

    def each_block(
        self, path: Path, sql: str, on_progress: Callable[[int], None] | None
    ) -> Iterator[tuple[BlockRows, list[tuple[Any, ...]]]]:
        """The rows of each block of the file at `path`, with the answer to `sql` for them.

        Raises:
            DatasetError: The file cannot be read.
        """
        reader = reader_of(self._mapping)
        try:
            with open_lines(path) as file:
                for block in blocks(file, _BLOCK):
                    if self._stop and self._stop():
                        return
                    rows = BlockRows(block, reader, self._named)
                    answer = self.run(sql, rows.values) if rows.lines else []
                    if answer is None:
                        return
                    yield rows, answer
                    if on_progress:
                        on_progress(block.end)
        except OSError as error:
            raise unreadable(path, error) from error

    def run(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """The answer to `sql` with the values `values`; None when it was interrupted."""
        try:
            return self._connection.execute(sql, values).fetchall()
        except self._duckdb.InterruptException:
            return None
        except (self._duckdb.OutOfMemoryException, self._duckdb.IOException) as error:
            raise no_room(error) from None
        except self._duckdb.Error as error:
            raise explain_error(error, self._expression, self._columns) from None

    def _empty(self, sql: str) -> str:
        return _GIVEN.sub("NULL", sql)

    def _kind(self, value: str) -> str:
        previous, self._value = self._value, value
        try:
            sql = self._empty(self.select("_value", "LIMIT 0"))
            row = self._connection.execute(f"DESCRIBE {sql}").fetchone()
        except self._duckdb.Error as error:
            raise explain_error(error, self._expression, self._columns) from None
        finally:
            self._value = previous
        return str(row[1]) if row else ""

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._stop and self._stop():
                self._connection.interrupt()


class BlockRows:
    """The usable rows of a block, as they are read everywhere else.

    Attributes:
        lines: Their numbers, from 0.
        values: The `lines`, and the values of the columns as `v0`, `v1`, … in their order.
    """

    def __init__(self, block: Block, reader: RowReader, columns: Sequence[QueryColumn]) -> None:
        self._block = block
        self.lines: list[int] = []
        self.values: dict[str, list[Any]] = {"lines": self.lines}
        # Only the values are kept, so that each object is freed before the next one is read.
        parts: list[tuple[Callable[[Any], None], int]] = []
        others: list[tuple[Callable[[Any], None], MakeValue]] = []
        for number, column in enumerate(columns):
            keep = self.values.setdefault(f"v{number}", []).append
            if column.name in _PARTS and not column.field:
                parts.append((keep, _PARTS.index(column.name)))
            else:
                others.append((keep, _value_maker(column, block)))
        for place, value in parse_block(block):
            if isinstance(value, BadLine):
                continue
            try:
                row = reader.parts(value)
            except BadLine:
                continue
            self.lines.append(block.first + place)
            for keep, part in parts:
                keep(row[part])
            for keep, make in others:
                keep(make(place, value, row))

    def bad_lines(self) -> list[int]:
        """The numbers of the lines that give no row."""
        good = set(self.lines)
        last = self._block.first + self._block.raw.count(b"\n")
        return [line for line in range(self._block.first, last + 1) if line not in good]


def _value_maker(column: QueryColumn, block: Block) -> MakeValue:
    """The function from place, object and parts of a row to the column's value."""
    name, first = column.name, block.first
    if column.field:
        return lambda place, fields, parts: field_text(fields.get(name))
    if name == "line":
        return lambda place, fields, parts: first + place + 1
    if name == "tokens":
        return lambda place, fields, parts: estimate_tokens(parts[0]) + estimate_tokens(parts[1])
    lines = block.text.split("\n")
    return lambda place, fields, parts: row_text(lines[place], fields)
