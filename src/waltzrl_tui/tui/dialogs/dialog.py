"""What dialogs share: closing without an answer."""

from __future__ import annotations

from typing import TypeVar

from textual.screen import ModalScreen

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer | None]):
    """A screen over another one that returns an answer, or None when it is left."""

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)
