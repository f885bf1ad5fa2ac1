"""One message that fills the screen: the app cannot go on."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from waltzrl_tui.text import printable


class MessageScreen(Screen[None]):
    """What is wrong and what to do next; the only way on is to leave."""

    DEFAULT_CSS = """
    MessageScreen { align: center middle; }
    MessageScreen > .dialog { border: round $error; }
    """

    def __init__(self, title: str, message: str, hint: str = "") -> None:
        super().__init__()
        self._title = title
        self._message = message
        self._hint = hint

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content.styled(f"✗ {printable(self._title)}", "$text-error")
            box.border_subtitle = "q quit"
            yield Static(Content(printable(self._message)))
            if self._hint:
                yield Static(Content.styled("\n→ " + printable(self._hint), "$text-accent"))
