"""Plans as files: Markdown for people, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from waltzrl_tui.plans.model import Money, PlanRow
from waltzrl_tui.text import one_line
from waltzrl_tui.words import NONE, duration_range, money, money_range

_COLUMNS = (
    "provider",
    "title",
    "model",
    "state",
    "reason",
    "training_tokens",
    "exact",
    "total_low_usd",
    "total_expected_usd",
    "total_high_usd",
    "seconds_low",
    "seconds_high",
    "price_as_of",
    "price_stale",
    "price_source",
    "parts",
    "blockers",
    "warnings",
    "notes",
)


def to_csv(rows: Sequence[PlanRow]) -> str:
    """One line per plan below a header; amounts are plain numbers, lists are joined by "; ".

    A cell that a spreadsheet would run as a formula gets a leading apostrophe.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        total, seconds = row.total, row.seconds
        writer.writerow(
            [
                row.provider,
                _cell(row.title),
                _cell(row.model),
                row.state,
                _cell(row.reason),
                row.training_tokens,
                "yes" if row.exact else "no",
                total.low if total else "",
                total.expected if total else "",
                total.high if total else "",
                round(seconds[0]) if seconds else "",
                round(seconds[1]) if seconds else "",
                row.price_as_of or "",
                "yes" if row.price_stale else "no",
                _cell(row.price_source),
                _cell("; ".join(f"{part.what}: {part.usd.expected}" for part in row.parts)),
                _cell("; ".join(row.blockers)),
                _cell("; ".join(row.warnings)),
                _cell("; ".join(row.notes)),
            ]
        )
    return out.getvalue()


def to_markdown(rows: Sequence[PlanRow], *, title: str = "Plans") -> str:
    """A table of all plans, then the cost of each, item by item."""
    lines = [
        f"# {_text(title)}",
        "",
        "| provider | model | total | range | time | state | price of |",
        "|---|---|---:|---|---|---|---|",
    ]
    for row in rows:
        total = money(row.total.expected) if row.total else NONE
        span = money_range(row.total.low, row.total.high) if row.total else NONE
        time = duration_range(*row.seconds) if row.seconds else NONE
        as_of = str(row.price_as_of or "")
        if as_of and row.price_stale:
            as_of += " (old)"
        state = row.state.replace("_", " ")
        if row.reason:
            state += f": {row.reason}"
        cells = (row.title, row.model or NONE, total, span, time, state, as_of)
        lines.append("| " + " | ".join(_text(cell) for cell in cells) + " |")
    for row in rows:
        if row.total is None:
            continue
        lines += [
            "",
            f"## {_text(row.title)}",
            "",
            "| item | expected | low | high |",
            "|---|---:|---:|---:|",
        ]
        for item in row.parts:
            expected, low, high = _amounts(item.usd)
            lines.append(f"| {_text(item.what)} | {expected} | {low} | {high} |")
        expected, low, high = _amounts(row.total)
        lines += [f"| **total** | **{expected}** | {low} | {high} |", ""]
        if row.price_source:
            lines.append(f"- source: {_text(row.price_source)}")
        lines += [f"- {_text(text)}" for text in (*row.blockers, *row.warnings, *row.notes)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    shown = one_line(text, 2000)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def _text(text: str) -> str:
    shown = one_line(text, 2000)
    for mark in "\\|`*_<>[]":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def _amounts(usd: Money) -> list[str]:
    return [money(amount, decimals=4) for amount in (usd.expected, usd.low, usd.high)]
