"""The messages that the app sends to its screens."""

from __future__ import annotations

from textual.message import Message


class StoreChanged(Message, bubble=False):
    """Something was committed to the store, by this process or another one."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, StoreChanged)
