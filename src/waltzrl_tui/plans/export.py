"""Plans as a file: a Markdown table for people, CSV for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from waltzrl_tui.plans.model import PlanRow
from waltzrl_tui.text import one_line

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
    """One line a plan under a header; amounts as plain numbers, lists joined by "; ".

    Cells that a spreadsheet would run as a formula begin with an apostrophe.
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
    """A table of all plans, then each one's sum line by line."""
    lines = [
        f"# {_text(title)}",
        "",
        "| provider | model | total | range | time | state | price of |",
        "|---|---|---:|---|---|---|---|",
    ]
    for row in rows:
        total = f"${row.total.expected:,.2f}" if row.total else "–"
        span = f"${row.total.low:,.2f}–{row.total.high:,.2f}" if row.total else "–"
        dated = f"{row.price_as_of}{' (old)' if row.price_stale else ''}" if row.price_as_of else ""
        state = f"{row.state.replace('_', ' ')}: {row.reason}" if row.reason else row.state
        cells = (row.title, row.model or "–", total, span, _time(row), state, dated)
        lines.append("| " + " | ".join(_text(cell) for cell in cells) + " |")
    for row in rows:
        if row.total is None:
            continue
        lines += [
            "",
            f"## {_text(row.title)}",
            "",
            "| line | USD | low | high |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {_text(part.what)} | {part.usd.expected:.4f} | {part.usd.low:.4f} "
            f"| {part.usd.high:.4f} |"
            for part in row.parts
        ]
        total_usd = row.total
        lines.append(
            f"| **total** | **{total_usd.expected:.4f}** | {total_usd.low:.4f} "
            f"| {total_usd.high:.4f} |"
        )
        lines.append("")
        if row.price_source:
            lines.append(f"- source: {_text(row.price_source)}")
        lines += [f"- {_text(said)}" for said in (*row.blockers, *row.warnings, *row.notes)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    shown = one_line(text, 2000)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def _text(text: str) -> str:
    shown = one_line(text, 2000)
    for mark in "\\|`*_<>[]":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def _time(row: PlanRow) -> str:
    if row.seconds is None:
        return "–"
    low, high = row.seconds
    return f"{low / 60:,.0f}–{high / 60:,.0f} min"
