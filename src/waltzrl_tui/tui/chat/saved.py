"""What becomes of chats: they are found and gone on with, branched, corrected, and exported."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.export import to_jsonl, to_markdown
from waltzrl_tui.chat.transcript import Turn, history_messages
from waltzrl_tui.datasets.reading.rows import Harm
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.chat.about import AboutTurn
from waltzrl_tui.tui.chat.base import ChatBase
from waltzrl_tui.tui.chat.edit import Edited, EditTurn
from waltzrl_tui.tui.chat.export import ExportChat
from waltzrl_tui.tui.chat.find import FindChat, Found
from waltzrl_tui.workspace import private_write

_ROWS_FILE: Final = "from-chat.jsonl"


class KeptChats(ChatBase):
    """The part of the Chat screen that works on the chosen turn and on chats of the store."""

    def action_open(self) -> None:
        self.start(self._find(), group="chat-list", exclusive=True)

    async def _find(self) -> None:
        def chosen(found: Found | None) -> None:
            if found is not None and not self.streaming:
                self.start(self._reopen(*found), group="chat-open", exclusive=True)

        store, row = self.waltz.store, self.column.chat.row
        rows = await store.transcripts.list(200)
        self.app.push_screen(FindChat(store, rows, row.id if row else None), chosen)

    async def _reopen(self, number: int, opening: int | None) -> None:
        chat = await Conversation.reopen(self.waltz.store, number, opening)
        if self.streaming:
            return
        self._go_on_with(chat)
        turn = None if opening is None else chat.turn_at(opening)
        if turn is not None:
            self.set_focus(self.view)
            self.view.choose(turn)

    def _go_on_with(self, chat: Conversation) -> None:
        assert chat.row is not None
        pair = chat.turns[-1].pair if chat.turns else chat.row.pair
        self.renew(chat)
        column = self.column
        if not column.pairs.choose(pair) and column.pairs.choice is not None:
            self.notify(
                f"The pair {one_line(pair, 40)} is gone; "
                f"{one_line(column.pairs.choice.name, 40)} answers now.",
                severity="warning",
                markup=False,
            )
        column.show_all()
        self.view.to_end()
        self.field.focus()
        self.tell()

    def action_branch(self) -> None:
        turn = self.view.chosen
        if turn is not None:
            self.start(self._branch(self.column.chat, turn), group="branch", exclusive=True)

    async def _branch(self, chat: Conversation, turn: Turn) -> None:
        made = await chat.branch(turn)
        self._go_on_with(made)
        assert made.row is not None and made.row.branched_from is not None
        self.notify(
            f"Chat {made.row.id} goes on from turn {turn.number + 1} of chat "
            f"{made.row.branched_from}, which is kept.",
            timeout=4,
            markup=False,
        )

    def action_about(self) -> None:
        turn = self.view.chosen
        if turn is not None:
            self.app.push_screen(AboutTurn(turn))

    def action_copy(self) -> None:
        turn = self.view.chosen
        if turn is not None:
            text = printable(turn.reply)
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {len(text):,} characters.", timeout=3, markup=False)

    def action_edit(self) -> None:
        turn, column = self.view.chosen, self.column
        if turn is None:
            return
        before = history_messages(
            [each for each in column.chat.turns if each.number < turn.number], 2000
        )
        harm: Harm = self._asked[0] if turn is column.last else ""

        def saved(edited: Edited | None) -> None:
            if edited is not None:
                self.start(self._correct(column.chat, turn, edited), group="correct")

        folder = self.waltz.workspace.data
        self.app.push_screen(EditTurn(turn, before, folder, _ROWS_FILE, harm), saved)

    async def _correct(self, chat: Conversation, turn: Turn, edited: Edited) -> None:
        name = one_line(edited.path.name, 60)
        self.notify(f"Saved as line {edited.line} of {name}.", timeout=4, markup=False)
        if edited.change:
            await chat.correct(turn, edited.round, edited.change)
            for column in self.columns:
                column.view.forget()
                column.show_all()

    def action_export(self) -> None:
        self.start(self._export(), group="export", exclusive=True)

    async def _export(self) -> None:
        chat = self.column.chat
        assert chat.row is not None
        target = self.waltz.workspace.home / f"chat-{chat.row.id}.md"

        def chosen(path: Path | None) -> None:
            if path is not None:
                # The dialog has to be gone from a picture of the screen.
                work = self._write(chat, path)
                self.call_after_refresh(self.start, work, group="export")

        self.app.push_screen(ExportChat(target), chosen)

    async def _write(self, chat: Conversation, path: Path) -> None:
        assert chat.row is not None
        if path.suffix.lower() == ".svg":
            text = self.app.export_screenshot(title=one_line(chat.row.title, 80))
        else:
            turns: list[Turn] = [turn async for page in chat.pages() for turn in page]
            make: Any = to_jsonl if path.suffix.lower() == ".jsonl" else to_markdown
            text = await asyncio.to_thread(make, chat.row, turns)
        try:
            await asyncio.to_thread(private_write, path, text)
        except OSError as error:
            why = error.strerror or str(error)
            self.notify(f"{path} cannot be written: {why}.", severity="error", markup=False)
        else:
            self.notify(f"Written to {one_line(str(path))}.", markup=False)
