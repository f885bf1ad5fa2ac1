"""The Chat screen: one pair, or two side by side, answer while one watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from textual.widgets import TextArea
from textual.widgets.option_list import Option

from waltzrl_tui.chat.duels import standings
from waltzrl_tui.datasets.files import list_files
from waltzrl_tui.endpoints.key_gate import KeyUse
from waltzrl_tui.store import Vote
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.column import MODES
from waltzrl_tui.tui.chat.queue import PromptQueue
from waltzrl_tui.tui.chat.results import ResultsScreen
from waltzrl_tui.tui.chat.saved import KeptChats
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.dialogs.key_question import approve_all, key_question
from waltzrl_tui.tui.dialogs.pick import Picker, count, pair_picker
from waltzrl_tui.tui.shell.keys import bindings

_ELSEWHERE: Final = "\0"


class ChatScreen(KeptChats):
    """Its keys. Chats keep streaming while another screen is shown."""

    BINDINGS = bindings("chat")

    def __init__(self) -> None:
        super().__init__()
        self._yes: set[str] = set()

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
            "again": idle and last is not None and all(each.pairs.choice for each in self.shown),
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
            "open": idle and not column.look.blind,
            "about": last is not None and not column.look.blind,
            "branch": idle and last is not None and not column.look.blind,
            "edit": quiet and last is not None and not column.look.blind,
            "export": quiet and last is not None and not column.look.blind,
            "copy": last is not None and bool(last.reply) and not column.held,
        }
        return allowed.get(action, super().check_action(action, parameters))

    # Asking

    def action_send(self) -> None:
        text = self.field.text.strip()
        if any(column.pairs.choice is None for column in self.shown):
            self.notify("The pairs are still being read.", timeout=3, markup=False)
        elif text and self._agreed(self.action_send):
            self.field.clear()
            if self._told_who:
                self.renew()
            self.ask(text)

    def action_again(self) -> None:
        last = self.column.last
        if last is not None and self._agreed(self.action_again):
            asked = self._asked
            if self._told_who:
                self.renew()
            self.ask(last.prompt, *asked, again=True)

    def _agreed(self, go: Callable[[], object]) -> bool:
        """Whether the user said yes to where keys go and to what a message costs; else that is
        asked, and a yes runs `go`."""
        uses = sorted({use for column in self.shown for use in column.pairs.unapproved})
        if uses:

            def approved(answer: str | None) -> None:
                if answer:
                    self.start(self._approve(uses, go), group="approve")

            self.app.push_screen(key_question(uses), approved)
            return False
        # Sorted: their order must not tell who is who.
        new = sorted({words for column in self.shown for words in column.costs} - self._yes)

        def answered(answer: str | None) -> None:
            if answer:
                self._yes.update(new)
                go()

        if new:
            text = "\n\n".join([*new, "You are asked once, and again when a price changes."])
            answers = [("y", "ask the pair")]
            self.app.push_screen(ConfirmScreen("Messages cost money", text, answers), answered)
        return not new

    async def _approve(self, uses: Sequence[KeyUse], go: Callable[[], object]) -> None:
        await asyncio.to_thread(approve_all, uses)
        go()

    @property
    def _told_who(self) -> bool:
        """Whether the vote told who is who, so that a blind match has to begin anew."""
        return self.beside and self.match.blind and self.match.vote is not None

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
        if self.column.look.blind and self.match.row is not None:
            # What this one adds would tell who stands where.
            duels = [duel for duel in duels if duel.id != self.match.row.id]
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
        if queue is None or not self._agreed(self.action_next):
            return
        self.action_stop()
        while self.streaming:
            await asyncio.sleep(0.02)
        row = await queue.next()
        if row is None:
            self.queue = None
            passed = f" {queue.done} had been voted on." if queue.done else ""
            bad = f" {count(queue.skipped, 'line')} gave no prompt." if queue.skipped else ""
            self.notify(f"That was the last prompt.{passed}{bad}", timeout=6, markup=False)
            self.tell()
            self.refresh_bindings()
            return
        self.renew()
        self.ask(row.prompt, row.harm, str(queue.path), row.line)

    def action_pair(self) -> None:
        column = self.column

        def chosen(name: str | None) -> None:
            if name is not None and column.pairs.choose(name):
                column.show_all()
                self.tell()

        picked = column.pairs.choice.name if column.pairs.choice else ""
        self.app.push_screen(pair_picker(column.pairs.choices, picked), chosen)
