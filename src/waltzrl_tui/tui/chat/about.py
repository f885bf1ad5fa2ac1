"""The dialog that tells where a turn came from: what the servers said, and what each part took."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.lines import usd
from waltzrl_tui.waltz.events import cut_off_words


class AboutTurn(ModalScreen[None]):
    """Each reply and each verdict of a turn."""

    BINDINGS = [Binding("escape,q,a,enter", "leave", "close")]

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self._turn = turn

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog chat-about") as box:
            box.border_title = f"Where turn {self._turn.number + 1} came from"
            box.border_subtitle = "esc close"
            yield Static(Content("\n").join(_lines(self._turn)))

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)


def _lines(turn: Turn) -> list[Content]:
    lines = [_row("asked", f"the pair {one_line(turn.pair, 44)}")]
    if not turn.rounds:
        lines.append(_row("", "Nothing came."))
    for number, state in enumerate(turn.rounds):
        last = number + 1 == len(turn.rounds)
        lines += _part("Reply" if last else f"Draft {number + 1}", state.origin, _reply(state))
        if state.judged or state.verdict_text:
            lines += _part("Its verdict", state.verdict_origin, _verdict(state))
    return lines


def _part(name: str, origin: Origin, took: str) -> list[Content]:
    lines = [Content(""), Content.styled(name, "bold $primary")]
    # Servers tell it at the end of a reply, which one that was stopped has none of.
    lines.append(_row("model", origin.model or "not told"))
    if origin.finish:
        off = cut_off_words(origin)
        lines.append(_row("ended", f"{origin.finish}: {off}" if off else origin.finish))
    for label, value in (("id", origin.id), ("fingerprint", origin.fingerprint)):
        if value:
            lines.append(_row(label, value))
    if origin.without:
        lines.append(_row("not taken", f"{', '.join(origin.without)}: it was asked without"))
    if took:
        lines.append(_row("took", took))
    return lines


def _reply(state: RoundState) -> str:
    first = state.first_token_seconds
    parts = [
        "stopped by hand" if state.reply_stopped else "",
        "stopped as unsafe while it grew" if state.reply_cut else "",
        "" if state.seconds is None else f"{state.seconds:.1f} s",
        "" if first is None else f"first word after {first:.2f} s",
        "" if state.tokens is None else f"{state.tokens:,} tokens",
        usd(state.usd),
    ]
    return " · ".join(part for part in parts if part)


def _verdict(state: RoundState) -> str:
    parts = [
        "" if state.verdict_seconds is None else f"{state.verdict_seconds:.1f} s",
        "" if state.verdict_tokens is None else f"{state.verdict_tokens:,} tokens",
        usd(state.verdict_usd),
        f"{state.looks} looks at the draft, {state.look_tokens:,} tokens" if state.looks else "",
    ]
    return " · ".join(part for part in parts if part)


def _row(label: str, text: str) -> Content:
    return Content.assemble((f"  {label:<12}", "$text-muted"), text)
