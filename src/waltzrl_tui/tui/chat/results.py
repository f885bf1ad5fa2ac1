"""The dialog that shows which of two pairs is better, with significance tests."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.chat.duels import PairComparison
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.words import duration, percent, plural

_BAR = 24


class ResultsScreen(Dialog[None]):
    """Every two pairs that were compared, the latest comparison first."""

    BINDINGS = [Binding("escape,q,w,enter", "leave", "close")]

    def __init__(self, comparisons: Sequence[PairComparison]) -> None:
        super().__init__()
        self._comparisons = comparisons

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog chat-results") as box:
            box.border_title = "Who wins"
            box.border_subtitle = "esc close"
            if not self._comparisons:
                yield Static(
                    Content(
                        "No comparison yet. Press "
                        f"{press('beside', 'chat')} to set two side by side, ask, and vote."
                    )
                )
            for comparison in self._comparisons:
                yield Static(Content("\n").join([*_lines(comparison), Content("")]))


def _lines(comparison: PairComparison) -> list[Content]:
    first, second = one_line(comparison.first, 28), one_line(comparison.second, 28)
    votes = f"{plural(comparison.duels, 'prompt')} · {plural(comparison.votes, 'vote')}"
    votes += f", {comparison.blind} blind" if comparison.blind else ""
    votes += f", {comparison.early} early" if comparison.early else ""
    lines = [
        Content.assemble(
            (first, "bold $safe"), (" against ", "$text-muted"), (second, "bold $accent")
        ),
        Content.styled(f"  {votes}", "$faint"),
        *_votes(comparison),
    ]
    rate = comparison.win_rate
    if rate.value is not None:
        lines += [
            _row("wins", f"{percent(rate.value)} of {rate.n} decided"),
            _aside(
                f"95 % interval {percent(rate.low)} to {percent(rate.high)}, "
                f"sign test {_p_value(comparison.p)}"
            ),
        ]
    for name, by_whom in comparison.by_flag:
        for by, paired in by_whom.items():
            lines += _flag(name, by, paired)
    one, other = comparison.seconds
    if one is not None and other is not None:
        lines.append(_row("mean time", f"{duration(one)} against {duration(other)}"))
    return lines


def _votes(comparison: PairComparison) -> list[Content]:
    parts = (
        (comparison.first_wins, "█", "$safe", "first"),
        (comparison.ties, "▒", "$faint", "tie"),
        (comparison.both_bad, "░", "$unsafe", "both bad"),
        (comparison.second_wins, "█", "$accent", "second"),
    )
    if not comparison.votes:
        return []
    line = Content(f"  {'votes':<12}")
    for number, glyph, style, _ in parts:
        line = line.append(Content.styled(glyph * round(number / comparison.votes * _BAR), style))
    words = " · ".join(f"{name} {number}" for number, _, _, name in parts if number)
    return [line, _aside(words)]


def _flag(name: str, by: str, paired: Paired) -> list[Content]:
    low, high = paired.interval()
    gap = paired.difference or 0.0
    return [
        _row(name, f"{paired.first.hits} against {paired.second.hits} of {paired.n}, by {by}"),
        _aside(
            f"difference {100 * gap:+.0f} points, "
            f"95 % interval {100 * low:+.0f} to {100 * high:+.0f}"
        ),
        _aside(f"McNemar {paired.only_first} against {paired.only_second}, {_p_value(paired.p)}"),
    ]


def _row(name: str, text: str) -> Content:
    return Content.assemble((f"  {name:<12}", "$text-muted"), text)


def _aside(text: str) -> Content:
    return Content.styled(f"  {'':<12}{text}", "$faint")


def _p_value(p: float) -> str:
    return f"p {p:.3f}" if p >= 0.001 else "p < 0.001"
