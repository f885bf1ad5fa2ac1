"""How one side of the Chat screen is drawn: its turns, its title, the reply that grows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.content import Content
from textual.timer import Timer

from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.tui.chat.captions import preface, subtitle, title
from waltzrl_tui.tui.chat.model import ChatModel
from waltzrl_tui.tui.chat.side import ChatSide
from waltzrl_tui.tui.chat.view import ConversationView
from waltzrl_tui.tui.chat.wrap import Span

_BLIND: Final = " \nOne of the two pairs answers here. The vote reveals which one."


class ChatColumn:
    """Draws the side at `place` (0 or 1) of the model in its view.

    After a blind match shuffles the sides of the model, a column shows the other one.
    """

    def __init__(self, model: ChatModel, place: int) -> None:
        self._model = model
        self.place = place
        self.view = ConversationView(id=f"chat-turns-{'ab'[place]}", classes="pane chat-turns")
        self._ticks: Timer | None = None

    @property
    def side(self) -> ChatSide:
        return self._model.sides[self.place]

    async def ask(
        self, prompt: str, on_update: Callable[[ChatColumn], None], *, again: bool = False
    ) -> Turn | None:
        """Ask the pair after `ChatModel.begin`, and draw the words that arrive.

        Args:
            on_update: Called when the prompt is stored, which it has to draw, and with each
                update of the reply.
            again: It is the last prompt, asked again.

        Raises:
            StoreError: The prompt could not be stored.
        """
        side = self.side
        whole = bool(side.chat.after) or not side.chat.turns
        self.view.to_end()
        self._ticks = self.view.set_interval(1.0, self.grow)

        def update(turn: Turn) -> None:
            nonlocal whole
            if turn.rounds or turn.ended:
                if whole:
                    self.draw()
                    whole = False
                self.grow()
            on_update(self)

        try:
            return await side.ask(prompt, update, again=again)
        finally:
            if not side.held:
                self._stop_ticking()
            if self.view.is_attached:
                self.view.grow(side.chat.turns, side.elapsed)
                self.draw_titles()
                on_update(self)

    def reveal(self) -> None:
        """Show the reply of a blind match, which is final on both sides."""
        if self.side.held:
            self.side.reveal()
            if not self.side.streaming:
                self._stop_ticking()
            self.draw()

    def grow(self) -> None:
        """Draw the turn under way."""
        side = self.side
        if side.streaming or side.held:
            self.view.grow(side.chat.turns, side.elapsed, side.pairs.activity)

    def draw(self) -> None:
        """Draw everything."""
        side = self.side
        self.view.show(side.chat.turns, side.look, self._preface, side.elapsed)
        self.draw_titles()

    def draw_titles(self) -> None:
        """Write the pair above the view, and which chat it is below."""
        side, letter = self.side, self._model.letter(self.place)
        lead = f"{letter} · " if letter else ""
        if side.look.blind:
            self.view.border_title = Content(f"{lead}name hidden")
            self.view.caption(Content(side.state))
            return
        longest = 20 if letter else 40
        pair = title(side.pairs.choice, side.look.mode, side.watch, longest=longest)
        self.view.border_title = Content(lead).append(pair)
        self.view.caption(subtitle(side.chat))

    async def page(self, top: bool, jump: bool) -> None:
        """Read more turns on one side of those shown, or go to the first or last ones."""
        changed = await self.side.page(top, jump)
        if jump:
            if changed:
                self.draw()
            if top:
                self.view.to_start()
            else:
                self.view.to_end()
        elif changed:
            self.view.widen(self.side.chat.turns, self._preface)

    @property
    def _preface(self) -> tuple[Span, ...]:
        side = self.side
        if side.look.blind and not side.chat.turns:
            return ((_BLIND, "faint"),)
        return preface(side.chat, side.pairs.choice, side.look.mode, side.pairs.only_base)

    def _stop_ticking(self) -> None:
        if self._ticks is not None:
            self._ticks.stop()
            self._ticks = None
