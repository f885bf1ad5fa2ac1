"""The dialog that finds a chat: the latest ones, or those that contain some words."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import Store, TranscriptHit, TranscriptRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.tui.dialogs.pick import when
from waltzrl_tui.tui.shell.keys import EMPTY
from waltzrl_tui.words import plural

_PAUSE: Final = 0.15
_MOST: Final = 200

ChatPlace = tuple[int, int | None]
"""The id of a transcript, and of the event that opens the turn with the words (or None)."""


class FindChat(Dialog[ChatPlace]):
    """Returns the chosen chat, or None.

    Args:
        rows: The latest chats.
        current: The chat that is open.
    """

    BINDINGS = [
        Binding("escape", "leave", "close"),
        Binding("up", "move(-1)", "up", show=False, priority=True),
        Binding("down", "move(1)", "down", show=False, priority=True),
        Binding("pageup", "move(-8)", "up", show=False, priority=True),
        Binding("pagedown", "move(8)", "down", show=False, priority=True),
    ]

    def __init__(self, store: Store, rows: Sequence[TranscriptRow], current: int | None) -> None:
        super().__init__()
        self._store = store
        self._rows = rows
        self._current = current
        self._places: list[ChatPlace] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog chat-picker chat-find") as box:
            box.border_title = "Chats"
            box.border_subtitle = "enter open · esc close"
            field = Input(placeholder="Find words in prompts and replies", compact=True)
            field.cursor_blink = False
            yield field
            yield Static(id="chat-matches")
            yield OptionList(markup=False, compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(Input).focus()
        self._show_latest()

    def action_move(self, by: int) -> None:
        options = self.query_one(OptionList)
        if options.option_count:
            now = options.highlighted or 0
            options.highlighted = min(options.option_count - 1, max(0, now + by))

    @on(Input.Changed)
    def _words_changed(self, event: Input.Changed) -> None:
        words = event.value.strip()
        self.run_worker(self._search(words), group="find", exclusive=True)

    @on(Input.Submitted)
    def _take(self) -> None:
        options = self.query_one(OptionList)
        if options.highlighted is not None and self._places and self.is_current:
            self.dismiss(self._places[options.highlighted])

    @on(OptionList.OptionSelected)
    def _select(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.is_current:
            self.dismiss(self._places[event.option_index])

    async def _search(self, words: str) -> None:
        await asyncio.sleep(_PAUSE)
        if not words:
            self._show_latest()
            return
        try:
            hits = await self._store.transcripts.search(words, _MOST)
        except StoreError as error:
            self._show_status(error.message)
            return
        now = datetime.now(UTC)
        self._show(
            [_hit_line(hit, words, now, self._room) for hit in hits],
            [(hit.transcript.id, hit.turn) for hit in hits],
        )
        self._show_status(
            plural(len(hits), "turn") if hits else "No chat contains all of these words."
        )

    def _show_latest(self) -> None:
        now = datetime.now(UTC)
        lines = [_chat_line(row, now, self._room) for row in self._rows]
        self._show(lines, [(row.id, None) for row in self._rows])
        here = next((n for n, row in enumerate(self._rows) if row.id == self._current), 0)
        if self._rows:
            self.query_one(OptionList).highlighted = here
        self._show_status("" if self._rows else EMPTY["chat.chats"])

    def _show(self, lines: Sequence[Content], places: list[ChatPlace]) -> None:
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options([Option(line) for line in lines])
        options.display = bool(lines)
        self._places = places
        if lines:
            options.highlighted = 0

    @property
    def _room(self) -> int:
        """Cells of one line of the list."""
        return max(20, min(96, self.app.size.width * 96 // 100) - 8)

    def _show_status(self, text: str) -> None:
        line = self.query_one("#chat-matches", Static)
        line.update(Content.styled(printable(text), "$faint"))
        line.display = bool(text)


def _chat_line(row: TranscriptRow, now: datetime, room: int) -> Content:
    title = one_line(row.title, room) or "(no prompt)"
    branch = f" · branch of {row.branched_from}" if row.branched_from else ""
    return Content.assemble(
        (f"{title}\n", "bold"),
        (
            f"  {when(row.updated_at, now)} · {plural(row.turns, 'turn')} · "
            f"{one_line(row.pair, 40)}{branch}",
            "$faint",
        ),
    )


def _hit_line(hit: TranscriptHit, words: str, now: datetime, room: int) -> Content:
    row = hit.transcript
    return Content.assemble(
        (f"{_around(hit.text, words, room)}\n", "bold"),
        (
            f"  {when(row.updated_at, now)} · {one_line(row.pair, 30)} · "
            f"{one_line(row.title, 30) or '(no prompt)'}",
            "$faint",
        ),
    )


def _around(text: str, words: str, room: int) -> str:
    """The part of `text` around the first of `words`, on one line."""
    word = words.split()[0].casefold()
    at = text.casefold().find(word)
    start = max(0, at - room // 3)
    return ("…" if start else "") + one_line(text[start : start + 400], room - 1)
