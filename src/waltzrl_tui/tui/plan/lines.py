"""A plan as text: states, price ages, and its line in the table."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final

from waltzrl_tui.plans.model import CostItem, Money, PlanRow, Size, State
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chart.plot import MARKERS
from waltzrl_tui.tui.data.figures import bar
from waltzrl_tui.tui.tables.keyed_table import Cell, TableColumn, TableRow
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import NONE, duration_range, money, money_range, plural

STATES: Final[Mapping[State, tuple[str, str, str]]] = {
    "ready": ("✓", "ready", "good"),
    "needs_key": ("○", "needs key", "idle"),
    "needs_gpu": ("○", "needs GPU", "idle"),
    "closed": ("∅", "closed", "faint"),
    "blocked": ("✗", "blocked", "bad"),
}
"""The glyph, word and table style of each state."""
SIZES: Final[Mapping[Size, str]] = {"small": "≤3B", "default": "7–9B", "large": "70B"}
"""Labels of the model sizes."""

OLD: Final = "▲"
"""Marks a price that is too old to rely on."""

_INSTEAD: Final = re.compile(r"(?P<when>.*?); use (?P<instead>.+?) instead(?P<why>.*)")
_LONGEST_BAR: Final = 14
_WITH_REASONS: Final = 64
_WITH_AGE: Final = 32


def spread(amount: Money) -> str:
    """A range of money as "$0.80–1.20", empty where both ends look the same."""
    text = money_range(amount.low, amount.high)
    return "" if text == money(amount.low) else text


def enough_decimals(total: Money, parts: Sequence[CostItem]) -> int:
    """The decimals at which the parts, as shown, add up to the total and none shows as zero."""
    for decimals in (2, 3, 4, 5):
        shown = sum(round(part.usd.expected, decimals) for part in parts)
        visible = all(round(part.usd.expected, decimals) for part in parts if part.usd.expected)
        if visible and abs(shown - round(total.expected, decimals)) < 10**-decimals / 2:
            return decimals
    return 6


def time_range(seconds: tuple[float, float] | None) -> str:
    """A range of seconds as "~11m", "20m–40m"; a dash when not known."""
    return NONE if seconds is None else duration_range(*seconds)


def age(as_of: date | None, stale: bool, today: date) -> str:
    """How old a price is: "today", "12 days", "▲ 102 days" when it is too old to rely on."""
    if as_of is None:
        return NONE
    days = (today - as_of).days
    text = "today" if days <= 0 else plural(days, "day")
    return f"{OLD} {text}" if stale else text


def state(row: PlanRow, *, short: bool = False) -> tuple[str, str]:
    """The state on one line, with its reason unless `short`, and its table style."""
    glyph, word, style = STATES[row.state]
    reason = one_line(row.reason, 600)
    if short or not reason:
        return f"{glyph} {word}", style
    if row.state == "ready":
        return f"{glyph} {word} · {reason}", style
    # A narrow column must not cut off the alternative.
    if row.state == "closed" and (match := _INSTEAD.fullmatch(reason)):
        when = match["when"].removeprefix(word).strip()
        return f"{glyph} {word} · use {match['instead']} · {when}{match['why']}", style
    # Other reasons name the state themselves: "needs HF_TOKEN", "no GPU found here".
    return f"{glyph} {reason}", style


def title(hours: float, method: str, rows: Collection[PlanRow], width: int) -> str:
    """`Train both agents and chat 1 h · 14 providers · 3 ready`."""
    ready = sum(row.state == "ready" for row in rows)
    chat = f" and chat {hours:g} h" if hours else ""
    how = "" if method == "sft" else f" by {method.upper()}"
    agents = agents_named(next(iter(rows)).roles)
    short = f"{agents[:1].upper()}{agents[1:]}{how}{chat}"
    long = f"Train {agents}{how}{chat} · {plural(len(rows), 'plan')} · {ready} ready"
    return long if len(long) <= width - 6 else short


def columns(rows: Sequence[PlanRow], width: int) -> tuple[TableColumn, ...]:
    """The columns for these rows in a table `width` cells wide."""

    def longest(texts: Sequence[str], most: int) -> int:
        return max(8, min(most, max((len(text) for text in texts), default=0)))

    times = [time_range(row.seconds) for row in rows]
    return (
        TableColumn("provider", longest([one_line(row.title) for row in rows], 16 + width // 24)),
        TableColumn("model", longest([one_line(row.model) for row in rows], 24), spare=3, room=8),
        TableColumn("total", longest([f"{OLD} {total(row)}" for row in rows], 12), right=True),
        TableColumn("", bar_cells(width), spare=1),
        TableColumn("time", longest(times, 16), spare=2, right=True),
        TableColumn("priced", 10, spare=4, right=True, room=_WITH_AGE),
        TableColumn("state", 0, least=11),
    )


def bar_cells(width: int) -> int:
    """The length of the bars in a table `width` cells wide."""
    return max(5, min(_LONGEST_BAR, width // 9))


def line(row: PlanRow, top: float, width: int, pinned: bool, today: date) -> TableRow:
    """One provider as a line of the table.

    Args:
        top: The highest total of all rows in USD; a full bar.
        width: The table's width in cells.
        pinned: Whether other plans are compared with it.
    """
    text, style = state(row, short=width < _WITH_REASONS)
    dim = "faint" if row.state == "closed" else "text"
    priced = age(row.price_as_of, row.price_stale, today)
    old = [(f"{OLD} ", "idle")] if row.price_stale else []
    cells: tuple[Cell, ...] = (
        [(one_line(row.title), dim)],
        [(one_line(row.model) or NONE, "faint")],
        [*old, (total(row), dim if row.total else "faint")],
        _bar(row.total, top, bar_cells(width)),
        [(time_range(row.seconds), dim if row.seconds else "faint")],
        [(priced, "idle" if row.price_stale else "faint")],
        [(text, style)],
    )
    return TableRow(cells, (MARKERS[0], "run-0") if pinned else (" ", "text"))


def total(row: PlanRow) -> str:
    """The expected total; a dash when not known."""
    return money(row.total.expected) if row.total else NONE


def _bar(total: Money | None, top: float, cells: int) -> Cell:
    """The expected cost as a bar, the highest as a line."""
    if total is None or top <= 0:
        return [("", "rest")]
    drawn = bar(total.expected / top, cells)
    reach = round(min(1.0, total.high / top) * cells)
    return [(drawn, "busy"), ("─" * max(0, reach - len(drawn)), "rest")]
