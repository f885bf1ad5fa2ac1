"""The one-line bar over the table that asks for a text to filter by, or for a row number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Label

Question = Literal["filter", "goto"]
_LABELS: dict[Question, str] = {"filter": "/", "goto": "row"}
_HINTS: dict[Question, str] = {"filter": "words, or: where length(reply) < 40", "goto": "number"}


class PromptBar(Horizontal):
    """Hidden until it asks something."""

    DEFAULT_CSS = """
    PromptBar { height: 1; display: none; background: $panel; }
    PromptBar Label { color: $accent; text-style: bold; padding: 0 1; }
    PromptBar Input { width: 1fr; background: $panel; }
    PromptBar #prompt-status { max-width: 50%; color: $text-warning; text-style: none; }
    """

    @dataclass
    class Typed(Message):
        """The text changed, or `done`: it was confirmed."""

        question: Question
        text: str
        done: bool

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._question: Question = "filter"

    def compose(self) -> ComposeResult:
        yield Label("/", id="prompt-label")
        field = Input(compact=True, max_length=1000)
        field.cursor_blink = False
        yield field
        yield Label("", id="prompt-status", markup=False)

    @property
    def asking(self) -> bool:
        return self.display

    def ask(self, question: Question, text: str = "") -> None:
        """Show the bar with `text` in it and take the keys."""
        self._question = question
        self.query_one("#prompt-label", Label).update(_LABELS[question])
        self.say("")
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        field.cursor_position = len(text)
        # What was asked before is replaced by typing, a beginning is gone on with.
        field.select_on_focus = not text.endswith(" ")
        field.placeholder = _HINTS[question]
        # At once: what is typed next must not be taken for keys of the screen.
        self.display = True
        self.screen.set_focus(field)

    def say(self, message: str) -> None:
        """Show a few words about what was typed, at the right."""
        status = self.query_one("#prompt-status", Label)
        status.update(message)
        status.display = bool(message)

    def close(self) -> None:
        self.display = False

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Typed(self._question, event.value, done=False))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Typed(self._question, event.value, done=True))
