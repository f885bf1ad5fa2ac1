"""What the Chat screen holds: its columns, the match between them, replies that stream in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static, TextArea

from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.errors import StoreError
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.store import DuelRow, Vote
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.chat.column import Column
from waltzrl_tui.tui.chat.match import Match
from waltzrl_tui.tui.chat.pairs import slower
from waltzrl_tui.tui.chat.prompt import PromptInput
from waltzrl_tui.tui.chat.queue import PromptQueue
from waltzrl_tui.tui.chat.view import ConversationView
from waltzrl_tui.tui.shell.screen import WaltzScreen

_READ_SECONDS: Final = 3.0
_PATIENCE: Final = 0.3
_BREATH: Final = 0.04
"""Seconds that drawing waits for the requests to go out, and for words that come at once."""

_GRACE: Final = 0.005
"""Seconds that the first words of one side wait for those of the other, to be drawn with them."""

_TWO_COLUMNS: Final = 100
"""Cells from which two columns fit beside each other; below they are tabs."""


class ChatBase(WaltzScreen):
    """What the Chat screen holds and shows, and how replies come in; `ChatScreen` has the keys."""

    NAME = "chat"
    CSS_PATH = "chat.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self.columns = (Column(self.waltz, 0), Column(self.waltz, 1))
        self.match = Match(self.waltz.store, self.columns)
        self.queue: PromptQueue | None = None
        self.beside = bool(self.waltz.wanted_vs)
        self.current = 0
        self._asked: tuple[Harm, str, int | None] = ("", "", None)
        self._notice = ""
        self._leave_field = False
        self._begun: set[Column] = set()
        self._held_back = ExitStack()
        self._holding = False
        self._told: tuple[Content, str] | None = None
        self._read_at = 0.0

    def compose_body(self) -> ComposeResult:
        yield Static(id="chat-tabs", markup=False)
        with Horizontal(id="chat-columns"):
            for column in self.columns:
                yield column.view
        yield Static(id="chat-notice", markup=False)
        yield Static(id="chat-duel", markup=False)
        with Horizontal(id="chat-ask"):
            yield Static("❯", id="chat-mark")
            yield PromptInput(id="chat-prompt")

    @property
    def column(self) -> Column:
        """The column that keys work on."""
        return self.columns[self.current]

    @property
    def shown(self) -> tuple[Column, ...]:
        """The columns that answer."""
        return self.columns if self.beside else (self.columns[self.current],)

    @property
    def view(self) -> ConversationView:
        return self.column.view

    @property
    def field(self) -> PromptInput:
        return self.query_one(PromptInput)

    @property
    def _at_once(self) -> int:
        """Streams that may run at the same time: of each column, and of who watches its draft."""
        return sum(1 + column.watch for column in self.shown)

    @property
    def streaming(self) -> bool:
        return any(column.streaming for column in self.columns)

    def on_mount(self) -> None:
        self.place_columns()
        self.field.focus()

    def on_resize(self) -> None:
        self.place_columns()

    def read_store(self) -> None:
        # A reply that streams is many commits, none of which is news to this screen.
        if not self.streaming or time.monotonic() >= self._read_at + _READ_SECONDS:
            self._read_at = time.monotonic()
            super().read_store()

    async def refresh_from_store(self) -> None:
        for column in self.columns:
            before = column.pairs.choice
            await column.pairs.read(settled=bool(column.chat.turns))
            if column.pairs.choice != before:
                self.settle_twins()
                column.show_all()
        jobs = await self.waltz.store.jobs.list(ended=False)
        notice = slower(jobs, [column.pairs.choice for column in self.shown])
        if notice != self._notice:
            self._notice = notice
            line = self.query_one("#chat-notice", Static)
            line.update(Content(notice))
            line.set_class(bool(notice), "-told")
        self.tell()
        self.refresh_bindings()

    def settle_twins(self) -> None:
        """Where both columns have the same pair, compare it with itself without feedback."""
        left, right = self.columns
        if not right.pairs.by_hand and right.pairs.choice is not None and not right.chat.turns:
            same = left.pairs.choice == right.pairs.choice
            if (right.look.mode == "off") != same:
                right.change_look(mode="off" if same else "applied")

    # A reply

    def ask(
        self,
        prompt: str,
        harm: Harm = "",
        source: str = "",
        line: int | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Have the pairs that are shown answer.

        Args:
            harm, source, line: Its label and its place, of a prompt of a file.
            again: It is the last prompt, asked again.
        """
        self._asked = harm, source, line
        asked = self.shown
        self.waltz.engines.share(self._at_once)
        if self.beside:
            self.match.shuffle()
        for column in asked:
            column.begin()
        # All requests go out, and words that come at once come in, before anything is drawn.
        self._holding = True
        self._held_back.enter_context(self.app.batch_update())
        asyncio.get_running_loop().call_later(_BREATH, self._draw_asked)
        asking = [
            asyncio.create_task(column.ask(prompt, self._grown, again=again)) for column in asked
        ]
        self._leave_field = self.beside
        self._begun.clear()
        self.set_timer(_PATIENCE, self._settle)
        self.start(self._answer(prompt, asked, asking), group="reply")

    async def _answer(
        self, prompt: str, asked: Sequence[Column], asking: Sequence[asyncio.Task[Turn | None]]
    ) -> None:
        row: DuelRow | None = None
        try:
            if len(asked) == 2:
                row = await self.match.begin(prompt, *self._asked)
            ended = await asyncio.gather(*asking, return_exceptions=True)
            turns = [each if isinstance(each, Turn) else None for each in ended]
            failed = [each for each in ended if isinstance(each, BaseException)]
            if row is not None:
                await self.match.end(row, turns[0], turns[1])
            if failed:
                raise failed[0]
        except StoreError:
            if not any(column.last and column.last.prompt == prompt for column in asked):
                self.field.text = printable(prompt)
            raise
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            self._draw_asked()
            if self.is_attached:
                for column in asked:
                    column.reveal()
                self._settle()
                self.read_store()

    def _grown(self, column: Column) -> None:
        last = column.last
        if all(each.held and each.settled for each in self.shown):
            for each in self.shown:
                each.reveal()
            self._settle()
        if self.beside and self.match.unlinked:
            self.start(self.match.link(), group="link")
        if last is None or not (last.rounds or last.ended):
            if not self._holding:
                column.show_all()
        elif last.ended or column not in self._begun:
            self._begun.add(column)
            if self._begun.issuperset(self.shown):
                self._draw_asked()
                # First words come first; what stands around them is drawn behind them.
                self.call_after_refresh(self._settle)
            elif self._holding:
                asyncio.get_running_loop().call_later(_GRACE, self._draw_asked)

    def _draw_asked(self) -> None:
        """Draw from now on: the prompt that was sent, where no words have come yet."""
        if self._holding:
            self._holding = False
            self._held_back.close()
            for column in self.shown:
                if column not in self._begun and column.view.is_attached:
                    column.show_all()

    def _settle(self) -> None:
        """Tell what stands around the replies.

        With two columns the prompt is left, so that one key votes; once, and not while more is
        being typed.
        """
        if self._leave_field:
            self._leave_field = False
            if not self.field.text:
                self.set_focus(self.view)
        self.tell()
        self.refresh_bindings()

    def vote(self, vote: Vote) -> None:
        """Store who is better, at once, and tell who is who."""
        self.start(self._vote(vote), group="vote")

    async def _vote(self, vote: Vote) -> None:
        await self.match.decide(vote)
        self.tell()
        self.refresh_bindings()

    # What is typed

    @on(TextArea.Changed)
    def _typed(self) -> None:
        # The engine starts while the first prompt is being typed.
        for column in self.shown:
            if self.field.text and column.pairs.begin_warming(self._at_once):
                self.waltz.engines.share(self._at_once)
                self.run_worker(column.pairs.warm(), group="warm", exit_on_error=False)

    @on(PromptInput.Recall)
    def _recall(self) -> None:
        if self.column.last is not None:
            self.field.text = printable(self.column.last.prompt)
            self.field.move_cursor(self.field.document.end)

    @on(PromptInput.Page)
    def _page(self, event: PromptInput.Page) -> None:
        if event.down:
            self.view.scroll_page_down(animate=False)
        else:
            self.view.scroll_page_up(animate=False)

    @on(PromptInput.Cut)
    def _tell_of_cut(self) -> None:
        self.notify("The paste was too long and was cut.", severity="warning", markup=False)

    # What is shown

    @on(ConversationView.Edge)
    def _edge(self, event: ConversationView.Edge) -> None:
        for column in self.columns:
            if column.view is event.view:
                self.start(column.page(event.top, event.jump), group="page")

    @on(events.DescendantFocus)
    def _focused(self, event: events.DescendantFocus) -> None:
        for place, column in enumerate(self.columns):
            if event.widget is column.view and place != self.current:
                self.current = place
                self.tell()
                self.refresh_bindings()

    def place_columns(self) -> None:
        """Show the columns that there is room for."""
        narrow = self.size.width < _TWO_COLUMNS
        for place, column in enumerate(self.columns):
            column.letter = "AB"[place] if self.beside else ""
            away = place != self.current and (narrow or not self.beside)
            column.view.set_class(away, "-away")
            column.titles()
        self.query_one("#chat-tabs").set_class(self.beside and narrow, "-told")
        self.tell()

    def tell(self) -> None:
        """Write what stands around the columns: tabs, the match, the invitation."""
        if self.beside:
            entries = [self._tab(column) for column in self.columns]
            tabs = self.query_one("#chat-tabs", Static)
            tabs.update(Content(" ").join(entries), layout=False)
        told = [self.match.line(self.size.width)] if self.beside else []
        if self.queue is not None:
            told.append(self._queued(self.queue))
        under = Content("   ").join(told).truncate(max(8, self.size.width - 4), ellipsis=True)
        names = " and ".join(dict.fromkeys(column.name for column in self.shown))
        if (under, names) != self._told:
            self._told = under, names
            line = self.query_one("#chat-duel", Static)
            line.update(under, layout=False)
            line.set_class(bool(told), "-told")
            self.field.invite(f"Ask {names}")
        for column in self.columns:
            column.titles()

    def _tab(self, column: Column) -> Content:
        here = column is self.column
        mark = {"writing": "●", "done": "✓", "failed": "✗", "stopped": "■"}.get(column.state, "")
        lead = "▸" if here else " "
        text = f"{lead}{column.letter} {one_line(column.name, 24)} {mark} {column.state} "
        return Content.styled(text, "bold $foreground on $panel" if here else "$text-muted")

    def _queued(self, queue: PromptQueue) -> Content:
        harm, source, line = self._asked
        at = f" · line {line}" if source and line else ""
        label = f" · {harm}" if source and harm and self.match.vote else ""
        return Content.styled(f"{one_line(queue.path.name, 30)}{at}{label}", "$faint")

    def renew(self, chat: Conversation | None = None) -> None:
        """Begin new chats, or show another one in the current column."""
        self._asked = "", "", None
        if chat is not None and self.beside:
            self.beside = self.match.blind = False
            self.match.forget()
        for column in self.shown:
            column.renew(chat)
        self.match.forget()
        self.place_columns()
