"""The field for prompts: enter sends, ctrl+j breaks the line, a paste stays as it is."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from waltzrl_tui.text import printable

LONGEST_PROMPT: Final = 100_000
"""Characters of a paste that are kept; the rest is cut."""


class PromptInput(TextArea):
    """A field that grows with its text up to a third of the screen."""

    class Cut(Message):
        """A paste was too long and was cut."""

    class Recall(Message):
        """The user wants the previous prompt back, in an empty field."""

    class Page(Message):
        """The user pages through the conversation without leaving the field."""

        def __init__(self, down: bool) -> None:
            super().__init__()
            self.down = down

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False, show_line_numbers=False)
        # A blinking cursor writes to the terminal twice a second for ever.
        self.cursor_blink = False

    def invite(self, text: str) -> None:
        """Show `text` while the field is empty."""
        self.placeholder = Content(printable(text))

    def check_consume_key(self, key: str, character: str | None = None) -> bool:
        return key != "enter" and super().check_consume_key(key, character)

    def new_line(self) -> None:
        """Break the line where the cursor is."""
        self.insert("\n")
        self.scroll_cursor_visible()

    def action_cursor_page_up(self) -> None:
        self.post_message(self.Page(down=False))

    def action_cursor_page_down(self) -> None:
        self.post_message(self.Page(down=True))

    async def _on_key(self, event: events.Key) -> None:
        # Textual runs the base class's handler after this one, unless its default is prevented.
        if event.key == "enter":
            # Left to the screen's binding, which sends.
            event.prevent_default()
        elif event.key == "up" and not self.text:
            event.stop()
            event.prevent_default()
            self.post_message(self.Recall())

    async def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        text = printable(event.text.replace("\r\n", "\n").replace("\r", "\n"))
        if len(text) > LONGEST_PROMPT:
            text = text[:LONGEST_PROMPT]
            self.post_message(self.Cut())
        await super()._on_paste(events.Paste(text))
