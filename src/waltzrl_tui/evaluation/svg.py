"""Plots as inline SVG: no script, no font, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.text import one_line
from waltzrl_tui.words import NONE, percent, points

_LABEL: Final = 210
_LABEL_CHARS: Final = 28
_WIDTH: Final = 460
_RIGHT: Final = 150
_ROW: Final = 30
_DOT: Final = 18


@dataclass(frozen=True, slots=True)
class Bar:
    """One subject: the rates of its drafts and final replies, and the paper's figure in percent."""

    name: str
    first: Rate
    final: Rate
    paper: float | None = None


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Rates as bars with their 95 % intervals: the draft above, the final reply below."""
    if not rows:
        return ""
    top, height = 26, len(rows) * (_ROW + 8)
    out = [_open(title, top + height + 24)]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _LABEL + share * _WIDTH
        out.append(f'<line class="grid" x1="{x:g}" y1="{top}" x2="{x:g}" y2="{top + height}"/>')
        out.append(_text(x, top + height + 15, percent(share), "tick", "middle"))
    for number, row in enumerate(rows):
        y = top + number * (_ROW + 8) + 4
        out.append(_text(_LABEL - 10, y + 19, one_line(row.name, _LABEL_CHARS), "label", "end"))
        out.append(_bar(row.first, y, 11, "first"))
        out.append(_bar(row.final, y + 14, 13, "final"))
        if row.paper is not None:
            x = _LABEL + row.paper / 100 * _WIDTH
            out.append(
                f'<path class="paper" d="M{x:g} {y - 2}v31"><title>paper: {row.paper:g} %'
                "</title></path>"
            )
        change = " → ".join(percent(rate.value, decimals=1) for rate in (row.first, row.final))
        out.append(_text(_LABEL + _WIDTH + 12, y + 20, change, "value"))
    return "".join(out) + "</svg>"


def forest(title: str, rows: Sequence[tuple[str, Paired]]) -> str:
    """Paired differences with their 95 % intervals around zero; left of it is better."""
    known = [(name, paired) for name, paired in rows if paired.n]
    if not known:
        return ""
    top, height = 26, len(known) * _ROW
    middle = _LABEL + _WIDTH / 2
    out = [_open(title, top + height + 24)]
    for gap in (-1, -0.5, 0, 0.5, 1):
        x = middle + gap * _WIDTH / 2
        style = "zero" if gap == 0 else "grid"
        out.append(f'<line class="{style}" x1="{x:g}" y1="{top}" x2="{x:g}" y2="{top + height}"/>')
        out.append(_text(x, top + height + 15, f"{100 * gap:+.0f}", "tick", "middle"))
    for number, (name, paired) in enumerate(known):
        y = top + number * _ROW + _ROW / 2
        low, high = paired.interval()
        gap = paired.difference or 0.0
        x, left, right = (middle + share * _WIDTH / 2 for share in (gap, low, high))
        out.append(_text(_LABEL - 10, y + 4, one_line(name, _LABEL_CHARS), "label", "end"))
        out.append(f'<line class="whisker" x1="{left:g}" y1="{y}" x2="{right:g}" y2="{y}"/>')
        out.append(f'<circle class="final" cx="{x:g}" cy="{y}" r="5"/>')
        value = points(gap, low, high, decimals=0)
        out.append(_text(_LABEL + _WIDTH + 12, y + 4, value, "value"))
    return "".join(out) + "</svg>"


def plane(title: str, rows: Sequence[tuple[str, Rate, Rate]]) -> str:
    """Unsafe against timid: one dot per subject with the intervals of both rates."""
    known = [row for row in rows if row[1].n and row[2].n]
    if not known:
        return ""
    size, left, top = 330, 60, 46
    out = [_open(title, top + size + 40)]
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = left + share * size, top + size - share * size
        out.append(f'<line class="grid" x1="{x:g}" y1="{top}" x2="{x:g}" y2="{top + size}"/>')
        out.append(f'<line class="grid" x1="{left}" y1="{y:g}" x2="{left + size}" y2="{y:g}"/>')
        out.append(_text(x, top + size + 15, percent(share), "tick", "middle"))
        out.append(_text(left - 6, y + 4, percent(share), "tick", "end"))
    out.append(_text(left + size / 2, top + size + 32, "ASR: unsafe replies", "tick", "middle"))
    out.append(_text(left, top - 8, "ORR: refused benign prompts", "tick"))
    dots: dict[tuple[int, int], list[int]] = {}
    for number, (name, unsafe, timid) in enumerate(known):
        x, y = left + (unsafe.value or 0) * size, top + size - (timid.value or 0) * size
        for x1, y1, x2, y2 in (
            (left + unsafe.low * size, y, left + unsafe.high * size, y),
            (x, top + size - timid.low * size, x, top + size - timid.high * size),
        ):
            out.append(f'<line class="whisker" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')
        # Dots that would overlap are merged.
        near = next((at for at in dots if max(abs(x - at[0]), abs(y - at[1])) < _DOT), None)
        dots.setdefault(near or (round(x), round(y)), []).append(number + 1)
        legend = f"{number + 1}  {one_line(name, 40)}"
        out.append(_text(left + size + 30, top + 16 + 20 * number, legend, "value"))
    for (at_x, at_y), numbers in dots.items():
        width = _DOT * (1 + 0.55 * (len(numbers) - 1))
        out.append(
            f'<rect class="final" x="{at_x - width / 2:g}" y="{at_y - _DOT / 2:g}" '
            f'width="{width:g}" height="{_DOT}" rx="{_DOT / 2:g}"/>'
        )
        out.append(_text(at_x, at_y + 4, " ".join(map(str, numbers)), "number", "middle"))
    return "".join(out) + "</svg>"


def _open(title: str, height: float) -> str:
    width = _LABEL + _WIDTH + _RIGHT
    return (
        f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>" + _text(0, 14, title, "title")
    )


def _bar(rate: Rate, y: float, height: int, style: str) -> str:
    if rate.value is None:
        return _text(_LABEL + 4, y + height - 2, NONE, "tick")
    low, high = _LABEL + rate.low * _WIDTH, _LABEL + rate.high * _WIDTH
    middle = y + height / 2
    return (
        f'<rect class="{style}" x="{_LABEL}" y="{y:g}" width="{rate.value * _WIDTH:g}" '
        f'height="{height}"><title>{rate.hits} of {rate.n}</title></rect>'
        f'<line class="whisker" x1="{low:g}" y1="{middle:g}" x2="{high:g}" y2="{middle:g}"/>'
    )


def _text(x: float, y: float, text: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
