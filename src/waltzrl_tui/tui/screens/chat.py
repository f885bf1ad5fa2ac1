"""The Chat screen: one pair, or two side by side, answer while one watches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from textual.widgets import TextArea
from textual.widgets.option_list import Option

from waltzrl_tui.agents.chat_export import to_jsonl, to_markdown
from waltzrl_tui.agents.conversation import Conversation
from waltzrl_tui.agents.transcript import Turn, history
from waltzrl_tui.datasets.rows import Harm
from waltzrl_tui.store import Vote
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.keys import bindings
from waltzrl_tui.tui.screens.ask_text import AskText
from waltzrl_tui.tui.screens.chat_base import ChatBase
from waltzrl_tui.tui.screens.chat_edit import Edited, EditTurn
from waltzrl_tui.tui.screens.chat_export import ExportChat
from waltzrl_tui.tui.screens.chat_find import FindChat, Found
from waltzrl_tui.tui.screens.chat_results import ResultsScreen
from waltzrl_tui.tui.widgets.chat_column import MODES
from waltzrl_tui.tui.widgets.chat_pick import Picker, pair_picker
from waltzrl_tui.tui.widgets.chat_queue import PromptQueue
from waltzrl_tui.tui.widgets.data_files import list_files
from waltzrl_tui.versus import standings
from waltzrl_tui.workspace import private_write

_ELSEWHERE: Final = "\0"
_ROWS_FILE: Final = "from-chat.jsonl"


class ChatScreen(ChatBase):
    """Its keys. Chats keep streaming while another screen is shown."""

    BINDINGS = bindings("chat")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typing = isinstance(self.focused, TextArea)
        column, streaming = self.column, self.streaming
        last = column.last
        idle, quiet = not streaming, not column.streaming
        allowed = {
            "stop": streaming and not (typing and self.beside),
            "send": typing and idle,
            "new_line": typing,
            "leave": typing and (idle or self.beside),
            "write": not typing,
            "next": not typing and self.queue is not None,
            "other": self.beside,
            "vote": self.beside and self.match.open,
            "again": idle and not self.beside and last is not None and _unfinished(last),
            "pair": bool(column.pairs.choices) and idle and not column.look.blind,
            "beside": idle,
            "feedback": bool(column.pairs.choice and column.pairs.choice.feedback)
            and quiet
            and not column.look.blind,
            "draft": any(len(turn.rounds) > 1 for turn in column.chat.turns)
            and not column.look.blind,
            "verdicts": not column.look.blind,
            "watch": idle
            and any(each.pairs.choice and each.pairs.choice.feedback for each in self.shown),
            "blind": self.beside and idle,
            "queue": idle,
            "new": idle and any(each.chat.turns for each in self.shown),
            "open": idle,
            "branch": idle and last is not None and not column.look.blind,
            "edit": quiet and last is not None and not column.look.blind,
            "export": quiet and last is not None and not column.look.blind,
            "copy": last is not None and bool(last.reply),
        }
        return allowed.get(action, super().check_action(action, parameters))

    # Asking

    def action_send(self) -> None:
        text = self.field.text.strip()
        if any(column.pairs.choice is None for column in self.shown):
            self.notify("The pairs are still being read.", timeout=3, markup=False)
        elif text:
            self.field.clear()
            if self.beside and self.match.blind and self.match.vote is not None:
                # Who is who was told: a blind match begins anew.
                self.renew()
            self.ask(text)

    def action_again(self) -> None:
        if self.column.last is not None:
            self.ask(self.column.last.prompt)

    def action_stop(self) -> None:
        for column in self.columns:
            column.stop()

    def action_new_line(self) -> None:
        self.field.new_line()

    def action_leave(self) -> None:
        self.set_focus(self.view)

    def action_write(self) -> None:
        # At once, so that what is typed right behind it is no key any more.
        self.set_focus(self.field)

    def action_new(self) -> None:
        self.renew()
        self.field.focus()

    # How it is shown and judged

    def action_draft(self) -> None:
        drafts = not self.column.look.drafts
        for column in self.columns:
            column.change_look(drafts=drafts)

    def action_verdicts(self) -> None:
        whole = not self.column.look.whole
        for column in self.columns:
            column.change_look(whole=whole)

    def action_feedback(self) -> None:
        column = self.column
        column.change_look(mode=MODES[(MODES.index(column.look.mode) + 1) % len(MODES)])
        column.pairs.by_hand = True
        self.tell()

    def action_watch(self) -> None:
        watch = not self.column.watch
        for column in self.columns:
            column.watch = watch
            column.titles()
        self.notify(
            "Drafts are judged while they grow, and unsafe ones are stopped; the looks cost tokens."
            if watch
            else "Drafts are judged when they are whole.",
            timeout=4,
            markup=False,
        )

    def action_step(self, by: int) -> None:
        self.view.step(by)

    # Two columns

    def action_beside(self) -> None:
        self.beside = not self.beside
        if not self.beside:
            self.match.blind = False
            self.match.forget()
        self.settle_twins()
        self.place_columns()
        for column in self.columns:
            column.show_all()
        self.refresh_bindings()

    def action_other(self) -> None:
        self.current = 1 - self.current
        self.place_columns()
        if not isinstance(self.focused, TextArea):
            self.view.focus()
        self.refresh_bindings()

    def action_blind(self) -> None:
        self.match.blind = not self.match.blind
        self.renew()
        self.refresh_bindings()

    def action_vote(self, vote: Vote) -> None:
        self.vote(vote)

    def action_results(self) -> None:
        self.start(self._results(), group="results", exclusive=True)

    async def _results(self) -> None:
        duels = await self.waltz.store.duels.list()
        found = await asyncio.to_thread(standings, duels)
        self.app.push_screen(ResultsScreen(found))

    # A queue of prompts

    def action_queue(self) -> None:
        self.start(self._choose_queue(), group="queue", exclusive=True)

    async def _choose_queue(self) -> None:
        title = "Prompts of a file"
        files = await asyncio.to_thread(list_files, self.waltz.workspace.data)
        options = [
            Option(one_line(file.path.name, 60), str(file.path)) for file in files if file.readable
        ]
        options.append(Option("a file elsewhere …", _ELSEWHERE))
        if self.queue is not None:
            options.append(Option("no file: only what is typed", ""))

        def named(path: str | None) -> None:
            if path:
                found = Path(path).expanduser()
                self.start(self._open_queue(found), group="queue", exclusive=True)

        def chosen(path: str | None) -> None:
            if path == _ELSEWHERE:
                self.app.push_screen(AskText(title, "The path of any dataset.", ""), named)
            elif path == "":
                self.queue = None
                self.tell()
                self.refresh_bindings()
            elif path is not None:
                named(path)

        at = str(self.queue.path) if self.queue is not None else ""
        self.app.push_screen(Picker(title, options, at), chosen)

    async def _open_queue(self, path: Path) -> None:
        names = {column.badge for column in self.shown}
        duels = await self.waltz.store.duels.list() if self.beside else []
        voted = frozenset(
            row.line
            for row in duels
            if row.source == str(path)
            and row.vote
            and row.line is not None
            and {row.left_pair, row.right_pair} == names
        )
        self.queue = await PromptQueue.open(path, self.waltz.workspace, voted)
        self.view.focus()
        await self._next()

    def action_next(self) -> None:
        self.start(self._next(), group="next", exclusive=True)

    async def _next(self) -> None:
        queue = self.queue
        if queue is None:
            return
        self.action_stop()
        while self.streaming:
            await asyncio.sleep(0.02)
        row = await queue.next()
        if row is None:
            self.queue = None
            passed = f" {queue.done} had been voted on." if queue.done else ""
            bad = f" {queue.skipped} lines gave no prompt." if queue.skipped else ""
            self.notify(f"That was the last prompt.{passed}{bad}", timeout=6, markup=False)
            self.tell()
            self.refresh_bindings()
            return
        self.renew()
        self.ask(row.prompt, row.harm, str(queue.path), row.line)

    # Chats that were

    def action_pair(self) -> None:
        column = self.column

        def chosen(name: str | None) -> None:
            if name is not None and column.pairs.choose(name):
                column.show_all()
                self.tell()

        picked = column.pairs.choice.name if column.pairs.choice else ""
        self.app.push_screen(pair_picker(column.pairs.choices, picked), chosen)

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

    def action_copy(self) -> None:
        turn = self.view.chosen
        if turn is not None:
            text = printable(turn.reply)
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {len(text):,} characters.", timeout=3, markup=False)

    # What becomes of them

    def action_edit(self) -> None:
        turn, column = self.view.chosen, self.column
        if turn is None:
            return
        before = history([each for each in column.chat.turns if each.number < turn.number], 2000)
        harm: Harm = self._asked[0] if turn is column.last else ""

        def saved(edited: Edited | None) -> None:
            if edited is not None:
                self.start(self._correct(column.chat, turn, edited), group="correct")

        folder = self.waltz.workspace.data
        self.app.push_screen(EditTurn(turn, before, folder, _ROWS_FILE, harm), saved)

    async def _correct(self, chat: Conversation, turn: Turn, edited: Edited) -> None:
        self.notify(f"Line {edited.line} of {one_line(str(edited.path.name), 60)}.", markup=False)
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


def _unfinished(turn: Turn) -> bool:
    return bool(turn.error) or turn.stopped or not turn.ended
