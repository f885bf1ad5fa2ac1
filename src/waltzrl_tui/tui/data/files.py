"""The list of the workspace's files."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding
from textual.message import Message

from waltzrl_tui.datasets.data_folder import DataFile, count_rows
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.shell.background import run_exclusive
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.words import size

_COUNTED: Final = 256 * 1024 * 1024


class FileList(LineList):
    """Enter or a click opens a file; the open one is marked."""

    BINDINGS = [Binding("enter,space", "open", "open", show=False)]
    BORDER_TITLE = "Files"
    CLICKS = 1
    DEFAULT_CSS = "FileList { height: auto; }"

    @dataclass
    class Opened(Message):
        """The user opened this file."""

        path: Path

    def __init__(self) -> None:
        super().__init__(id="files", classes="pane")
        self._files: list[DataFile] = []
        self._open: Path | None = None

    def show(self, files: list[DataFile]) -> None:
        """Show these files and count their rows one by one."""
        known = {(file.path, file.size): file for file in self._files}
        self._files = [known.get((file.path, file.size), file) for file in files]
        self.count = len(files)
        self.border_title = f"Files {len(files)}" if files else "Files"
        self.refresh(layout=True)
        run_exclusive(self, "count-rows", self._count)

    def mark(self, path: Path) -> None:
        """Mark the file that is open."""
        self._open = path
        for place, file in enumerate(self._files):
            if file.path == path:
                self.cursor = place
        self.refresh()

    def set_rows(self, path: Path, rows: int) -> None:
        """Show the rows of a file."""
        self._files = [
            replace(file, rows=rows, bad=False) if file.path == path else file
            for file in self._files
        ]
        self.refresh()

    def set_bad(self, path: Path) -> None:
        """Show that a file could not be opened."""
        self._files = [
            replace(file, bad=True) if file.path == path else file for file in self._files
        ]
        self.refresh()

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        file = self._files[index]
        count = size(file.size) if file.rows is None else f"{file.rows:,}"
        count = "✗" if file.bad else count
        marker = "▸ " if file.path == self._open else "  "
        name = fit(one_line(file.path.name), width - 4 - len(count))
        faint = self.part("line--faint", base)
        style = base if file.readable else faint
        if file.path == self._open:
            style = style + Style(bold=True)
        return [Segment(marker, base), Segment(name, style), Segment(f" {count} ", faint)]

    def on_line_list_chosen(self) -> None:
        self.action_open()

    def action_open(self) -> None:
        if self.count:
            self.post_message(self.Opened(self._files[self.cursor].path))

    async def _count(self) -> None:
        for file in list(self._files):
            # The open one is counted by its table; a huge one only when it is opened.
            if file.readable and file.rows is None and file.size <= _COUNTED:
                if file.path == self._open:
                    continue
                rows = await asyncio.to_thread(count_rows, file.path)
                if rows is not None:
                    self.set_rows(file.path, rows)
