"""The values of one column for each line: their order and their distribution."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.datasets.query.columns import quote_text
from waltzrl_tui.datasets.query.errors import no_room

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TEXT_KEPT: Final = 80
"""Characters kept of a text."""

_SHOWN: Final = 200
_FEW: Final = 12
_BINS: Final = 12
_FETCHED: Final = 50_000


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """The rows that share a value or a range of values.

    Attributes:
        label: The value or range, for the user, such as "33–64".
        rows: Number of rows.
        where: The expression that selects them; "" for the rest of many values.
    """

    label: str
    rows: int
    where: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """The distribution of a column's values.

    Attributes:
        bars: Of numbers in ascending order, of texts by frequency.
        rows: All usable rows. `different`: number of distinct values.
        summary: Of numbers: lowest, median, highest and sum.
    """

    bars: tuple[HistogramBar, ...]
    rows: int
    different: int
    summary: tuple[float, float, float, float] | None = None


class ColumnValues:
    """The values of `expression` for every line of a file. Methods block; not for two threads."""

    def __init__(
        self,
        connection: DuckDBPyConnection,
        folder: TemporaryDirectory[str],
        expression: str,
        *,
        number: bool,
        real: bool,
    ) -> None:
        self._connection, self._folder, self._real = connection, folder, real
        self.expression = expression
        self.number = number

    def order(self, *, descending: bool = False) -> array[int]:
        """All lines (from 0) ordered by value: lines without one last, ties in file order.

        Case is ignored.

        Raises:
            DatasetError: Not enough space for temporary files.
        """
        value = "value" if self.number else "lower(value::VARCHAR)"
        way = "DESC" if descending else "ASC"
        lines = array("Q")
        try:
            self._connection.execute(
                f"SELECT line FROM line_values ORDER BY {value} {way} NULLS LAST, line"
            )
            while rows := self._connection.fetchmany(_FETCHED):
                lines.extend(line for (line,) in rows)
        except _no_room() as error:
            raise no_room(error) from None
        return lines

    def histogram(self) -> Histogram:
        """The distribution of the values over the usable rows.

        Raises:
            DatasetError: Not enough space for temporary files.
        """
        try:
            rows, different = self._one(
                "SELECT count(*), count(DISTINCT value) FROM line_values WHERE good"
            )
            if self.number and different > _FEW:
                return self._of_numbers(rows, different)
            return self._of_values(rows, different)
        except _no_room() as error:
            raise no_room(error) from None

    def close(self) -> None:
        self._connection.close()
        self._folder.cleanup()

    def _one(self, sql: str) -> tuple[Any, ...]:
        return self._connection.execute(sql).fetchone() or ()

    def _of_values(self, rows: int, different: int) -> Histogram:
        order = "value" if self.number else "count(*) DESC, value"
        counts = self._connection.execute(
            "SELECT value, count(*) FROM line_values WHERE good GROUP BY value"
            f" ORDER BY {order} NULLS LAST LIMIT {_SHOWN}"
        ).fetchall()
        bars = [HistogramBar(_label(value), count, self._equals(value)) for value, count in counts]
        shown = sum(count for _, count in counts)
        if shown < rows:
            bars.append(HistogramBar(f"{different - len(counts):,} other values", rows - shown, ""))
        return Histogram(tuple(bars), rows, different, self._summary() if self.number else None)

    def _summary(self) -> tuple[float, float, float, float] | None:
        low, middle, high, total = self._one(
            "SELECT min(value), median(value), max(value), sum(value) FROM line_values WHERE good"
        )
        return None if low is None else (float(low), float(middle), float(high), float(total))

    def _of_numbers(self, rows: int, different: int) -> Histogram:
        summary = self._summary()
        assert summary is not None  # With no values there are few, so this is not reached.
        edges = bin_edges(summary[0], summary[2])
        counted = ", ".join(
            f"count(*) FILTER (value >= {low!r} AND value < {high!r})"
            for low, high in zip(edges, edges[1:], strict=False)
        )
        counts = self._one(
            f"SELECT {counted}, count(*) FILTER (value IS NULL) FROM line_values WHERE good"
        )
        bars = [
            HistogramBar(_span(low, high), count, self._between(low, high))
            for low, high, count in zip(edges, edges[1:], counts, strict=False)
        ]
        if counts[-1]:
            bars.append(HistogramBar(_label(None), counts[-1], self._equals(None)))
        return Histogram(tuple(bars), rows, different, summary)

    def _equals(self, value: Any) -> str:
        if value is None:
            infinite = f" or not isfinite({self.expression})" if self._real else ""
            return f"({self.expression}) IS NULL{infinite}"
        if isinstance(value, bool):
            return f"({self.expression}) = {str(value).lower()}"
        if isinstance(value, (int, float)):
            return f"({self.expression}) = {_number(value)}"
        if len(value) < TEXT_KEPT:
            return f"{self.expression} = {quote_text(value)}"
        return f"starts_with({self.expression}, {quote_text(value)})"

    def _between(self, low: float, high: float) -> str:
        return f"{self.expression} >= {_number(low)} and {self.expression} < {_number(high)}"


def bin_edges(low: float, high: float) -> list[float]:
    """Edges of bins over `low` to `high`; each bin includes its lower edge only.

    Bins double in size where the range is wide (as for lengths), else about a dozen equal ones.
    """
    if low >= 0 and high >= 16 * max(1.0, low):
        edges = [2.0 ** max(0, math.floor(math.log2(max(1.0, low))))]
        if low < edges[0]:
            edges.insert(0, 0.0)
        while edges[-1] <= high:
            edges.append(edges[-1] * 2)
        return edges
    rough = (high - low) / _BINS or 1.0
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    start = math.floor(low / step)
    edges = [(start + place) * step for place in range(math.floor(high / step) - start + 2)]
    # Rounding must exclude neither the lowest value nor the highest.
    edges[0] = min(edges[0], low)
    if edges[-1] <= high:
        edges.append(max(edges[-1] + step, math.nextafter(high, math.inf)))
    return edges


def _span(low: float, high: float) -> str:
    if low == int(low) and high == int(high):
        last = int(high) - 1
        return f"{int(low):,}" if last <= low else f"{int(low):,}–{last:,}"
    return f"{low:.4g} to {high:.4g}"


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(float(value))


def _label(value: Any) -> str:
    if value is None:
        return "(no value)"
    if value == "":
        return "(empty)"
    if isinstance(value, float) and value == int(value):
        return f"{int(value):,}"
    return str(value)


def _no_room() -> tuple[type[Exception], ...]:
    import duckdb

    return duckdb.OutOfMemoryException, duckdb.IOException
