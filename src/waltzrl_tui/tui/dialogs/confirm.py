"""A question that is answered with one key."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.shell.bars import click


class ConfirmScreen(ModalScreen[str]):
    """Asks, and returns the key of the answer, or "" when cancelled.

    Args:
        title: The question.
        text: What the answers lead to.
        answers: Keys, each with its effect.
    """

    BINDINGS = [Binding("escape,n,q", "answer('')", "no")]

    def __init__(self, title: str, text: str, answers: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._answers = tuple(answers)
        for key, what in self._answers:
            self._bindings.bind(key, f"answer({key!r})", what)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(one_line(self._title))
            yield Static(Content(printable(self._text)))
            answers = [_answer(key, what, key) for key, what in self._answers]
            leave = _answer("esc", "cancel", "")
            yield Static(Content("\n").join([Content(""), *answers, leave]))

    def action_answer(self, key: str) -> None:
        self.dismiss(key)


def _answer(cap: str, what: str, key: str) -> Content:
    line = Content.assemble((f"{cap:<4}", "bold $accent"), one_line(what))
    return line.stylize(click(f"screen.answer({key!r})"))
