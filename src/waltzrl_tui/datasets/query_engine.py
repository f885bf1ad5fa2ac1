"""One expression over the lines of a file, run by DuckDB block by block."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.datasets.query_blocks import Block, blocks
from waltzrl_tui.datasets.query_columns import (
    QueryColumn,
    constant,
    quote_name,
    quote_text,
    raw_harm,
    staged,
    usable,
)
from waltzrl_tui.datasets.query_errors import explained, not_a_condition, too_large
from waltzrl_tui.datasets.read import open_lines
from waltzrl_tui.datasets.rows import Mapping, harm_of
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.text import one_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": "768MB",
    "threads": 2,
    "lock_configuration": True,
}
_LOOK_SECONDS: Final = 0.1
_LABEL_LENGTH: Final = 64


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
        self._named = [one for one in columns if one.name.casefold() in written]
        self._harm = raw_harm(mapping) if any(one.name == "harm" for one in self._named) else ""
        self._harms: set[str] = set()
        # Rows on which it fails, such as a cast of an odd value, do not match.
        self._value = f"TRY(({expression}\n))"
        self._ended = threading.Event()
        self._kept = False

    def __enter__(self) -> LineQuery:
        import duckdb

        self._duckdb = duckdb
        self._connection = duckdb.connect(":memory:", config=_CONFIG)
        self._connection.execute("CREATE TABLE harms (raw VARCHAR, harm VARCHAR)")
        if self._stop is not None:
            threading.Thread(target=self._watch, name="query-stop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if not self._kept:
            self._connection.close()

    def keep(self) -> DuckDBPyConnection:
        """The connection, which stays open then."""
        self._kept = True
        return self._connection

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
        """SQL that selects `what` of `_first`, `_place`, `_good` and `_value` from a block."""
        harm = quote_text(harm_of("harm", constant(self._mapping.harm)))
        made, late = [], []
        for column in self._columns:
            if column.name == "tokens" and not column.field:
                late += [column] if column in self._named else []
            elif column in self._named or column.name in ("prompt", "reply"):
                made.append(column)
        sql = {"harm": "coalesce(harms.harm, '')" if self._harm else harm}
        listed = ", ".join(
            f"{sql.get(one.name, one.sql)} AS {quote_name(one.name)}" for one in made
        )
        more = "".join(f", {one.sql} AS {quote_name(one.name)}" for one in late)
        join = f" LEFT JOIN harms ON harms.raw = ({self._harm})" if self._harm else ""
        return (
            f"{self._lines()}, _plain AS MATERIALIZED"
            f" (SELECT _first, _place, {listed} FROM _staged{join}),"
            f" _made AS (SELECT *{more} FROM _plain),"
            f" _all AS (SELECT _first, _place, coalesce({usable(self._mapping)}, false) AS _good,"
            f" {self._value} AS _value FROM _made)"
            f" SELECT {what} FROM _all {rest}"
        )

    def make_table(self, name: str, sql: str) -> None:
        """Make an empty table of the shape of `sql`'s answer."""
        self._run(f"CREATE TABLE {name} AS {sql} LIMIT 0", Block(0, "", 0))

    def each_block(
        self, path: Path, sql: str, on_progress: Callable[[int], None] | None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The answer to `sql` for each block of the file at `path`.

        Raises:
            DatasetError: The file cannot be read.
        """
        try:
            with open_lines(path) as file:
                for block in blocks(file):
                    if self._stop and self._stop():
                        return
                    if self._harm:
                        self._learn(block)
                    rows = self._run(sql, block)
                    if rows is None:
                        return
                    yield rows
                    if on_progress:
                        on_progress(block.end)
        except OSError as error:
            raise DatasetError(
                f"{one_line(str(path))} cannot be read: {error.strerror or error}.",
                hint="Check the path and its permissions.",
            ) from error

    def _lines(self) -> str:
        return (
            "WITH _input AS (SELECT string_split($text, chr(10)) AS _lines),"
            " _split AS (SELECT unnest(range(len(_lines))) AS _place, unnest(_lines) AS _text"
            " FROM _input),"
            # Else a condition might be asked of a line before it is known to be JSON.
            " lines AS (SELECT $first::BIGINT AS _first, _place,"
            " CASE WHEN json_valid(_text) THEN _text END AS _text FROM _split),"
            f" _staged AS ({staged(self._mapping)})"
        )

    def _kind(self, value: str) -> str:
        kept, self._value = self._value, value
        try:
            sql = self.select("_value", "LIMIT 0")
            sql = sql.replace("$text", "''").replace("$first", "0")
            row = self._connection.execute(f"DESCRIBE {sql}").fetchone()
        except self._duckdb.Error as error:
            raise explained(error, self._expression, self._columns) from None
        finally:
            self._value = kept
        return str(row[1]) if row else ""

    def _learn(self, block: Block) -> None:
        """Find out what the labels in `block` say, the ones that were not seen before."""
        rows = self._run(
            f"{self._lines()} SELECT DISTINCT {self._harm} AS raw FROM _staged"
            f" WHERE length(raw) <= {_LABEL_LENGTH}",
            block,
        )
        for (raw,) in rows or ():
            if raw in self._harms:
                continue
            self._harms.add(raw)
            harm = harm_of(self._mapping.harm, json.loads(raw))
            if harm:
                self._connection.execute("INSERT INTO harms VALUES (?, ?)", [raw, harm])

    def _run(self, sql: str, block: Block) -> list[tuple[Any, ...]] | None:
        """The answer for one block; None when it was given up."""
        try:
            given = {"text": block.text, "first": block.first}
            return self._connection.execute(sql, given).fetchall()
        except self._duckdb.InterruptException:
            return None
        except self._duckdb.OutOfMemoryException:
            raise too_large() from None
        except self._duckdb.Error as error:
            raise explained(error, self._expression, self._columns) from None

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._stop and self._stop():
                self._connection.interrupt()
