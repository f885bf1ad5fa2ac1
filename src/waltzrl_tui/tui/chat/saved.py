"""Stored chats on the Chat screen: find, resume, branch, correct, export."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Final

from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.export import to_jsonl, to_markdown
from waltzrl_tui.chat.transcript import Turn, history_messages
from waltzrl_tui.errors import StoreError
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.edit import EditResult, EditTurn
from waltzrl_tui.tui.chat.find import ChatPlace, FindChat
from waltzrl_tui.tui.dialogs.export_to import ExportTo
from waltzrl_tui.workspace import private_write

if TYPE_CHECKING:
    from waltzrl_tui.tui.chat.screen import ChatScreen

_ROWS_FILE: Final = "from-chat.jsonl"
_EXPORT_TYPES: Final = {
    ".md": "text",
    ".jsonl": "all rounds, a dataset",
    ".svg": "this screen",
}


class SavedChats:
    """The dialogs about stored chats, and what their answers do to the screen's model."""

    def __init__(self, screen: ChatScreen) -> None:
        self._screen = screen

    async def find(self) -> None:
        """Ask for a stored chat and continue it."""
        screen = self._screen
        store, row = screen.waltz.store, screen.model.side.chat.row

        def open_chat(place: ChatPlace | None) -> None:
            if place is not None and not screen.model.streaming:
                screen.start(self.reopen(*place), group="chat-open", exclusive=True)

        rows = await store.transcripts.list(200)
        screen.app.push_screen(FindChat(store, rows, row.id if row else None), open_chat)

    async def reopen(self, number: int, opening: int | None) -> None:
        """Continue a stored chat; the turn that the event `opening` opens is chosen."""
        screen = self._screen
        chat = await Conversation.reopen(screen.waltz.store, number, opening)
        if screen.model.streaming:
            return
        self._resume(chat)
        turn = None if opening is None else chat.turn_at(opening)
        if turn is not None:
            screen.set_focus(screen.view)
            screen.view.choose(turn)

    async def branch(self, chat: Conversation, turn: Turn) -> None:
        """Continue from a turn in a chat of its own."""
        branch = await chat.branch(turn)
        self._resume(branch)
        assert branch.row is not None and branch.row.branched_from is not None
        self._screen.notify(
            f"Chat {branch.row.id} continues from turn {turn.number + 1} of chat "
            f"{branch.row.branched_from}, which is kept.",
            timeout=4,
            markup=False,
        )

    def edit(self, turn: Turn) -> None:
        """Ask for a correction of a turn; it is saved as a training row."""
        screen, side = self._screen, self._screen.model.side
        chat = side.chat
        before = history_messages([each for each in chat.turns if each.number < turn.number], 2000)
        harm = screen.model.source.harm if turn is side.last else ""

        def correct(result: EditResult | None) -> None:
            if result is not None:
                screen.start(self._correct(chat, turn, result), group="correct")

        folder = screen.waltz.workspace.data
        screen.app.push_screen(EditTurn(turn, before, folder, _ROWS_FILE, harm), correct)

    async def export(self) -> None:
        """Ask for a file and write the chat into it."""
        screen = self._screen
        chat = screen.model.side.chat
        assert chat.row is not None
        target = screen.waltz.workspace.home / f"chat-{chat.row.id}.md"

        def write(path: Path | None) -> None:
            if path is not None:
                # An SVG of the screen must not show the dialog.
                screen.call_after_refresh(screen.start, self._write(chat, path), group="export")

        screen.app.push_screen(ExportTo("Export this chat", target, _EXPORT_TYPES), write)

    def _resume(self, chat: Conversation) -> None:
        screen = self._screen
        missing = screen.model.resume(chat)
        choice = screen.model.side.pairs.choice
        if missing and choice is not None:
            screen.notify(
                f"The pair {one_line(missing, 40)} no longer exists; "
                f"{one_line(choice.name, 40)} answers now.",
                severity="warning",
                markup=False,
            )
        screen.show_new_chats()
        screen.view.to_end()
        screen.field.focus()

    async def _correct(self, chat: Conversation, turn: Turn, result: EditResult) -> None:
        name = one_line(result.path.name, 60)
        self._screen.notify(f"Saved as line {result.line} of {name}.", timeout=4, markup=False)
        if result.change:
            await chat.correct(turn, result.round, result.change)
            for column in self._screen.columns:
                column.view.forget()
                column.draw()

    async def _write(self, chat: Conversation, path: Path) -> None:
        assert chat.row is not None
        if path.suffix.lower() == ".svg":
            text = self._screen.app.export_screenshot(title=one_line(chat.row.title, 80))
        else:
            turns: list[Turn] = [turn async for page in chat.pages() for turn in page]
            write = to_jsonl if path.suffix.lower() == ".jsonl" else to_markdown
            text = await asyncio.to_thread(write, chat.row, turns)
        try:
            await asyncio.to_thread(private_write, path, text)
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
        self._screen.notify(f"Written to {one_line(str(path))}.", markup=False)
