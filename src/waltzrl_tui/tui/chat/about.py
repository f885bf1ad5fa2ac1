"""The dialog with the details of a turn: models, stop reasons, timing, costs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.waltz.events import cut_off_words
from waltzrl_tui.words import duration, money, plural, tokens


class AboutTurn(Dialog[None]):
    """Each reply and each verdict of a turn."""

    BINDINGS = [Binding("escape,q,a,enter", "leave", "close")]

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self._turn = turn

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog chat-about") as box:
            box.border_title = f"Details of turn {self._turn.number + 1}"
            box.border_subtitle = "esc close"
            yield Static(Content("\n").join(_lines(self._turn)))


def _lines(turn: Turn) -> list[Content]:
    lines = [_row("pair", one_line(turn.pair, 44))]
    if not turn.rounds:
        lines.append(_row("", "No reply arrived."))
    for number, state in enumerate(turn.rounds):
        last = number + 1 == len(turn.rounds)
        lines += _part("Reply" if last else f"Draft {number + 1}", state.origin, _reply(state))
        if state.judged or state.verdict_text:
            lines += _part("Its verdict", state.verdict_origin, _verdict(state))
    return lines


def _part(name: str, origin: Origin, figures: str) -> list[Content]:
    lines = [Content(""), Content.styled(name, "bold $primary")]
    # Servers report the model at the end of a reply, which a stopped one does not reach.
    lines.append(_row("model", origin.model or "not reported"))
    if origin.finish:
        off = cut_off_words(origin)
        lines.append(_row("ended", f"{origin.finish}: {off}" if off else origin.finish))
    for label, value in (("id", origin.id), ("fingerprint", origin.fingerprint)):
        if value:
            lines.append(_row(label, value))
    if origin.without:
        lines.append(
            _row("not sent", f"{', '.join(origin.without)}: the server does not accept it")
        )
    if figures:
        lines.append(_row("took", figures))
    return lines


def _reply(state: RoundState) -> str:
    first = state.first_token_seconds
    parts = [
        "stopped by hand" if state.reply_stopped else "",
        "cut off as unsafe while it streamed" if state.reply_cut else "",
        duration(state.seconds, unknown=""),
        "" if first is None else f"first word after {duration(first)}",
        tokens(state.tokens, unknown=""),
        money(state.usd, unknown=""),
    ]
    return " · ".join(part for part in parts if part)


def _verdict(state: RoundState) -> str:
    parts = [
        duration(state.verdict_seconds, unknown=""),
        tokens(state.verdict_tokens, unknown=""),
        money(state.verdict_usd, unknown=""),
        f"{plural(state.looks, 'check')} of the draft, {tokens(state.look_tokens)}"
        if state.looks
        else "",
    ]
    return " · ".join(part for part in parts if part)


def _row(label: str, text: str) -> Content:
    return Content.assemble((f"  {label:<12}", "$text-muted"), text)
