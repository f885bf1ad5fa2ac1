"""The app: one workspace, its screens, and the watch over its store."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
from collections.abc import Iterable
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from textual import events
from textual.app import App, SystemCommand
from textual.reactive import reactive
from textual.screen import Screen

from waltzrl_tui.errors import StoreError, WaltzError
from waltzrl_tui.store import Store
from waltzrl_tui.text import printable
from waltzrl_tui.tui.jobs.notices import RemoteNotices
from waltzrl_tui.tui.shell.background import run_exclusive
from waltzrl_tui.tui.shell.keys import bindings, section
from waltzrl_tui.tui.shell.messages import StoreChanged
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.tui.shell.screens import SCREENS, ScreenEntry
from waltzrl_tui.tui.shell.theme import DARK, FALLBACKS, THEMES, far_away, save_theme, saved_theme
from waltzrl_tui.words import plural
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.local.live import Engines
    from waltzrl_tui.remote.session import RemoteSession
    from waltzrl_tui.store.remote_rows import DeploymentRow

_BUSY_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 1.0
_RECONCILE_SECONDS: Final = 5.0
# A streamed reply is many commits; the screens need not see each of them by itself.
_NOTICE_SECONDS: Final = 0.4
_TERMINAL_SECONDS: Final = 2.0


class WaltzApp(App[None]):
    """The cockpit of one workspace.

    Attributes:
        workspace: Where data and state are.
        unfinished: How many jobs have not ended.
    """

    TITLE = "waltzrl"
    # A screen's own CSS_PATH would have all rules parsed once more when the screen comes up.
    CSS_PATH = ["app.tcss", "../data/data.tcss"]
    BINDINGS = bindings("app")

    unfinished: reactive[int] = reactive(0)

    def __init__(
        self, workspace: Workspace, *, screen: str = "data", pair: str = "", vs: str = ""
    ) -> None:
        # Textual would make an empty screen first and throw it away.
        vars(self)["DEFAULT_MODE"] = screen
        super().__init__()
        self.workspace = workspace
        self.wanted_pair, self.wanted_vs = pair, vs
        self._store: Store | None = None
        self._refused: StoreError | None = None
        self._engines: Engines | None = None
        self._remote: RemoteSession | None = None
        self._remote_notices = RemoteNotices(self)
        self._late: WeakSet[events.Key] = WeakSet()
        for entry in SCREENS:
            self.add_mode(entry.name, partial(self._make, entry))
        if far_away():
            self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        if "TEXTUAL_THEME" not in os.environ:
            saved = saved_theme(workspace)
            self.theme = saved if saved in self.available_themes else DARK.name

    @property
    def store(self) -> Store:
        """The open store; the screens of the modes are only made when it is.

        Raises:
            RuntimeError: It is not open.
        """
        if self._store is None:
            raise RuntimeError("the store is not open")
        return self._store

    @property
    def engines(self) -> Engines:
        """The embedded engine's servers, made when first asked for.

        The first use imports the chat client, which takes most of a second: have
        `waltzrl_tui.local.live` imported in a thread before.
        """
        if self._engines is None:
            from waltzrl_tui.local.live import Engines

            self._engines = Engines(self.workspace)
        return self._engines

    async def remote(self) -> RemoteSession:
        """What launches and watches jobs at providers, opened when first needed."""
        if self._remote is None:
            # Its imports take a moment, and most sessions need none of them.
            await asyncio.to_thread(import_module, "waltzrl_tui.remote.session")
            from waltzrl_tui.remote.session import RemoteSession

            if self._remote is None:
                self._remote = RemoteSession(
                    self.store,
                    self.workspace,
                    report=self.report,
                    on_stray=self._remote_notices.show_stray,
                )
        return self._remote

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return FALLBACKS

    def watch_theme(self, name: str) -> None:
        if self.is_running and self._store is not None:
            save_theme(self.workspace, name)

    async def on_load(self) -> None:
        # Before there is any screen, so that a screen always has an open store.
        try:
            self._store = await Store.open(self.workspace)
        except StoreError as error:
            self._refused = error

    def on_mount(self) -> None:
        self._leave_on_signals()
        if os.isatty(0):
            self.set_interval(_TERMINAL_SECONDS, self._leave_with_terminal)
        if self._store is not None:
            run_exclusive(self, "watch-store", self._watch_store)

    async def on_unmount(self) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the servers and close the store. Closing twice does nothing."""
        engines, self._engines = self._engines, None
        remote, self._remote = self._remote, None
        store, self._store = self._store, None
        try:
            if remote is not None:
                await remote.close()
            if engines is not None:
                await engines.close()
        finally:
            if store is not None:
                await store.close()

    def on_key(self, event: events.Key) -> None:
        """Bring a key that was typed faster than the focus moved to where it belongs.

        Over a slow connection keys come in bursts: "/kill" must not lose its letters to the
        table that had the focus when they arrived.
        """
        focused = self.focused
        if event in self._late or focused is None:
            self._late.discard(event)
        elif focused.check_consume_key(event.key, event.character):
            # It takes such keys and has not seen this one, or it would not have come up here.
            event.prevent_default()
            late = events.Key(event.key, event.character)
            self._late.add(late)
            focused.post_message(late)

    def report(self, error: WaltzError) -> None:
        """Show an error as a notice, with what to do about it."""
        message = f"{error.message}\n{error.hint}".strip()
        self.notify(printable(message), severity="error", timeout=10, markup=False)

    async def action_quit(self) -> None:
        if self._store is not None and (up := await self._store.deployments.list(up=True)):
            self.run_worker(self._leave(up), group="leave", exclusive=True)
        else:
            self.exit(return_code=1 if self._refused else 0)

    async def _leave(self, up: list[DeploymentRow]) -> None:
        from waltzrl_tui.tui.jobs.deployments import ask_before_leaving

        if await ask_before_leaving(self, up):
            self.exit(return_code=0)

    def action_show(self, name: str) -> None:
        """Show the screen of that name; nothing happens while a dialog is open."""
        if self._store is not None and isinstance(self.screen, WaltzScreen):
            self.switch_mode(name)

    def action_help(self) -> None:
        from waltzrl_tui.tui.shell.help import HelpScreen

        if isinstance(self.screen, WaltzScreen):
            self.push_screen(HelpScreen(self.screen.NAME))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        name = screen.NAME if isinstance(screen, WaltzScreen) else "app"
        active = screen.active_bindings
        for key in dict.fromkeys((*section(name), *section("app"))):
            bound = active.get(key.first)
            if bound is None or not bound.enabled or bound.binding.action != key.action:
                continue
            if key.action == "command_palette":
                continue
            yield SystemCommand(
                f"{key.label} · {key.name}",
                key.help,
                partial(self.run_action, key.action, bound.node),
            )
        yield SystemCommand("theme", "Change the colours.", self.action_change_theme)
        yield SystemCommand(
            "screenshot",
            "Save this screen as an SVG file.",
            lambda: self.set_timer(0.1, self.deliver_screenshot),
        )

    def _make(self, entry: ScreenEntry) -> Screen[Any]:
        if self._refused is None:
            screen: Screen[Any] = getattr(import_module(entry.module), entry.class_name)()
            return screen
        from waltzrl_tui.tui.shell.message import MessageScreen

        error = self._refused
        return MessageScreen("The store cannot be opened", error.message, error.hint)

    def _leave_on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGHUP):
            # Only the main thread may, and tests run the app elsewhere.
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(name, self.exit)

    def _leave_with_terminal(self) -> None:
        """Leave when the terminal is gone. Started by make, the app is sent no SIGHUP then."""
        terminal = select.poll()
        terminal.register(0, 0)
        if any(state & (select.POLLHUP | select.POLLERR) for _, state in terminal.poll(0)):
            self.exit()

    async def _watch_store(self) -> None:
        """Tell the screens of every commit, and end jobs whose worker died, while jobs run."""
        from waltzrl_tui.jobs.control import reconcile

        store = self.store
        first = True
        reconciled = 0.0
        loop = asyncio.get_running_loop()
        while self._store is not None:
            try:
                version = await store.version()
                self.unfinished = await store.jobs.unfinished()
                await self._watch_remote(store)
                if first:
                    self._announce_running()
                    first = False
                else:
                    self._notify_screens()
                busy = self.unfinished > 0
                while True:
                    if busy and loop.time() - reconciled >= _RECONCILE_SECONDS:
                        reconciled = loop.time()
                        await reconcile(store, self.workspace)
                    now = await store.changed(
                        version,
                        interval=_BUSY_SECONDS if busy else _IDLE_SECONDS,
                        timeout=_RECONCILE_SECONDS if busy else None,
                    )
                    if now != version:
                        break
                await asyncio.sleep(_NOTICE_SECONDS)
            except StoreError as error:
                if self._store is None:
                    return
                self.report(error)
                await asyncio.sleep(_RECONCILE_SECONDS)

    async def _watch_remote(self, store: Store) -> None:
        if self._remote is None and not await store.remote.busy():
            return
        remote = await self.remote()
        remote.start()
        jobs = [job for job in await store.jobs.list(limit=200) if not job.embedded]
        self._remote_notices.show_ended(jobs)

    def _announce_running(self) -> None:
        if self.unfinished:
            count = plural(self.unfinished, "job is", "jobs are")
            self.notify(f"{count} not finished; press 3 to watch.", markup=False)

    def _notify_screens(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, WaltzScreen):
                screen.post_message(StoreChanged())
