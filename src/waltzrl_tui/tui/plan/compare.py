"""Two plans side by side, and their differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.content import Content

from waltzrl_tui.plans.model import PlanRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.wrap import breaks
from waltzrl_tui.tui.plan.lines import (
    SIZES,
    enough_decimals,
    spread,
    state,
    time_range,
    total,
)
from waltzrl_tui.tui.plan.model import Plan
from waltzrl_tui.tui.plan.sheet import Layout
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.words import NONE, money, percent, short_count

PINNED: Final = "◆"
"""Marks the plan that another is compared with; the table marks it the same way."""

_NEXT: Final = (
    f"{PINNED} is pinned. Move the cursor to another plan, or press "
    f"{press('edit', 'plan')} to change the run."
)
_LABEL: Final = 9
_DIFFERENCE: Final = 18
_GAP: Final = 2
_WITH_DIFFERENCE: Final = 62


_Line = tuple[str, str, str, str]
"""A label, the pinned plan, the other one, and the difference."""


def compare_layout(pinned: Plan, other: Plan) -> Layout:
    """The lines of both plans in columns; equal values of the other one are dimmed."""
    table = _table(pinned, other)

    def lines(width: int) -> list[Content]:
        wide = width >= _WITH_DIFFERENCE
        room = width - _LABEL - (_GAP + _DIFFERENCE if wide else 0) - _GAP
        cells = max(6, room // 2)
        content: list[Content] = []
        if pinned == other:
            content += [*Content.styled(_NEXT, "$text-muted").wrap(max(8, width)), Content("")]
        for number, (label, left, right, difference) in enumerate(table):
            if not wide and difference and number:
                right = f"{right}\n{difference}"
            content += _columns(label, left, right, difference if wide else "", cells, number == 0)
        return content

    return lines


def _columns(
    label: str, left: str, right: str, difference: str, cells: int, head: bool
) -> list[Content]:
    lefts, rights = _wrapped(left, cells), _wrapped(right, cells)
    same = "$text-muted" if left == right and not head else "$foreground"
    strong = "bold " if head or label == "total" else ""
    lines = []
    for place in range(max(len(lefts), len(rights))):
        a = lefts[place] if place < len(lefts) else ""
        b = rights[place] if place < len(rights) else ""
        lines.append(
            Content.assemble(
                (f"{'' if place else label:<{_LABEL}}", "$faint"),
                (_filled(a, cells), f"{strong}{same}"),
                " " * _GAP,
                (_filled(b, cells), f"{strong}{same}"),
                " " * _GAP,
                ("" if place else difference, f"{strong}$text-accent"),
            )
        )
    return lines


def _wrapped(text: str, cells: int) -> list[str]:
    return [text[start:end] for start, end in breaks(text, cells)]


def _filled(text: str, cells: int) -> str:
    return text + " " * max(0, cells - Content(text).cell_length)


def _table(pinned: Plan, other: Plan) -> list[_Line]:
    a, b = pinned, other
    lines: list[_Line] = [
        ("", f"{PINNED} {one_line(a.row.title)}", f"▸ {one_line(b.row.title)}", "difference"),
        ("total", total(a.row), total(b.row), _dearer(a.row, b.row)),
        ("between", _range(a.row), _range(b.row), ""),
        ("time", time_range(a.row.seconds), time_range(b.row.seconds), _slower(a.row, b.row)),
        ("state", state(a.row)[0], state(b.row)[0], ""),
        ("model", one_line(a.row.model) or NONE, one_line(b.row.model) or NONE, ""),
        ("sum", _parts(a.row), _parts(b.row), ""),
        _counted("tokens", a, b, lambda plan: plan.row.training_tokens),
    ]
    settings: list[_Line] = [
        ("dataset", one_line(a.workload.source, 60), one_line(b.workload.source, 60), ""),
        _counted("rows", a, b, lambda plan: plan.rows),
        ("epochs", *_figures(a.settings.epochs, b.settings.epochs)),
        ("size", SIZES[a.settings.size], SIZES[b.settings.size], ""),
        ("method", a.settings.method.upper(), b.settings.method.upper(), ""),
        ("chat h", *_figures(a.settings.chat_hours, b.settings.chat_hours)),
        ("price of", _as_of(a.row), _as_of(b.row), ""),
    ]
    # Settings are listed only where they differ; the form shows the rest.
    lines += [line for line in settings if line[1] != line[2] or line[0] in ("rows", "price of")]
    return [line for line in lines if (line[1], line[2]) not in (("", ""), (NONE, NONE))]


def _range(row: PlanRow) -> str:
    return spread(row.total) if row.total else ""


def _parts(row: PlanRow) -> str:
    if row.total is None:
        return NONE
    decimals = enough_decimals(row.total, row.parts)
    return "\n".join(
        f"{money(part.usd.expected, decimals=decimals)} {one_line(part.what)}" for part in row.parts
    )


def _as_of(row: PlanRow) -> str:
    if row.price_as_of is None:
        return NONE
    return f"{row.price_as_of.isoformat()}{' ▲ old' if row.price_stale else ''}"


def _dearer(a: PlanRow, b: PlanRow) -> str:
    if a.total is None or b.total is None:
        return ""
    before, after = a.total.expected, b.total.expected
    if money(before) == money(after):
        return "the same"
    if min(before, after) >= 0.01:
        # From the amounts as shown, so that the three agree.
        before, after = round(before, 2), round(after, 2)
    share = f", {_share(before, after)}" if before else ""
    return f"{_sign(after - before)}{money(abs(after - before))}{share}"


def _slower(a: PlanRow, b: PlanRow) -> str:
    if a.seconds is None or b.seconds is None or a.seconds == b.seconds:
        return ""
    before, after = sum(a.seconds), sum(b.seconds)
    if not before or not after:
        return ""
    ratio = max(before, after) / min(before, after)
    return f"{ratio:.1f} × as {'long' if after > before else 'fast'}" if ratio >= 1.05 else ""


def _counted(label: str, a: Plan, b: Plan, count: Callable[[Plan], int]) -> _Line:
    before, after = count(a), count(b)
    share = _share(before, after) if before and after != before else ""
    return (label, _short(before), _short(after), share)


def _short(count: int) -> str:
    return short_count(count) if count else NONE


def _figures(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:g}", f"{after:g}", _more(before, after)


def _more(before: float, after: float) -> str:
    return f"{_sign(after - before)}{abs(after - before):g}" if after != before else ""


def _share(before: float, after: float) -> str:
    change = after / before - 1
    if abs(change) >= 9.995:
        return f"× {after / before:,.0f}"
    return f"{_sign(change)}{percent(abs(change))}"


def _sign(value: float) -> str:
    return "+" if value >= 0 else "−"
