"""The Chat screen: a pair answers, judges itself and revises while one watches."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static, TextArea

from waltzrl_tui.agents.conversation import Conversation
from waltzrl_tui.agents.transcript import Turn
from waltzrl_tui.errors import StoreError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.keys import EMPTY, bindings, press
from waltzrl_tui.tui.screens.base import WaltzScreen
from waltzrl_tui.tui.widgets.chat_lines import Look, Mode
from waltzrl_tui.tui.widgets.chat_pairs import Pairs, slower
from waltzrl_tui.tui.widgets.chat_pick import chat_picker, pair_picker
from waltzrl_tui.tui.widgets.chat_prompt import PromptInput
from waltzrl_tui.tui.widgets.chat_view import ConversationView
from waltzrl_tui.tui.widgets.chat_words import preface, subtitle, title

_MODES: Final[tuple[Mode, ...]] = ("shown", "on", "off")
_READ_SECONDS: Final = 3.0


class ChatScreen(WaltzScreen):
    """One chat with one pair at a time. It keeps streaming while another screen is shown."""

    NAME = "chat"
    BINDINGS = bindings("chat")
    CSS_PATH = "chat.tcss"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (20, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._pairs = Pairs(self.waltz)
        self._chat = Conversation(self.waltz.store)
        self._look = Look(recall=press("draft", "chat"), stop=press("stop", "chat"))
        self._stop: asyncio.Event | None = None
        self._began = 0.0
        self._notice = ""
        self._read_at = 0.0

    def compose_body(self) -> ComposeResult:
        yield ConversationView(id="chat-turns", classes="pane")
        yield Static(id="chat-notice", markup=False)
        with Horizontal(id="chat-ask"):
            yield Static("❯", id="chat-mark")
            yield PromptInput(id="chat-prompt")

    @property
    def view(self) -> ConversationView:
        return self.query_one(ConversationView)

    @property
    def field(self) -> PromptInput:
        return self.query_one(PromptInput)

    @property
    def streaming(self) -> bool:
        return self._stop is not None

    def on_mount(self) -> None:
        self.field.focus()

    def read_store(self) -> None:
        # A reply that streams is many commits, none of which is news to this screen.
        if not self.streaming or time.monotonic() >= self._read_at + _READ_SECONDS:
            self._read_at = time.monotonic()
            super().read_store()

    async def refresh_from_store(self) -> None:
        before = self._pairs.choice
        await self._pairs.read(settled=bool(self._chat.turns))
        notice = slower(await self.waltz.store.jobs.list(ended=False), self._pairs.choice)
        if notice != self._notice:
            self._notice = notice
            line = self.query_one("#chat-notice", Static)
            line.update(Content(notice))
            line.set_class(bool(notice), "-told")
        if self._pairs.choice != before:
            self._show_all()

    # What the keys do

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        typing = isinstance(self.focused, TextArea)
        turns = self._chat.turns
        last = turns[-1] if turns else None
        allowed = {
            "stop": self.streaming,
            "send": typing and not self.streaming,
            "new_line": typing,
            "leave": typing and not self.streaming,
            "write": not typing,
            "again": not self.streaming and last is not None and _unfinished(last),
            "pair": bool(self._pairs.choices),
            "draft": any(len(turn.rounds) > 1 for turn in turns),
            "feedback": bool(self._pairs.choice and self._pairs.choice.feedback),
            "new": bool(turns) and not self.streaming,
            "open": not self.streaming,
            "copy": last is not None and bool(last.reply),
        }
        return allowed.get(action, super().check_action(action, parameters))

    def action_send(self) -> None:
        text = self.field.text.strip()
        if self._pairs.choice is None:
            self.notify("The pairs are still being read.", timeout=3, markup=False)
        elif text:
            self.field.clear()
            self._ask(text)

    def action_again(self) -> None:
        self._ask(self._chat.turns[-1].prompt)

    def action_stop(self) -> None:
        if self._stop is not None:
            self._stop.set()

    def action_new_line(self) -> None:
        self.field.new_line()

    def action_leave(self) -> None:
        self.view.focus()

    def action_write(self) -> None:
        self.field.focus()

    def action_draft(self) -> None:
        self._change_look(drafts=not self._look.drafts)

    def action_feedback(self) -> None:
        self._change_look(mode=_MODES[(_MODES.index(self._look.mode) + 1) % len(_MODES)])

    def action_copy(self) -> None:
        text = printable(self._chat.turns[-1].reply)
        self.app.copy_to_clipboard(text)
        self.notify(f"Copied {len(text):,} characters.", timeout=3, markup=False)

    def action_new(self) -> None:
        self._chat = Conversation(self.waltz.store)
        self._show_all()
        self.field.focus()

    def action_pair(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None and self._pairs.choose(name):
                self._show_all()

        picked = self._pairs.choice.name if self._pairs.choice else ""
        self.app.push_screen(pair_picker(self._pairs.choices, picked), chosen)

    def action_open(self) -> None:
        self.start(self._offer_chats(), group="chat-list", exclusive=True)

    async def _offer_chats(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None and not self.streaming:
                self.start(self._reopen(int(name)), group="chat-open", exclusive=True)

        rows = await self.waltz.store.transcripts.list(200)
        current = str(self._chat.row.id) if self._chat.row else ""
        self.app.push_screen(chat_picker(rows, current, EMPTY["chat.chats"]), chosen)

    async def _reopen(self, number: int) -> None:
        chat = await Conversation.reopen(self.waltz.store, number)
        if self.streaming:
            return
        self._chat = chat
        assert chat.row is not None
        pair = chat.turns[-1].pair if chat.turns else chat.row.pair
        if not self._pairs.choose(pair) and self._pairs.choice is not None:
            self.notify(
                f"The pair {one_line(pair, 40)} is gone; "
                f"{one_line(self._pairs.choice.name, 40)} answers now.",
                severity="warning",
                markup=False,
            )
        self._show_all()
        self.view.to_end()
        self.field.focus()

    # A reply

    def _ask(self, prompt: str) -> None:
        self._stop = asyncio.Event()
        self._began = time.monotonic()
        self.start(self._stream(prompt, self._stop), group="reply")

    async def _stream(self, prompt: str, stop: asyncio.Event) -> None:
        chat, choice = self._chat, self._pairs.choice
        assert choice is not None
        before = chat.turns[-1] if chat.turns else None
        self.view.to_end()
        self.refresh_bindings()
        ticking = self.set_interval(1.0, self._tick)
        grown = chat.ask(
            prompt,
            choice.name,
            self._pairs.ready,
            stop=stop,
            judged=self._look.mode != "off",
            budget=self._pairs.budget,
        )
        try:
            async with aclosing(grown):
                async for turn in grown:
                    if len(chat.turns) == 1 and not turn.rounds:
                        self._show_all()
                    else:
                        self._tick()
        except StoreError as error:
            if not chat.turns or chat.turns[-1] is before:
                self.field.text = printable(prompt)
                raise
            # Shown where the reply would be, though the store could not take it.
            chat.turns[-1].apply("error", {"message": error.message, "hint": error.hint})
        finally:
            ticking.stop()
            self._stop = None
            if self.is_attached:
                self.view.grow(None)
                self._titles()
                self.refresh_bindings()
                self.read_store()

    def _tick(self) -> None:
        if self.streaming:
            self.view.grow(time.monotonic() - self._began, self._pairs.doing)

    @on(TextArea.Changed)
    def _typed(self) -> None:
        # The engine starts while the first prompt is being typed.
        if self.field.text and self._pairs.begin_warming():
            self.run_worker(self._pairs.warm(), group="warm", exit_on_error=False)

    @on(PromptInput.Recall)
    def _recall(self) -> None:
        if self._chat.turns:
            self.field.text = printable(self._chat.turns[-1].prompt)
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

    def _change_look(self, *, mode: Mode | None = None, drafts: bool | None = None) -> None:
        look = self._look
        self._look = replace(
            look,
            mode=look.mode if mode is None else mode,
            drafts=look.drafts if drafts is None else drafts,
        )
        self._show_all()

    def _show_all(self) -> None:
        elapsed = time.monotonic() - self._began if self.streaming else None
        choice, mode = self._pairs.choice, self._look.mode
        above = preface(self._chat, choice, mode, self._pairs.only_base)
        self.view.show(self._chat.turns, self._look, above, elapsed)
        self._titles()
        self.refresh_bindings()

    def _titles(self) -> None:
        self.view.border_title = title(self._pairs.choice, self._look.mode)
        self.view.caption(subtitle(self._chat))
        name = one_line(self._pairs.choice.name, 40) if self._pairs.choice else "the pair"
        self.field.invite(f"Ask {name}")


def _unfinished(turn: Turn) -> bool:
    return bool(turn.error) or turn.stopped or not turn.ended
