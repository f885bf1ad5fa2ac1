"""A plan in words: money, times, states, and one line of the table a provider."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from typing import Final

from waltzrl_tui.plans.model import CostItem, Money, PlanRow, Size, State
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chart.plot import MARKERS
from waltzrl_tui.tui.data.figures import bar, duration
from waltzrl_tui.tui.tables.keyed_table import Cell, TableColumn, TableRow
from waltzrl_tui.waltz.prompts import agents_named

NONE: Final = "–"
STATES: Final[Mapping[State, tuple[str, str, str]]] = {
    "ready": ("✓", "ready", "good"),
    "needs_key": ("○", "needs key", "idle"),
    "needs_gpu": ("○", "needs GPU", "idle"),
    "closed": ("∅", "closed", "faint"),
    "blocked": ("✗", "blocked", "bad"),
}
"""Of each state: a glyph, the word, and the style of both in the table."""
SIZES: Final[Mapping[Size, str]] = {"small": "≤3B", "default": "7–9B", "large": "70B"}
"""How the sizes of models are written."""

OLD: Final = "▲"
"""Marks a price that is too old to rely on."""

_INSTEAD: Final = re.compile(r"(?P<when>.*?); use (?P<instead>.+?) instead(?P<why>.*)")
_LONGEST_BAR: Final = 14
_CENT: Final = 0.005
_WITH_REASONS: Final = 64
_WITH_AGE: Final = 32


def money(usd: float, decimals: int = 2) -> str:
    """An amount as "$4.40", "<$0.01", "$1,234"."""
    if 0 < usd < _CENT and decimals == 2:
        return "<$0.01"
    if usd >= 1000 and decimals == 2:
        return f"${usd:,.0f}"
    return f"${usd:,.{decimals}f}"


def money_range(amount: Money) -> str:
    """A range of money as "$0.80–1.20", or nothing when there is only one figure."""
    low, high = money(amount.low), money(amount.high)
    if low == high:
        return ""
    return f"{low}–{high}" if low.startswith("<") else f"{low}–{high.removeprefix('$')}"


def enough_decimals(total: Money, parts: Sequence[CostItem]) -> int:
    """How many decimals the parts need so that what is shown of them adds up to the total."""
    for decimals in (2, 3, 4, 5):
        shown = sum(round(part.usd.expected, decimals) for part in parts)
        if abs(shown - round(total.expected, decimals)) < 10**-decimals / 2:
            return decimals
    return 6


def time_range(seconds: tuple[float, float] | None) -> str:
    """A range of seconds as "~ 11 min", "20–40 min", "1.5–3 h"; a dash when it is not known."""
    if seconds is None:
        return NONE
    low, high = (duration(each) for each in seconds)
    if low == high:
        return f"~ {low}"
    if seconds[0] >= 3600:
        return f"{seconds[0] / 3600:.1f}–{seconds[1] / 3600:.1f} h"
    if seconds[0] >= 60 and seconds[1] < 3570:
        return f"{low.removesuffix(' min')}–{high}"
    return f"{low} – {high}"


def age(as_of: date | None, stale: bool, today: date) -> str:
    """How old a price is: "today", "12 days", "▲ 102 days" when it is too old to rely on."""
    if as_of is None:
        return NONE
    days = (today - as_of).days
    said = "today" if days <= 0 else "1 day" if days == 1 else f"{days} days"
    return f"{OLD} {said}" if stale else said


def state(row: PlanRow, *, short: bool = False) -> tuple[str, str]:
    """The state, unless `short` the reason too, in one line, and the style in the table."""
    glyph, word, style = STATES[row.state]
    reason = one_line(row.reason, 600)
    if short or not reason:
        return f"{glyph} {word}", style
    if row.state == "ready":
        return f"{glyph} {word} · {reason}", style
    # What to use instead must not be what a narrow column cuts off.
    if row.state == "closed" and (found := _INSTEAD.fullmatch(reason)):
        when = found["when"].removeprefix(word).strip()
        return f"{glyph} {word} · use {found['instead']} · {when}{found['why']}", style
    # Elsewhere the reason says the state as well: "needs HF_TOKEN", "no GPU found here".
    return f"{glyph} {reason}", style


def title(hours: float, method: str, rows: Collection[PlanRow], width: int) -> str:
    """`Train both agents and chat 1 h · 14 providers · 3 ready`."""
    ready = sum(row.state == "ready" for row in rows)
    chat = f" and chat {hours:g} h" if hours else ""
    how = "" if method == "sft" else f" by {method.upper()}"
    agents = agents_named(next(iter(rows)).roles)
    short = f"{agents[:1].upper()}{agents[1:]}{how}{chat}"
    long = f"Train {agents}{how}{chat} · {len(rows)} plans · {ready} ready"
    return long if len(long) <= width - 6 else short


def row_ids(rows: Sequence[PlanRow]) -> list[str]:
    """What tells the rows apart, also after prices have changed their order and model."""
    found: list[str] = []
    for row in rows:
        id = f"{row.provider} {row.title}"
        while id in found:
            id += f" {row.model}"
        found.append(id)
    return found


def columns(rows: Sequence[PlanRow], width: int) -> tuple[TableColumn, ...]:
    """The columns for these rows in a table `width` cells wide."""

    def longest(texts: Sequence[str], most: int) -> int:
        return max(8, min(most, max((len(text) for text in texts), default=0)))

    times = [time_range(row.seconds) for row in rows]
    return (
        TableColumn("provider", longest([one_line(row.title) for row in rows], 16 + width // 24)),
        TableColumn("model", longest([one_line(row.model) for row in rows], 24), spare=3, room=8),
        TableColumn("total", longest([f"{OLD} {_total(row)}" for row in rows], 12), right=True),
        TableColumn("", bar_cells(width), spare=1),
        TableColumn("time", longest(times, 16), spare=2, right=True),
        TableColumn("priced", 10, spare=4, right=True, room=_WITH_AGE),
        TableColumn("state", 0, least=11),
    )


def bar_cells(width: int) -> int:
    """How long the bars are in a table `width` cells wide."""
    return max(5, min(_LONGEST_BAR, width // 9))


def line(row: PlanRow, top: float, width: int, pinned: bool, today: date) -> TableRow:
    """One provider as the columns show it.

    Args:
        top: The highest total of all rows, in USD, which is a whole bar.
        width: Of the table, in cells.
        pinned: Whether others are compared with it.
    """
    said, style = state(row, short=width < _WITH_REASONS)
    dim = "faint" if row.state == "closed" else "text"
    priced = age(row.price_as_of, row.price_stale, today)
    old = [(f"{OLD} ", "idle")] if row.price_stale else []
    cells: tuple[Cell, ...] = (
        [(one_line(row.title), dim)],
        [(one_line(row.model) or NONE, "faint")],
        [*old, (_total(row), dim if row.total else "faint")],
        _bar(row.total, top, bar_cells(width)),
        [(time_range(row.seconds), dim if row.seconds else "faint")],
        [(priced, "idle" if row.price_stale else "faint")],
        [(said, style)],
    )
    return TableRow(cells, (MARKERS[0], "run-0") if pinned else (" ", "text"))


def _total(row: PlanRow) -> str:
    return money(row.total.expected) if row.total else NONE


def _bar(total: Money | None, top: float, cells: int) -> Cell:
    """What is expected as a bar, and up to the highest figure as a line."""
    if total is None or top <= 0:
        return [("", "rest")]
    drawn = bar(total.expected / top, cells)
    reach = round(min(1.0, total.high / top) * cells)
    return [(drawn, "busy"), ("─" * max(0, reach - len(drawn)), "rest")]
