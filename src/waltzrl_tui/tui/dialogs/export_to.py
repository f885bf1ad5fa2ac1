"""The dialog that asks for the file to export to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from waltzrl_tui.text import one_line, printable


class ExportTo(ModalScreen[Path | None]):
    """Asks for a file name; returns the path, or None when cancelled.

    A file that exists is replaced only after a second enter.

    Args:
        title: What is exported.
        path: The suggested path.
        endings: What each file extension stands for; ctrl+t switches between them.
        write: Writes the file, in a thread, before the dialog closes; its `OSError` or
            `ValueError` is shown here. None leaves the writing to the caller.
    """

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+t", "switch_type", "other type", priority=True),
    ]

    def __init__(
        self,
        title: str,
        path: Path,
        endings: Mapping[str, str],
        write: Callable[[Path], None] | None = None,
    ) -> None:
        super().__init__()
        self._title, self._path, self._write = title, path, write
        self._endings = dict(endings)
        self._confirmed = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(one_line(self._title))
            box.border_subtitle = "enter write · ctrl+t other type · esc cancel"
            field = Input(str(self._path), compact=True, max_length=1000)
            field.cursor_blink = False
            yield field
            yield Static(id="export-status")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)
        types = " · ".join(f"{ending} {what}" for ending, what in self._endings.items())
        self._show(f"\n{types}", "$text-muted")

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)

    def action_switch_type(self) -> None:
        field = self.query_one(Input)
        path = Path(field.value)
        if not path.name:
            return
        endings = list(self._endings)
        place = endings.index(path.suffix) if path.suffix in endings else -1
        field.value = str(path.with_suffix(endings[(place + 1) % len(endings)]))
        field.cursor_position = len(field.value)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._confirmed = ""

    @on(Input.Submitted)
    async def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        name = event.value.strip()
        path = Path(name).expanduser()
        if not name or path.suffix.lower() not in self._endings:
            *others, last = self._endings
            self._show(f"\n✗ The name must end in {', '.join(others)} or {last}.", "$text-error")
        elif not await asyncio.to_thread(path.parent.is_dir):
            self._show(f"\n✗ There is no folder {one_line(str(path.parent))}.", "$text-error")
        elif self._confirmed != name and await asyncio.to_thread(path.exists):
            self._confirmed = name
            self._show("\n! The file exists; enter replaces it.", "$text-warning")
        else:
            await self._finish(path)

    async def _finish(self, path: Path) -> None:
        try:
            if self._write is not None:
                await asyncio.to_thread(self._write, path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self._show(f"\n✗ {one_line(str(path))} cannot be written: {reason}.", "$text-error")
        else:
            self.dismiss(path)

    def _show(self, text: str, style: str) -> None:
        self.query_one("#export-status", Static).update(Content.styled(printable(text), style))
