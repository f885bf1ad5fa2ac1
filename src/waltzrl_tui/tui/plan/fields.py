"""A field for an amount in the form of a plan: rows, epochs, hours, dollars."""

from __future__ import annotations

from typing import Final

from textual import events
from textual.binding import Binding
from textual.widgets import Input

_WHOLE: Final = r"[0-9]*"
_BROKEN: Final = r"[0-9]*\.?[0-9]*"


class AmountField(Input):
    """A number that is not negative; what an empty field means stands in it as `placeholder`.

    Up and down change it by `step`; below `least` it becomes empty.
    """

    BINDINGS = [
        Binding("up", "step(1)", "more", show=False),
        Binding("down", "step(-1)", "less", show=False),
    ]
    DEFAULT_CSS = """
    AmountField { width: 9; background: $panel; }
    AmountField:focus { background: $block-cursor-background; }
    """

    def __init__(
        self,
        value: str,
        *,
        id: str,
        digits: int,
        placeholder: str,
        step: float = 1,
        least: float = 0,
        whole: bool = False,
    ) -> None:
        super().__init__(
            value,
            placeholder,
            id=id,
            restrict=_WHOLE if whole else _BROKEN,
            max_length=digits,
            compact=True,
        )
        self._step = step
        self._least = least
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
        """The number, None when the field is empty or holds a point only."""
        return float(self.value) if self.value.strip(".") else None

    def action_step(self, by: int) -> None:
        number = (self.number or 0) + by * self._step
        value = f"{number:.2f}".rstrip("0").rstrip(".") if number >= self._least else ""
        if len(value) <= (self.max_length or 0):
            self.value = value
