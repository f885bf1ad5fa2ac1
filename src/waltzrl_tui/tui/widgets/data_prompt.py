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
_HINTS: dict[Question, str] = {"filter": "text in prompt, reply or labels", "goto": "number"}


class PromptBar(Horizontal):
    """Hidden until it asks something."""

    DEFAULT_CSS = """
    PromptBar { height: 1; display: none; background: $panel; }
    PromptBar Label { color: $accent; text-style: bold; padding: 0 1; }
    PromptBar Input { width: 1fr; background: $panel; }
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
        yield Label("/")
        field = Input(compact=True, max_length=200)
        field.cursor_blink = False
        yield field

    @property
    def asking(self) -> bool:
        return self.display

    def ask(self, question: Question, text: str = "") -> None:
        """Show the bar with `text` in it and take the keys."""
        self._question = question
        self.query_one(Label).update(_LABELS[question])
        field = self.query_one(Input)
        with field.prevent(Input.Changed):
            field.value = text
        field.placeholder = _HINTS[question]
        # At once: what is typed next must not be taken for keys of the screen.
        self.display = True
        self.screen.set_focus(field)

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
