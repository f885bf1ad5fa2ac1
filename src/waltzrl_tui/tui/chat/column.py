"""One side of the Chat screen: a pair, the chat with it, and the view that shows that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from textual.content import Content
from textual.timer import Timer

from waltzrl_tui.chat.conversation import MAX_REPLY_TOKENS, Conversation, Feedback
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.errors import StoreError
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.captions import preface, subtitle, title
from waltzrl_tui.tui.chat.lines import Look
from waltzrl_tui.tui.chat.pairs import Pairs
from waltzrl_tui.tui.chat.view import ConversationView
from waltzrl_tui.tui.chat.wrap import Span
from waltzrl_tui.tui.shell.keys import press

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

MODES: Final[tuple[Feedback, ...]] = ("applied", "shown", "off")

_EVERY: Final = 0.2
"""Seconds between two repaints of a reply; drawing is what streaming costs most."""

_BLIND: Final = " \nOne of the two pairs answers here. Which one is told after the vote."

WATCH_EVERY: Final = 24
"""Tokens between two looks at a growing draft, where drafts are watched."""


class Column:
    """A pair that is talked to. Columns know nothing of each other: one may fail or stall.

    Attributes:
        letter: "A" or "B" where there are two, else "".
        pairs: Who is asked; `chat`: what was said.
        look: How it is shown, and what is done with the feedback agent.
        watch: Whether growing drafts are judged.
    """

    def __init__(self, app: WaltzApp, place: int) -> None:
        self._app = app
        self.letter = ""
        self.place = place
        self.pairs = Pairs(app, second=place == 1)
        self.chat = Conversation(app.store)
        self.look = Look(recall=press("draft", "chat"), stop=press("stop", "chat"))
        self.watch = False
        self.view = ConversationView(id=f"chat-turns-{'ab'[place]}", classes="pane chat-turns")
        self._paging = False
        self._stop: asyncio.Event | None = None
        self._ticking: Timer | None = None
        self._began = 0.0

    @property
    def streaming(self) -> bool:
        return self._stop is not None

    @property
    def last(self) -> Turn | None:
        return self.chat.turns[-1] if self.chat.turns else None

    @property
    def held(self) -> bool:
        """In a blind match: whether the two replies are not shown yet."""
        return self.look.held

    @property
    def settled(self) -> bool:
        """Whether the words that come, or have come, are those of the reply that stands."""
        turn, choice = self.last, self.pairs.choice
        if turn is None or choice is None or turn.ended:
            return turn is not None and turn.ended
        if not turn.rounds:
            return False
        state = turn.rounds[-1]
        revises = self.look.mode == "applied" and choice.feedback is not None
        if not revises or len(turn.rounds) > choice.row.rounds:
            return bool(state.reply)
        return state.judged and not (state.verdict and state.verdict.triggers)

    @property
    def badge(self) -> str:
        """The pair's name with what is done with its feedback agent, where that is not usual."""
        if self.pairs.choice is None:
            return ""
        name = self.pairs.choice.name
        usual = self.look.mode == "applied" or self.pairs.choice.feedback is None
        return name if usual else f"{name}, feedback {self.look.mode}"

    @property
    def state(self) -> str:
        """In a word what it is doing: "writing", "failed", "done", "" before the first prompt.

        Of a blind column only whether the match goes on: who is done first may be told by.
        """
        if self.streaming or self.held:
            return "writing"
        if self.last is None or self.look.blind:
            return ""
        return "failed" if self.last.error else "stopped" if self.last.stopped else "done"

    def begin(self) -> None:
        """Count as streaming from now on, so that nothing is asked twice."""
        self._stop = asyncio.Event()
        self._began = time.monotonic()
        self.look = replace(self.look, held=self.look.blind)
        self.view.unmark()

    def reveal(self) -> None:
        """Show the reply of a blind match, which is taken back on neither side any more."""
        if self.held:
            self.look = replace(self.look, held=False)
            if not self.streaming:
                self._stop_ticking()
            self.show_all()

    def stop(self) -> None:
        """Have the reply end in good order."""
        if self._stop is not None:
            self._stop.set()

    async def ask(
        self, prompt: str, grown: Callable[[Column], None], *, again: bool = False
    ) -> Turn | None:
        """Ask the pair after `begin`, and show the words that come.

        Args:
            grown: Told when the prompt is stored, which is left to it to show, and of each repaint.
            again: It is the last prompt, asked again.

        Returns:
            The turn, or None when its prompt could not be stored.

        Raises:
            StoreError: The prompt could not be stored.
        """
        assert self._stop is not None and self.pairs.choice is not None
        chat, before = self.chat, self.last
        anew = bool(chat.after) or not chat.turns
        self.view.to_end()
        self._ticking = self.view.set_interval(1.0, self.tick)
        stream = chat.ask(
            prompt,
            self.pairs.choice.name,
            self.pairs.ready,
            stop=self._stop,
            again=again,
            feedback=self.look.mode,
            watch_tokens=WATCH_EVERY if self.watch else 0,
            rates=self.pairs.rates,
            history_tokens=self.pairs.budget,
            every=_EVERY,
        )
        try:
            async with aclosing(stream):
                async for turn in stream:
                    if turn.rounds or turn.ended:
                        if anew:
                            self.show_all()
                            anew = False
                        self.tick()
                    grown(self)
        except StoreError as error:
            if self.last is None or self.last is before:
                raise
            # Shown where the reply would be, though the store could not take it.
            self.last.apply("error", {"message": error.message, "hint": error.hint})
        finally:
            self._stop = None
            if not self.held:
                self._stop_ticking()
            if self.view.is_attached:
                self.view.grow(self.chat.turns, self._elapsed)
                self.titles()
                grown(self)
        return self.last

    def tick(self) -> None:
        """Draw the turn that grows."""
        if self.streaming or self.held:
            self.view.grow(self.chat.turns, self._elapsed, self.pairs.doing)

    def _stop_ticking(self) -> None:
        if self._ticking is not None:
            self._ticking.stop()
            self._ticking = None

    @property
    def _elapsed(self) -> float | None:
        """Seconds since the prompt was sent; None once the reply is there to be read."""
        going_on = self.streaming or self.held
        return time.monotonic() - self._began if going_on else None

    def change_look(
        self,
        *,
        mode: Feedback | None = None,
        drafts: bool | None = None,
        whole: bool | None = None,
        blind: bool | None = None,
    ) -> None:
        """Show turns in another way from now on."""
        look = self.look
        self.look = replace(
            look,
            mode=look.mode if mode is None else mode,
            drafts=look.drafts if drafts is None else drafts,
            whole=look.whole if whole is None else whole,
            blind=look.blind if blind is None else blind,
            held=look.held and blind is not False,
        )
        self.show_all()

    @property
    def costs(self) -> list[str]:
        """What a message costs, in sentences; none where nothing is billed by the message.

        An agent that a deployment bills by the hour was agreed to when it was brought up.
        """
        billed = self.pairs.billed(self.look.mode)
        if billed is None or not billed.by_request:
            return []
        told = billed.words(MAX_REPLY_TOKENS)
        if self.watch and billed.feedback is not None:
            told.append("Watching drafts asks the feedback agent several times a reply.")
        return told

    def renew(self, chat: Conversation | None = None) -> None:
        """Go on with another chat, a new one if none is given."""
        self.chat = Conversation(self._app.store) if chat is None else chat
        self.view.unmark()
        self.show_all()

    async def page(self, top: bool, jump: bool) -> None:
        """Read more turns on one side of those that are shown, or go to the first or last ones."""
        if self._paging:
            return
        self._paging = True
        try:
            chat = self.chat
            if jump:
                if chat.before if top else chat.after:
                    await (chat.first() if top else chat.latest())
                    self.show_all()
                self.view.to_start() if top else self.view.to_end()
            elif chat.before if top else chat.after:
                await (chat.earlier() if top else chat.later())
                self.view.widen(chat.turns, self._above())
        finally:
            self._paging = False

    def swap(self, other: Column) -> None:
        """Exchange pair, chat and mode with `other`; the views stay where they are."""
        self.pairs, other.pairs = other.pairs, self.pairs
        self.chat, other.chat = other.chat, self.chat
        self.look, other.look = other.look, self.look

    def show_all(self) -> None:
        self.view.show(self.chat.turns, self.look, self._above(), self._elapsed)
        self.titles()

    def _above(self) -> tuple[Span, ...]:
        if self.look.blind and not self.chat.turns:
            return ((_BLIND, "faint"),)
        return preface(self.chat, self.pairs.choice, self.look.mode, self.pairs.only_base)

    def titles(self) -> None:
        """Write the pair above the view, and which chat it is below."""
        lead = f"{self.letter} · " if self.letter else ""
        if self.look.blind:
            self.view.border_title = Content(f"{lead}name hidden")
            self.view.caption(Content(self.state))
            return
        longest = 20 if self.letter else 40
        told = title(self.pairs.choice, self.look.mode, self.watch, longest=longest)
        self.view.border_title = Content(lead).append(told)
        self.view.caption(subtitle(self.chat))

    @property
    def name(self) -> str:
        """The pair's name as it may be shown now."""
        if self.look.blind or self.pairs.choice is None:
            return f"side {self.letter}" if self.letter else "the pair"
        return one_line(self.pairs.choice.name, 40)
