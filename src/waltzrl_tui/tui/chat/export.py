"""The dialog that asks for the file to export a chat to."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from waltzrl_tui.text import one_line, printable

KINDS: Final = (".md", ".jsonl", ".svg")
"""Markdown to read, JSONL to work with, SVG of the screen."""


class ExportChat(ModalScreen[Path | None]):
    """Returns the file to write, or None. It asks before an existing file is replaced.

    Args:
        path: The proposed file.
    """

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+t", "turn", "other kind", priority=True),
    ]

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._confirmed = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Export this chat"
            box.border_subtitle = "enter write · ctrl+t other kind · esc cancel"
            field = Input(str(self._path), compact=True, max_length=1000)
            field.cursor_blink = False
            yield field
            yield Static(id="export-status")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)
        self._show_status(
            "\nFile type by extension: .md text · .jsonl all rounds, a dataset · .svg this screen",
            "$text-muted",
        )

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)

    def action_turn(self) -> None:
        field = self.query_one(Input)
        path = Path(field.value)
        place = KINDS.index(path.suffix) if path.suffix in KINDS else -1
        field.value = str(path.with_suffix(KINDS[(place + 1) % len(KINDS)]))
        field.cursor_position = len(field.value)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._confirmed = ""

    @on(Input.Submitted)
    async def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        name = event.value.strip()
        path = Path(name).expanduser()
        if not name or path.suffix.lower() not in KINDS:
            self._show_status("\n✗ The name must end in .md, .jsonl or .svg.", "$text-error")
        elif not await asyncio.to_thread(path.parent.is_dir):
            self._show_status(
                f"\n✗ There is no folder {one_line(str(path.parent))}.", "$text-error"
            )
        elif self._confirmed != name and await asyncio.to_thread(path.exists):
            self._confirmed = name
            self._show_status("\n! The file exists; enter replaces it.", "$text-warning")
        else:
            self.dismiss(path)

    def _show_status(self, text: str, style: str) -> None:
        self.query_one("#export-status", Static).update(Content.styled(printable(text), style))
