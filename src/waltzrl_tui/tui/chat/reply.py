"""How the replies to one prompt reach the screen: requests first, then words, then the rest.

All requests go out, and words that arrive at once come in, before anything is drawn: `_HOLD` holds
the screen for that long at most. The first words of two sides are drawn together where they arrive
within `_GRACE` of each other. What stands around the replies is drawn behind their first words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.tui.chat.column import ChatColumn
from waltzrl_tui.tui.chat.model import ChatModel
from waltzrl_tui.tui.shell.screen import WaltzScreen

_PATIENCE_SECONDS: Final = 0.3
"""After so long what stands around the replies is drawn, though no word has arrived."""

_HOLD_SECONDS: Final = 0.04
_GRACE_SECONDS: Final = 0.005


class ReplyDrawing:
    """The replies of the sides that were asked one prompt.

    Args:
        columns: Those of the sides that answer.
        settle: Draws what stands around the columns.
    """

    def __init__(
        self,
        screen: WaltzScreen,
        model: ChatModel,
        columns: Sequence[ChatColumn],
        *,
        settle: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._model = model
        self._columns = tuple(columns)
        self._settle = settle
        self._begun: set[ChatColumn] = set()
        self._held_back = ExitStack()
        self._holding = True
        self._held_back.enter_context(screen.app.batch_update())
        asyncio.get_running_loop().call_later(_HOLD_SECONDS, self._release)
        screen.set_timer(_PATIENCE_SECONDS, settle)

    def ask(self, prompt: str, *, again: bool) -> list[asyncio.Task[Turn | None]]:
        """Ask every side; the replies are awaited by `finish`."""
        return [
            asyncio.create_task(column.ask(prompt, self._update, again=again))
            for column in self._columns
        ]

    async def finish(self, prompt: str, replies: list[asyncio.Task[Turn | None]]) -> None:
        """Wait for the replies, and draw how they ended.

        Raises:
            StoreError: The store cannot be written.
        """
        try:
            await self._model.finish(prompt, replies)
        finally:
            for reply in replies:
                reply.cancel()
            await asyncio.gather(*replies, return_exceptions=True)
            self._release()
            if self._screen.is_attached:
                for column in self._columns:
                    column.reveal()
                self._settle()

    def _update(self, column: ChatColumn) -> None:
        last = column.side.last
        if all(each.side.held and each.side.final for each in self._columns):
            for each in self._columns:
                each.reveal()
            self._settle()
        if len(self._columns) == 2 and self._model.match.unlinked:
            self._screen.start(self._model.match.link(), group="link")
        if last is None or not (last.rounds or last.ended):
            if not self._holding:
                column.draw()
        elif last.ended or column not in self._begun:
            self._begun.add(column)
            if self._begun.issuperset(self._columns):
                self._release()
                # First words come first; what stands around them is drawn behind them.
                self._screen.call_after_refresh(self._settle)
            elif self._holding:
                asyncio.get_running_loop().call_later(_GRACE_SECONDS, self._release)

    def _release(self) -> None:
        """Draw from now on: the prompt that was sent, where no words have arrived yet."""
        if self._holding:
            self._holding = False
            self._held_back.close()
            for column in self._columns:
                if column not in self._begun and column.view.is_attached:
                    column.draw()
