"""A dialog that asks for one line of text."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog


class AskText(Dialog[str]):
    """Returns the text, or None when cancelled.

    Args:
        title: The name of the value.
        hint: Its format, shown below the field.
        text: The initial text.
    """

    BINDINGS = [Binding("escape", "leave", "cancel")]

    def __init__(self, title: str, hint: str, text: str = "") -> None:
        super().__init__()
        self._title, self._hint, self._text = title, hint, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(one_line(self._title))
            box.border_subtitle = "enter ok · esc cancel"
            field = Input(self._text, compact=True, max_length=400)
            field.cursor_blink = False
            yield field
            yield Static(Content.styled(printable(self._hint), "$text-muted"))

    @on(Input.Submitted)
    def _done(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())
