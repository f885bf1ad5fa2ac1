"""Finding rows by what was typed, words or an expression after "where", and sorting them."""

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
    """The expression in what was typed; None when it is words to look for."""
    found = _WHERE.match(typed)
    return typed[found.end() :].strip() if found else None


def empty_filter(typed: str) -> Filter:
    """What `find` fills."""
    where = expression(typed)
    if where is None:
        said = f"with “{one_line(typed, 30)}”"
        return Filter(said, array("Q"), asked=typed, mark=typed, empty=EMPTY["data.filtered"])
    said = f"where {one_line(where, 40)}"
    return Filter(said, array("Q"), asked=typed, empty=EMPTY["data.where"])


def bad_filter() -> Filter:
    """What `find` fills with the rows that cannot be used."""
    return Filter("bad", array("Q"), empty="No row is bad.", kind="bad")


def find(
    source: OpenDataset,
    found: Filter,
    on_progress: Callable[[int], None],
    stop: Callable[[], bool],
) -> None:
    """Put the lines of `source` that were asked for into `found`. Blocks for the whole file.

    Raises:
        UsageError: The expression is wrong.
        DatasetError: The file cannot be read.
    """
    if found.kind == "bad":
        bad_lines(source.path, source.mapping, found.lines, on_progress=on_progress, stop=stop)
        return
    where = expression(found.asked)
    if where is not None:
        matching_lines(
            source.path,
            source.mapping,
            where,
            found=found.lines,
            on_progress=on_progress,
            stop=stop,
        )
    else:
        search(
            source.path,
            source.mapping,
            found.asked,
            found.lines,
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
