"""One expression over the lines of a file, run by DuckDB block by block."""

from __future__ import annotations

import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.datasets.query.blocks import blocks
from waltzrl_tui.datasets.query.columns import QueryColumn, quote_name
from waltzrl_tui.datasets.query.errors import explained, no_room, not_a_condition
from waltzrl_tui.datasets.query.rows import BlockRows
from waltzrl_tui.datasets.reading.parse import reader_of
from waltzrl_tui.datasets.reading.read import open_lines
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.text import one_line

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


class LineQuery:
    """`expression` over the rows of a file. A context manager; it blocks.

    Args:
        mapping: How the file's lines make rows.
        columns: What the expression may name.
        stop: Looked at about ten times a second; what runs then ends early.

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
        # What is not named is not made, which is most of the cost of a line.
        written = expression.casefold()
        self._named = [one for one in columns if one.written.casefold() in written]
        # Rows on which it fails, such as a cast of an odd value, do not match.
        self._value = f"TRY(({expression}\n))"
        self._ended = threading.Event()
        self._kept = False

    def __enter__(self) -> LineQuery:
        import duckdb

        self._duckdb = duckdb
        try:
            # What does not fit into the memory allowed goes there: only sorting texts needs it.
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
            # It must not find the connection closed.
            self._watcher.join()
        if not self._kept:
            self._connection.close()
            self._folder.cleanup()

    def keep(self) -> tuple[DuckDBPyConnection, tempfile.TemporaryDirectory[str]]:
        """The connection and its folder, which stay open then."""
        self._kept = True
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

    def check_condition(self) -> None:
        """Check that the expression is true or false.

        Raises:
            UsageError: It is neither, or wrong.
        """
        kind = self.check()
        if kind != "BOOLEAN":
            raise not_a_condition(self._expression, kind, self._columns)

    def select(self, what: str, rest: str = "") -> str:
        """SQL that selects `what` of `_line` and `_value` from the rows of a block."""
        given = "".join(
            f", unnest($v{place}::{one.given_type}[]) AS _{place}"
            for place, one in enumerate(self._named)
        )
        made = "".join(
            f", {one.sql(f'_{place}')} AS {quote_name(one.name)}"
            for place, one in enumerate(self._named)
        )
        return (
            f"WITH _given AS (SELECT unnest($lines::BIGINT[]) AS _line{given}),"
            f" _made AS (SELECT _line{made} FROM _given),"
            f" _all AS (SELECT _line, {self._value} AS _value FROM _made)"
            f" SELECT {what} FROM _all {rest}"
        )

    def make_table(self, name: str, sql: str) -> None:
        """Make an empty table of the shape of `sql`'s answer."""
        self._connection.execute(f"CREATE TABLE {name} AS {self._empty(sql)} LIMIT 0")

    def each_block(
        self, path: Path, sql: str, on_progress: Callable[[int], None] | None
    ) -> Iterator[tuple[BlockRows, list[tuple[Any, ...]]]]:
        """The rows of each block of the file at `path`, and the answer to `sql` for them.

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
                    found = self.run(sql, rows.given) if rows.lines else []
                    if found is None:
                        return
                    yield rows, found
                    if on_progress:
                        on_progress(block.end)
        except OSError as error:
            raise DatasetError(
                f"{one_line(str(path))} cannot be read: {error.strerror or error}.",
                hint="Check the path and its permissions.",
            ) from error

    def run(self, sql: str, given: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """The answer to `sql` with the values `given`; None when it was given up."""
        try:
            return self._connection.execute(sql, given).fetchall()
        except self._duckdb.InterruptException:
            return None
        except (self._duckdb.OutOfMemoryException, self._duckdb.IOException) as error:
            raise no_room(error) from None
        except self._duckdb.Error as error:
            raise explained(error, self._expression, self._columns) from None

    def _empty(self, sql: str) -> str:
        return _GIVEN.sub("NULL", sql)

    def _kind(self, value: str) -> str:
        kept, self._value = self._value, value
        try:
            sql = self._empty(self.select("_value", "LIMIT 0"))
            row = self._connection.execute(f"DESCRIBE {sql}").fetchone()
        except self._duckdb.Error as error:
            raise explained(error, self._expression, self._columns) from None
        finally:
            self._value = kept
        return str(row[1]) if row else ""

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._stop and self._stop():
                self._connection.interrupt()
