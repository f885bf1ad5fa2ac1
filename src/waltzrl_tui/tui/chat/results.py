"""The dialog that says which of two pairs is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.chat.duels import PairComparison
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.pick import count
from waltzrl_tui.tui.shell.keys import press

_BAR = 24


class ResultsScreen(ModalScreen[None]):
    """Each two pairs that met, those that met last first."""

    BINDINGS = [Binding("escape,q,w,enter", "leave", "close")]

    def __init__(self, standings: Sequence[PairComparison]) -> None:
        super().__init__()
        self._standings = standings

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog chat-results") as box:
            box.border_title = "Who wins"
            box.border_subtitle = "esc close"
            if not self._standings:
                yield Static(
                    Content(
                        "No two pairs have met yet. Press "
                        f"{press('beside', 'chat')} to set two side by side, ask, and vote."
                    )
                )
            for standing in self._standings:
                yield Static(Content("\n").join([*_lines(standing), Content("")]))

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)


def _lines(told: PairComparison) -> list[Content]:
    first, second = one_line(told.first, 28), one_line(told.second, 28)
    votes = f"{count(told.duels, 'prompt')} · {count(told.votes, 'vote')}"
    votes += f", {told.blind} blind" if told.blind else ""
    votes += f", {told.early} early" if told.early else ""
    lines = [
        Content.assemble(
            (first, "bold $safe"), (" against ", "$text-muted"), (second, "bold $accent")
        ),
        Content.styled(f"  {votes}", "$faint"),
        *_votes(told),
    ]
    rate = told.win_rate
    if rate.value is not None:
        lines += [
            _row("wins", f"{rate.value:.0%} of the {rate.n} decided"),
            _aside(f"95 % between {rate.low:.0%} and {rate.high:.0%}, sign test {_sure(told.p)}"),
        ]
    for name, by_whom in told.by_flag:
        for by, paired in by_whom.items():
            lines += _flag(name, by, paired)
    one, other = told.seconds
    if one is not None and other is not None:
        lines.append(_row("mean time", f"{one:.1f} s against {other:.1f} s"))
    return lines


def _votes(told: PairComparison) -> list[Content]:
    parts = (
        (told.first_wins, "█", "$safe", "first"),
        (told.ties, "▒", "$faint", "tie"),
        (told.both_bad, "░", "$unsafe", "both bad"),
        (told.second_wins, "█", "$accent", "second"),
    )
    if not told.votes:
        return []
    line = Content(f"  {'votes':<12}")
    for number, glyph, style, _ in parts:
        line = line.append(Content.styled(glyph * round(number / told.votes * _BAR), style))
    words = " · ".join(f"{name} {number}" for number, _, _, name in parts if number)
    return [line, _aside(words)]


def _flag(name: str, by: str, paired: Paired) -> list[Content]:
    low, high = paired.interval()
    gap = paired.difference or 0.0
    return [
        _row(name, f"{paired.first.hits} against {paired.second.hits} of {paired.n}, by {by}"),
        _aside(f"difference {gap:+.0%}, 95 % between {low:+.0%} and {high:+.0%}"),
        _aside(f"McNemar {paired.only_first} against {paired.only_second}, {_sure(paired.p)}"),
    ]


def _row(name: str, text: str) -> Content:
    return Content.assemble((f"  {name:<12}", "$text-muted"), text)


def _aside(text: str) -> Content:
    return Content.styled(f"  {'':<12}{text}", "$faint")


def _sure(p: float) -> str:
    return f"p {p:.3f}" if p >= 0.001 else "p < 0.001"
