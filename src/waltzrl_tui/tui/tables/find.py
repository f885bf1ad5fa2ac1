"""Finding rows by text or by an expression after "where", and sorting them."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable

from waltzrl_tui.datasets.query.query import column_values, matching_lines
from waltzrl_tui.datasets.query.search import bad_lines, search
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.shell.keys import EMPTY
from waltzrl_tui.tui.tables.pages import Filter, OpenDataset, Order

WHERE = "where "
_WHERE = re.compile(r"\s*where\b", re.I)


def expression(typed: str) -> str | None:
    """The expression after "where"; None when the text is searched for as it is."""
    match = _WHERE.match(typed)
    return typed[match.end() :].strip() if match else None


def empty_filter(typed: str) -> Filter:
    """The filter that `find` fills."""
    where = expression(typed)
    if where is None:
        title = f"with “{one_line(typed, 30)}”"
        return Filter(title, array("Q"), query=typed, mark=typed, empty=EMPTY["data.filtered"])
    title = f"where {one_line(where, 40)}"
    return Filter(title, array("Q"), query=typed, empty=EMPTY["data.where"])


def bad_filter() -> Filter:
    """The filter that `find` fills with the bad rows."""
    return Filter("bad", array("Q"), empty="No bad rows.", kind="bad")


def find(
    source: OpenDataset,
    matches: Filter,
    on_progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> None:
    """Add the matching lines of `source` to `matches`. Blocks for the whole file.

    Raises:
        UsageError: The expression is wrong.
        DatasetError: The file cannot be read.
    """
    if matches.kind == "bad":
        bad_lines(source.path, source.mapping, matches.lines, on_progress=on_progress, stop=stop)
        return
    where = expression(matches.query)
    if where is not None:
        matching_lines(
            source.path,
            source.mapping,
            where,
            lines=matches.lines,
            on_progress=on_progress,
            stop=stop,
        )
    else:
        search(
            source.path,
            source.mapping,
            matches.query,
            matches.lines,
            on_progress=on_progress,
            stop=stop,
        )


def order_by(
    source: OpenDataset,
    column: str,
    descending: bool,
    on_progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> Order | None:
    """All lines of `source` in the order of `column`; None when stopped. Blocks.

    Raises:
        WaltzError: The expression is wrong, or the file cannot be read or is too long.
    """
    values = column_values(source.path, source.mapping, column, on_progress=on_progress, stop=stop)
    if values is None:
        return None
    try:
        return Order(column, descending, values.order(descending=descending))
    finally:
        values.close()
