"""Small fields for forms: a number, and a choice among a few words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input

_WHOLE: Final = r"[0-9]*"
_DECIMAL: Final = r"[0-9]*\.?[0-9]*"


class NumberField(Input):
    """A number that is not negative; it may be empty. Up and down change it.

    Args:
        digits: The most characters.
        placeholder: What an empty field means.
        step: What up and down add and subtract.
        minimum: Below it, down empties the field.
        whole: Whether it takes no fraction.
    """

    BINDINGS = [
        Binding("up", "step(1)", "more", show=False),
        Binding("down", "step(-1)", "less", show=False),
    ]
    DEFAULT_CSS = """
    NumberField { width: 9; background: $panel; }
    NumberField:focus { background: $block-cursor-background; }
    """

    def __init__(
        self,
        value: str,
        *,
        id: str,
        digits: int,
        placeholder: str = "",
        step: float = 1,
        minimum: float = 0,
        whole: bool = False,
    ) -> None:
        super().__init__(
            value,
            placeholder,
            id=id,
            restrict=_WHOLE if whole else _DECIMAL,
            max_length=digits,
            compact=True,
        )
        self._step = step
        self._minimum = minimum
        self._whole = whole
        # A blinking cursor would write to the terminal for ever.
        self.cursor_blink = False

    def check_consume_key(self, key: str, character: str | None) -> bool:
        if character is None or "+" in key:
            return False  # with alt a number changes the screen
        return character.isdecimal() or (character == "." and not self._whole)

    async def _on_key(self, event: events.Key) -> None:
        # Letters are not for this field, so they stay the screen's keys.
        if event.is_printable and not self.check_consume_key(event.key, event.character):
            event.prevent_default()

    @property
    def number(self) -> float | None:
        """The number, None when the field is empty or holds only a point."""
        return float(self.value) if self.value.strip(".") else None

    @property
    def integer(self) -> int | None:
        """The number without its fraction, None when the field is empty."""
        return None if self.number is None else int(self.number)

    def action_step(self, by: int) -> None:
        number = (self.number or 0) + by * self._step
        value = f"{number:.2f}".rstrip("0").rstrip(".") if number >= self._minimum else ""
        if len(value) <= (self.max_length or 0):
            self.value = value


class Choice(Widget, can_focus=True):
    """One of a few words after a label; left, right and space change it, and so does a click."""

    ALLOW_SELECT = False
    BINDINGS = [
        Binding("right,space,enter", "turn(1)", "next", show=False),
        Binding("left", "turn(-1)", "previous", show=False),
    ]
    DEFAULT_CSS = """
    Choice { width: 1fr; height: 1; }
    """

    value: reactive[str] = reactive("")

    @dataclass
    class Changed(Message):
        """The choice changed."""

        choice: Choice
        value: str

    def __init__(self, label: str, words: Sequence[str], *, id: str, label_width: int = 8) -> None:
        super().__init__(id=id)
        self._label, self._label_width = label, label_width
        self._words = tuple(words)
        self.set_reactive(Choice.value, words[0])

    def set_words(self, words: Sequence[str]) -> None:
        """Offer other words; the current one stays where it is among them."""
        self._words = tuple(words)
        if self.value not in self._words:
            self.value = self._words[0]

    def render(self) -> Content:
        room = max(1, self.content_size.width - self._label_width - 6)
        shown = self.value if len(self.value) <= room else f"{self.value[: room - 1]}…"
        word = Content.assemble((" ‹ ", "$faint"), shown, (" › ", "$faint"))
        ground = "on $block-cursor-background" if self.has_focus else "on $panel"
        return Content.assemble(
            (f"{self._label:<{self._label_width}}", "$text-muted"), word.stylize(ground)
        )

    def watch_value(self, value: str) -> None:
        self.post_message(self.Changed(self, value))

    def on_click(self, event: events.Click) -> None:
        self.action_turn(1)

    def action_turn(self, by: int) -> None:
        place = (self._words.index(self.value) + by) % len(self._words)
        self.value = self._words[place]
