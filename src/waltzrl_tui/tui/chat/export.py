"""The dialog that asks for the file to export a chat to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from waltzrl_tui.tui.dialogs.export_to import ExportTo

_ENDINGS: Final = {
    ".md": "to read",
    ".jsonl": "all rounds, also a dataset",
    ".svg": "this screen",
}


class ExportChat(ExportTo):
    """Returns the file to write, or None.

    Args:
        path: The suggested path.
    """

    def __init__(self, path: Path) -> None:
        super().__init__("Export this chat", path, _ENDINGS)
