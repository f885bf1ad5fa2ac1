"""The dialogs that follow the log of a job: its worker's, or its provider's."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Log, Static

from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import LOG
from waltzrl_tui.text import printable
from waltzrl_tui.tui.dialogs.dialog import Dialog

_TAIL_BYTES: Final = 256 * 1024
_MOST_LINES: Final = 5000
_LONGEST_LINE: Final = 2000
_REFRESH_SECONDS: Final = 1.0


class JobLogScreen(Dialog[None]):
    """The end of a log file, read in a thread; only what was added is read again."""

    BINDINGS = [
        Binding("escape,l,q,enter", "leave", "close"),
        Binding("g,home", "first", "first line"),
        Binding("G,end", "last", "last line"),
    ]
    CSS_PATH = "jobs.tcss"

    def __init__(self, job_id: str, path: Path) -> None:
        super().__init__()
        self._job = job_id
        self._path = path
        self._offset: int | None = None
        self._rest = b""

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"log of {self._job}")
            box.border_subtitle = "↑ ↓ scroll   esc close"
            yield Static(id="log-empty")
            yield Log(max_lines=_MOST_LINES)

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self.call_after_refresh(self._read_on)
        self.set_interval(_REFRESH_SECONDS, self._read_on)

    def action_first(self) -> None:
        self.query_one(Log).scroll_home(animate=False)

    def action_last(self) -> None:
        self.query_one(Log).scroll_end(animate=False)

    async def _read_on(self) -> None:
        try:
            size, data = await asyncio.to_thread(_read_tail, self._path, self._offset)
        except FileNotFoundError:
            self._show_message(f"Nothing yet: the worker of {self._job} has not written anything.")
            return
        except OSError as error:
            self._show_message(f"{self._path} cannot be read: {error.strerror or error}.")
            return
        if not self.is_attached:
            return
        log = self.query_one(Log)
        if self._offset is not None and size < self._offset:
            log.clear()
            self._rest = b""
        self._offset = size
        if data:
            *whole, self._rest = (self._rest + data).split(b"\n")
            log.write_lines([_shown(line) for line in whole])
        self._show_message(
            "" if log.line_count or data else f"The worker of {self._job} printed nothing."
        )

    def _show_message(self, text: str) -> None:
        empty = self.query_one("#log-empty", Static)
        if empty.display != bool(text) or text:
            empty.display = bool(text)
            empty.update(Content.styled(printable(text), "$text-muted"))


class ProviderLogScreen(Dialog[None]):
    """The provider's own log and the events of the job."""

    BINDINGS = [Binding("escape,l,q,enter", "leave", "close")]
    CSS_PATH = "jobs.tcss"

    def __init__(self, store: Store, job_id: str) -> None:
        super().__init__()
        self._store, self._job, self._last = store, job_id, 0

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"provider log of {self._job}")
            box.border_subtitle = "↑ ↓ scroll   esc close"
            yield Log(max_lines=_MOST_LINES)

    def on_mount(self) -> None:
        self.query_one(Log).focus()
        self.call_after_refresh(self._read_on)
        self.set_interval(_REFRESH_SECONDS, self._read_on)

    async def _read_on(self) -> None:
        while page := await self._store.jobs.events(self._job, self._last, 500):
            self._last = page[-1].id
            if not self.is_attached:
                return
            self.query_one(Log).write_lines(
                [f"{event.at[11:19]}  {printable(event.text.removeprefix(LOG))}" for event in page]
            )


def _read_tail(path: Path, offset: int | None) -> tuple[int, bytes]:
    """The size of a file and its bytes from `offset` on, or its end when that is None."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        if offset is not None and offset <= size:
            start = max(start, offset)
        file.seek(start)
        data = file.read(size - start)
    if offset is None and start:
        # The first line is incomplete.
        data = data.partition(b"\n")[2]
    return size, data


def _shown(line: bytes) -> str:
    """A line as a terminal would leave it: of a progress bar, the last state."""
    text = line[-_LONGEST_LINE:].decode("utf-8", "replace").rstrip("\r")
    return printable(text.rpartition("\r")[2]).expandtabs(4)
