"""The dialog that writes the plans into a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from waltzrl_tui.plans.model import PlanRow
from waltzrl_tui.text import one_line, printable

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

KINDS: Final = (".md", ".csv")
"""What can be written: Markdown and CSV, by the ending of the file's name."""


async def ask_and_export(app: WaltzApp, source: Path, rows: Sequence[PlanRow]) -> None:
    """Ask where to, and write the plans for the dataset `source` there."""
    export = await asyncio.to_thread(import_module, "waltzrl_tui.plans.export")

    def text(kind: str) -> str:
        made: str = export.to_csv(rows) if kind == ".csv" else export.to_markdown(rows)
        return made

    target = app.workspace.home / f"plan-{source.stem}.md"
    path = await app.push_screen_wait(ExportScreen(target, text))
    if path is not None:
        app.notify(f"Written to {one_line(str(path))}.", markup=False)


class ExportScreen(ModalScreen[Path | None]):
    """Asks where to, writes, and gives back the file, or None when nothing was written.

    Args:
        path: What is proposed.
        text: Makes the text for an ending, one of `KINDS`.
    """

    BINDINGS = [
        Binding("escape", "leave", "cancel"),
        Binding("ctrl+t", "turn", "other kind", priority=True),
    ]

    def __init__(self, path: Path, text: Callable[[str], str]) -> None:
        super().__init__()
        self._path = path
        self._text = text
        self._confirmed = ""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Export all plans"
            box.border_subtitle = "enter write · ctrl+t Markdown or CSV · esc cancel"
            field = Input(str(self._path), compact=True, max_length=1000)
            field.cursor_blink = False
            yield field
            yield Static(id="export-said")

    def on_mount(self) -> None:
        field = self.query_one(Input)
        field.focus()
        field.cursor_position = len(field.value)
        self._say("\nThe ending decides: .md is Markdown, .csv is CSV.", "$text-muted")

    def action_leave(self) -> None:
        # Keys come in bursts: a second one must not close what is closing.
        if self.is_current:
            self.dismiss(None)

    def action_turn(self) -> None:
        field = self.query_one(Input)
        path = Path(field.value)
        field.value = str(path.with_suffix(".md" if path.suffix == ".csv" else ".csv"))
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
            self._say("\n✗ The name must end in .md or .csv.", "$text-error")
            return
        text = self._text(path.suffix.lower())
        try:
            written = await asyncio.to_thread(_write, path, text, self._confirmed == name)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._say(f"\n✗ {one_line(str(path))} cannot be written: {why}.", "$text-error")
            return
        if written:
            self.dismiss(path)
        else:
            self._confirmed = name
            self._say("\n! It is there already; enter replaces it.", "$text-warning")

    def _say(self, text: str, style: str) -> None:
        self.query_one("#export-said", Static).update(Content.styled(printable(text), style))


def _write(path: Path, text: str, replace: bool) -> bool:
    """Write it; False when there is a file that is not to be replaced."""
    if path.exists() and not replace:
        return False
    path.write_text(text, encoding="utf-8", newline="")
    return True
