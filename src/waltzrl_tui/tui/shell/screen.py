"""What all screens share: the bar of screens on top, the keys at the bottom, fresh data."""

from __future__ import annotations

import weakref
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual import events, on
from textual.app import ComposeResult
from textual.screen import Screen
from textual.worker import Worker

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.tui.shell.bars import KeyBar, TopBar
from waltzrl_tui.tui.shell.messages import StoreChanged

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp


class WaltzScreen(Screen[None]):
    """A screen of the app.

    A subclass sets `NAME` (its section of the key table), `BINDINGS = bindings(NAME)`, makes its
    widgets in `compose_body`, and reads what it shows in `refresh_from_store`, which runs when
    the screen comes up and after every commit while it is the active one, never twice at once.
    """

    NAME: ClassVar[str] = "app"
    AUTO_FOCUS = ""

    _reading = False
    _read_again = False

    @property
    def waltz(self) -> WaltzApp:
        """The app, with its own type."""
        return cast("WaltzApp", self.app)

    def compose(self) -> ComposeResult:
        yield TopBar(self.NAME)
        yield from self.compose_body()
        yield KeyBar(self.NAME)

    def compose_body(self) -> ComposeResult:
        """The widgets between the two bars."""
        yield from ()

    async def refresh_from_store(self) -> None:
        """Read from the store what the screen shows. A `WaltzError` is shown as a notice."""

    def start(
        self,
        work: Coroutine[Any, Any, None],
        *,
        group: str,
        exclusive: bool = False,
    ) -> Worker[None]:
        """Run `work` beside the event loop's other tasks; a `WaltzError` in it is shown.

        Args:
            group: Names what it does, so that `exclusive` ends only its like.
        """
        worker: Worker[None] = self.run_worker(
            partial(self._guarded, work), group=group, exclusive=exclusive, name=group
        )
        # One that is cancelled before it begins would be complained about as never awaited.
        weakref.finalize(worker, work.close)
        return worker

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except WaltzError as error:
            self.waltz.report(error)

    @on(StoreChanged)
    def _store_changed(self) -> None:
        self.read_store()

    @on(events.ScreenResume)
    def _came_up(self) -> None:
        self.read_store()

    def read_store(self) -> None:
        """Have `refresh_from_store` run once more, after the one under way if there is one."""
        self._read_again = True
        if not self._reading:
            self._reading = True
            self.start(self._read(), group="read-store")

    async def _read(self) -> None:
        try:
            while self._read_again and self.is_attached:
                self._read_again = False
                await self.refresh_from_store()
        finally:
            self._reading = False
