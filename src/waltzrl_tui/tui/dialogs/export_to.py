"""The dialog that asks for the file to export to. The extension decides the file type."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog


class ExportTo(Dialog[Path]):
    """Returns the file to write, or None. It asks before an existing file is replaced.

    Args:
        path: The proposed file.
        types: What each file type holds, by extension: `{".md": "text"}`.
    """

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+t", "turn", "other type", priority=True),
    ]

    def __init__(self, title: str, path: Path, types: Mapping[str, str]) -> None:
        super().__init__()
        self._title = title
        self._path = path
        self._types = types
        self._confirmed = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = self._title
            box.border_subtitle = "enter write · ctrl+t other type · esc cancel"
            field = Input(str(self._path), compact=True, max_length=1000)
            field.cursor_blink = False
            yield field
            yield Static(id="export-status")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)
        types = " · ".join(f"{extension} {what}" for extension, what in self._types.items())
        self._show_status(f"File type by extension: {types}", "$text-muted")

    def action_turn(self) -> None:
        field, extensions = self.query_one(Input), list(self._types)
        path = Path(field.value)
        place = extensions.index(path.suffix) if path.suffix in extensions else -1
        field.value = str(path.with_suffix(extensions[(place + 1) % len(extensions)]))
        field.cursor_position = len(field.value)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._confirmed = ""

    @on(Input.Submitted)
    async def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        name = event.value.strip()
        path = Path(name).expanduser().absolute()
        if not name or path.suffix.lower() not in self._types:
            *others, last = self._types
            extensions = f"{', '.join(others)} or {last}"
            self._show_status(f"✗ The name must end in {extensions}.", "$text-error")
        elif not await asyncio.to_thread(path.parent.is_dir):
            folder = one_line(str(path.parent))
            self._show_status(f"✗ There is no folder {folder}.", "$text-error")
        elif self._confirmed != name and await asyncio.to_thread(path.exists):
            self._confirmed = name
            self._show_status("! The file exists; enter replaces it.", "$text-warning")
        else:
            self.dismiss(path)

    def _show_status(self, text: str, style: str) -> None:
        status = Content.styled(printable(f"\n{text}"), style)
        self.query_one("#export-status", Static).update(status)
