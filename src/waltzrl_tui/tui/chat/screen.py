"""The Chat screen: one pair, or two side by side, answer while the feedback agent watches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static, TextArea
from textual.widgets.option_list import Option

from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.datasets.data_folder import list_files
from waltzrl_tui.endpoints.key_gate import KeyUse
from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import Vote
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.chat.about import AboutTurn
from waltzrl_tui.tui.chat.captions import match_line, queue_line, tab
from waltzrl_tui.tui.chat.column import ChatColumn
from waltzrl_tui.tui.chat.match import TYPED, PromptSource
from waltzrl_tui.tui.chat.model import ChatModel
from waltzrl_tui.tui.chat.prompt import PromptInput
from waltzrl_tui.tui.chat.reply import ReplyDrawing
from waltzrl_tui.tui.chat.results import ResultsScreen
from waltzrl_tui.tui.chat.saved import SavedChats
from waltzrl_tui.tui.chat.view import ConversationView
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.dialogs.key_question import approve_all, key_question
from waltzrl_tui.tui.dialogs.pick import Picker, pair_picker
from waltzrl_tui.tui.shell.keys import bindings
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.words import plural

_READ_SECONDS: Final = 3.0
_TWO_COLUMNS: Final = 100
"""Cells from which two columns fit beside each other; below they are tabs."""

_OTHER_FILE: Final = "\0"


class ChatScreen(WaltzScreen):
    """Keys and drawing; `ChatModel` has the chats. They keep streaming behind other screens."""

    NAME = "chat"
    CSS_PATH = "chat.tcss"
    BINDINGS = bindings("chat")
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        app = self.waltz
        self.model = ChatModel(
            app.store,
            app.workspace,
            lambda: app.engines,
            pair=app.wanted_pair,
            versus=app.wanted_vs,
        )
        self.columns = (ChatColumn(self.model, 0), ChatColumn(self.model, 1))
        self.saved = SavedChats(self)
        self._notice = ""
        self._frame: tuple[Content, str] | None = None
        self._leave_field = False
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
    def column(self) -> ChatColumn:
        """The column that keys work on."""
        return self.columns[self.model.current]

    @property
    def view(self) -> ConversationView:
        return self.column.view

    @property
    def field(self) -> PromptInput:
        return self.query_one(PromptInput)

    def on_mount(self) -> None:
        self._place_columns()
        self.field.focus()

    def on_resize(self) -> None:
        self._place_columns()

    def read_store(self) -> None:
        # A reply that streams is many commits, none of which is news to this screen.
        if not self.model.streaming or time.monotonic() >= self._read_at + _READ_SECONDS:
            self._read_at = time.monotonic()
            super().read_store()

    async def refresh_from_store(self) -> None:
        if await self.model.read():
            self._draw_columns()
        notice = await self.model.slowdown()
        if notice != self._notice:
            self._notice = notice
            line = self.query_one("#chat-notice", Static)
            line.update(Content(notice))
            line.set_class(bool(notice), "-shown")
        self._draw_frame()

    # What is drawn

    def _draw_columns(self) -> None:
        for column in self.columns:
            column.draw()

    def _place_columns(self) -> None:
        """Show the columns that there is room for."""
        model, narrow = self.model, self.size.width < _TWO_COLUMNS
        for column in self.columns:
            away = column.place != model.current and (narrow or not model.beside)
            column.view.set_class(away, "-away")
        self.query_one("#chat-tabs").set_class(model.beside and narrow, "-shown")
        self._draw_frame()

    def _draw_frame(self) -> None:
        """Write what stands around the columns: tabs, the match, the invitation, the keys."""
        model, lines = self.model, []
        if model.beside:
            tabs = [tab(model, place) for place in model.places]
            self.query_one("#chat-tabs", Static).update(Content(" ").join(tabs), layout=False)
            lines.append(match_line(model.match, model.sides, self.size.width))
        if model.queue is not None:
            lines.append(queue_line(model.queue, model.source, model.match))
        under = Content("   ").join(lines).truncate(max(8, self.size.width - 4), ellipsis=True)
        if (under, model.names) != self._frame:
            self._frame = under, model.names
            line = self.query_one("#chat-duel", Static)
            line.update(under, layout=False)
            line.set_class(bool(lines), "-shown")
            self.field.invite(f"Ask {model.names}")
        for column in self.columns:
            column.draw_titles()
        self.refresh_bindings()

    def _settle(self) -> None:
        """Draw what stands around the replies.

        With two columns the prompt is left, so that one key votes; once, and not while more is
        being typed.
        """
        if self._leave_field:
            self._leave_field = False
            if not self.field.text:
                self.set_focus(self.view)
        self._draw_frame()

    def show_new_chats(self) -> None:
        """Draw the chats that the model has now in place of earlier ones."""
        for column in self.columns:
            column.view.unmark()
            column.draw()
        self._place_columns()

    def _renew(self) -> None:
        self.model.renew()
        self.show_new_chats()

    @on(ConversationView.Edge)
    def _edge(self, event: ConversationView.Edge) -> None:
        for column in self.columns:
            if column.view is event.view:
                self.start(column.page(event.top, event.jump), group="page")

    @on(events.DescendantFocus)
    def _focused(self, event: events.DescendantFocus) -> None:
        for column in self.columns:
            if event.widget is column.view and column.place != self.model.current:
                self.model.current = column.place
                self._draw_frame()

    # What is typed

    @on(TextArea.Changed)
    def _typed(self) -> None:
        # The engine starts while the first prompt is being typed.
        if self.field.text:
            for pairs in self.model.begin_warming():
                self.run_worker(pairs.warm(), group="warm", exit_on_error=False)

    @on(PromptInput.Recall)
    def _recall(self) -> None:
        last = self.model.side.last
        if last is not None:
            self.field.text = printable(last.prompt)
            self.field.move_cursor(self.field.document.end)

    @on(PromptInput.Page)
    def _page(self, event: PromptInput.Page) -> None:
        if event.down:
            self.view.scroll_page_down(animate=False)
        else:
            self.view.scroll_page_up(animate=False)

    @on(PromptInput.Cut)
    def _cut(self) -> None:
        self.notify("The paste was too long and was cut.", severity="warning", markup=False)

    # Asking

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        allowed = self.model.allows(action, typing=isinstance(self.focused, TextArea))
        return super().check_action(action, parameters) if allowed is None else allowed

    def ask(self, prompt: str, source: PromptSource = TYPED, *, again: bool = False) -> None:
        """Have the pairs that are shown answer.

        Args:
            source: Where the prompt came from.
            again: It is the last prompt, asked again.
        """
        self.model.begin(source)
        columns = [self.columns[place] for place in self.model.places]
        for column in columns:
            column.view.unmark()
        self._leave_field = self.model.beside
        drawing = ReplyDrawing(self, self.model, columns, settle=self._settle)
        replies = drawing.ask(prompt, again=again)
        self.start(self._answer(prompt, columns, drawing, replies), group="reply")

    async def _answer(
        self,
        prompt: str,
        columns: list[ChatColumn],
        drawing: ReplyDrawing,
        replies: list[asyncio.Task[Turn | None]],
    ) -> None:
        try:
            await drawing.finish(prompt, replies)
        except StoreError:
            lasts = [column.side.last for column in columns]
            if not any(last and last.prompt == prompt for last in lasts):
                self.field.text = printable(prompt)
            raise
        finally:
            if self.is_attached:
                self.read_store()

    def action_send(self) -> None:
        text = self.field.text.strip()
        if any(side.pairs.choice is None for side in self.model.active):
            self.notify("The pairs are still being read.", timeout=3, markup=False)
        elif text and self._costs_agreed(self.action_send):
            self.field.clear()
            if self.model.revealed_by_vote:
                self._renew()
            self.ask(text)

    def action_again(self) -> None:
        last = self.model.side.last
        if last is not None and self._costs_agreed(self.action_again):
            source = self.model.source
            if self.model.revealed_by_vote:
                self._renew()
            self.ask(last.prompt, source, again=True)

    def _costs_agreed(self, work: Callable[[], object]) -> bool:
        """Whether the user agreed to where keys go and to what a message costs; else that is
        asked, and a yes runs `work`."""
        uses = self.model.unapproved_keys()
        if uses:

            def approve(answer: str | None) -> None:
                if answer:
                    self.start(self._approve(uses, work), group="approve")

            self.app.push_screen(key_question(uses), approve)
            return False
        costs = self.model.new_costs()

        def agree(answer: str | None) -> None:
            if answer:
                self.model.agree(costs)
                work()

        if costs:
            text = "\n\n".join([*costs, "You are asked once, and again when a price changes."])
            answers = [("y", "ask the pair")]
            self.app.push_screen(ConfirmScreen("Messages cost money", text, answers), agree)
        return not costs

    async def _approve(self, uses: Sequence[KeyUse], work: Callable[[], object]) -> None:
        await asyncio.to_thread(approve_all, uses)
        work()

    def action_stop(self) -> None:
        self.model.stop()

    def action_new_line(self) -> None:
        self.field.new_line()

    def action_leave(self) -> None:
        self.set_focus(self.view)

    def action_write(self) -> None:
        # At once, so that a key typed right behind it goes into the field.
        self.set_focus(self.field)

    def action_new(self) -> None:
        self._renew()
        self.field.focus()

    # How it is shown and judged

    def action_draft(self) -> None:
        self.model.toggle_drafts()
        self._draw_columns()

    def action_verdicts(self) -> None:
        self.model.toggle_verdicts()
        self._draw_columns()

    def action_feedback(self) -> None:
        self.model.cycle_feedback()
        self._draw_columns()
        self._draw_frame()

    def action_watch(self) -> None:
        text = (
            "Drafts are checked while they stream; unsafe ones are cut off. Checks cost tokens."
            if self.model.toggle_watch()
            else "Drafts are judged once they are complete."
        )
        for column in self.columns:
            column.draw_titles()
        self.notify(text, timeout=4, markup=False)

    def action_step(self, by: int) -> None:
        self.view.step(by)

    def action_pair(self) -> None:
        column = self.column
        pairs = column.side.pairs

        def choose(name: str | None) -> None:
            if name is not None and pairs.choose(name):
                column.draw()
                self._draw_frame()

        current = pairs.choice.name if pairs.choice else ""
        self.app.push_screen(pair_picker(pairs.choices, current), choose)

    # Two columns

    def action_beside(self) -> None:
        self.model.toggle_beside()
        self._place_columns()
        self._draw_columns()

    def action_other(self) -> None:
        self.model.current = 1 - self.model.current
        self._place_columns()
        if not isinstance(self.focused, TextArea):
            self.view.focus()

    def action_blind(self) -> None:
        self.model.match.blind = not self.model.match.blind
        self._renew()

    def action_vote(self, vote: Vote) -> None:
        self.start(self._vote(vote), group="vote")

    async def _vote(self, vote: Vote) -> None:
        await self.model.match.decide(vote)
        self._draw_columns()
        self._draw_frame()

    def action_results(self) -> None:
        self.start(self._results(), group="results", exclusive=True)

    async def _results(self) -> None:
        self.app.push_screen(ResultsScreen(await self.model.comparisons()))

    # A queue of prompts

    def action_queue(self) -> None:
        self.start(self._choose_queue(), group="queue", exclusive=True)

    async def _choose_queue(self) -> None:
        title, queue = "Prompts of a file", self.model.queue
        files = await asyncio.to_thread(list_files, self.waltz.workspace.data)
        options = [
            Option(one_line(file.path.name, 60), str(file.path)) for file in files if file.readable
        ]
        options.append(Option("another file …", _OTHER_FILE))
        if queue is not None:
            options.append(Option("no file: only what is typed", ""))

        def open_file(path: str | None) -> None:
            if path:
                work = self.open_queue(Path(path).expanduser())
                self.start(work, group="queue", exclusive=True)

        def choose(path: str | None) -> None:
            if path == _OTHER_FILE:
                self.app.push_screen(AskText(title, "The path of any dataset.", ""), open_file)
            elif path == "":
                self.model.queue = None
                self._draw_frame()
            else:
                open_file(path)

        self.app.push_screen(Picker(title, options, str(queue.path) if queue else ""), choose)

    async def open_queue(self, path: Path) -> None:
        """Ask the first prompt of a file."""
        await self.model.open_queue(path)
        self.view.focus()
        await self._next()

    def action_next(self) -> None:
        self.start(self._next(), group="next", exclusive=True)

    async def _next(self) -> None:
        queue = self.model.queue
        if queue is None or not self._costs_agreed(self.action_next):
            return
        row = await self.model.next_prompt(queue)
        if row is not None:
            self._renew()
            self.ask(row.prompt, PromptSource(row.harm, str(queue.path), row.line))
            return
        skipped = [f"{queue.voted:,} already voted"] if queue.voted else []
        if queue.bad_lines:
            skipped.append(f"{plural(queue.bad_lines, 'line')} without a prompt")
        text = f" Skipped: {', '.join(skipped)}." if skipped else ""
        self.notify(f"That was the last prompt.{text}", timeout=6, markup=False)
        self._draw_frame()

    # Stored chats

    def action_open(self) -> None:
        self.start(self.saved.find(), group="chat-list", exclusive=True)

    def action_branch(self) -> None:
        if (turn := self.view.chosen) is not None:
            work = self.saved.branch(self.model.side.chat, turn)
            self.start(work, group="branch", exclusive=True)

    def action_about(self) -> None:
        if (turn := self.view.chosen) is not None:
            self.app.push_screen(AboutTurn(turn))

    def action_copy(self) -> None:
        if (turn := self.view.chosen) is not None:
            text = printable(turn.reply)
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {plural(len(text), 'character')}.", timeout=3, markup=False)

    def action_edit(self) -> None:
        if (turn := self.view.chosen) is not None:
            self.saved.edit(turn)

    def action_export(self) -> None:
        self.start(self.saved.export(), group="export", exclusive=True)
