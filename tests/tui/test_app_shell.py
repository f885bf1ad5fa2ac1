from __future__ import annotations

import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.screens import screen_text, shows, until
from waltzrl_tui.store import Store
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.shell.bars import KeyBar, TopBar
from waltzrl_tui.tui.shell.help import HelpScreen
from waltzrl_tui.tui.shell.keys import KEYS, section
from waltzrl_tui.tui.shell.screens import SCREENS, ScreenEntry
from waltzrl_tui.tui.shell.theme import CONTRAST, DARK, THEMES
from waltzrl_tui.workspace import Workspace


@pytest.mark.parametrize("entry", SCREENS, ids=lambda entry: entry.name)
def test_every_key_of_a_screen_is_bound_to_something_that_it_can_do(entry: ScreenEntry) -> None:
    screen = getattr(import_module(entry.module), entry.class_name)
    bound = {(binding.key, binding.action) for binding in screen.BINDINGS}
    for key in section(entry.name):
        assert (key.key, key.action) in bound
        assert hasattr(screen, f"action_{key.action.partition('(')[0]}"), key


def test_every_key_has_a_screen_and_says_what_it_does() -> None:
    for key in KEYS:
        assert key.screen in {"app", *(entry.name for entry in SCREENS)}
        assert key.help.endswith(".")
        assert len(key.label.split()) <= 3
        assert hasattr(WaltzApp, f"action_{key.action.partition('(')[0]}") or key.screen != "app"


async def test_numbers_change_the_screen_and_the_bar_marks_it(workspace: Workspace) -> None:
    async with WaltzApp(workspace).run_test(size=(100, 30)) as pilot:
        await shows(pilot, "starter.jsonl · 624 rows")
        await pilot.press("3")
        await shows(pilot, "No jobs yet")
        assert pilot.app.current_mode == "jobs"
        await pilot.click(TopBar, offset=(12, 0))
        await until(pilot, lambda: pilot.app.current_mode == "data")
        await shows(pilot, "starter.jsonl · 624 rows")


async def test_help_lists_all_keys_and_the_footer_only_those_that_work(
    workspace: Workspace,
) -> None:
    async with WaltzApp(workspace).run_test(size=(120, 50)) as pilot:
        await shows(pilot, "t train both", "enter read")
        footer = str(pilot.app.screen.query_one(KeyBar).render())
        assert "next bad row" not in footer
        assert "back" not in footer
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        for key in (*section("data"), *section("app")):
            assert f"{key.name} " in screen_text(pilot)
            assert key.help in screen_text(pilot)
        await pilot.press("escape")
        await shows(pilot, "t train both")
        assert not isinstance(pilot.app.screen, HelpScreen)


async def test_what_another_process_writes_is_shown(workspace: Workspace) -> None:
    app = WaltzApp(workspace)
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "starter.jsonl · 624 rows")
        async with await Store.open(workspace) as other:
            await other.jobs.add("k3f-conv", kind="train", role="conversation", model="m")
        await shows(pilot, "Jobs ●1")
        async with await Store.open(workspace) as other:
            await other.jobs.move("k3f-conv", "cancelled")
        await until(pilot, lambda: "●" not in screen_text(pilot))


async def test_jobs_that_run_are_told_of_at_the_start(workspace: Workspace) -> None:
    async with await Store.open(workspace) as store:
        for id in ("k3f-conv", "k3f-feed"):
            await store.jobs.add(id, kind="train", role="both", model="m")
    async with WaltzApp(workspace).run_test(size=(100, 30), notifications=True) as pilot:
        await shows(pilot, "2 jobs are not finished", "Jobs ●2")


async def test_a_store_that_cannot_be_opened_is_explained(workspace: Workspace) -> None:
    await (await Store.open(workspace)).close()
    connection = sqlite3.connect(workspace.store_path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    app = WaltzApp(workspace)
    async with app.run_test(size=(100, 30)) as pilot:
        await shows(pilot, "The store cannot be opened", "newer")
        await pilot.press("3", "question_mark")
        await shows(pilot, "The store cannot be opened")
        await pilot.press("q")
    assert app.return_code == 1


async def test_the_chosen_theme_is_kept_in_the_workspace(workspace: Workspace) -> None:
    first = WaltzApp(workspace)
    assert first.theme == DARK.name
    async with first.run_test() as pilot:
        for theme in THEMES:
            first.theme = theme.name
            await pilot.pause()
        first.theme = "textual-light"  # One of Textual's own has none of our colours.
        await shows(pilot, "starter.jsonl")
        first.theme = CONTRAST.name
        await pilot.pause()
    assert WaltzApp(workspace).theme == CONTRAST.name


async def test_over_ssh_nothing_is_animated(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22")
    assert WaltzApp(workspace).animation_level == "none"


class InTerminal:
    """The app as a process of its own in a pseudo-terminal."""

    CODE = (
        "import sys\n"
        "from waltzrl_tui.tui.shell.app import WaltzApp\n"
        "from waltzrl_tui.workspace import Workspace\n"
        "app = WaltzApp(Workspace.find(sys.argv[1]))\n"
        "app.run()\n"
        "sys.exit(app.return_code or 0)\n"
    )

    def __init__(self, home: Path) -> None:
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.CODE, str(home)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
            start_new_session=True,
        )
        os.close(slave)
        self.output = b""

    def read(self, seconds: float) -> None:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self.output += os.read(self.master, 1 << 16)
            except OSError:
                time.sleep(seconds)

    def until(self, text: bytes) -> None:
        end = time.monotonic() + 60
        while text not in self.output:
            assert time.monotonic() < end, self.output[-500:]
            self.read(0.1)

    def exit_status(self) -> int:
        end = time.monotonic() + 20
        while self.process.poll() is None:
            if time.monotonic() > end:
                self.process.kill()
                raise AssertionError("the app did not end within 20 s")
            self.read(0.1)
        return self.process.returncode


@pytest.mark.parametrize("how", ["q", "SIGTERM", "SIGHUP", "hangup", "no signal"])
def test_the_process_ends_and_leaves_the_store_whole(workspace: Workspace, how: str) -> None:
    running = InTerminal(workspace.home)
    running.until(b"train both")
    if how == "q":
        os.write(running.master, b"q")
    elif how in ("hangup", "no signal"):
        # The connection is gone: the terminal is closed and the kernel says so, but not to a
        # process that was started by make.
        os.close(running.master)
        if how == "hangup":
            os.kill(running.process.pid, signal.SIGHUP)
        assert running.process.wait(20) is not None
    else:
        os.kill(running.process.pid, getattr(signal, how))
    if how not in ("hangup", "no signal"):
        assert running.exit_status() == 0
        assert b"\x1b[?1049l" in running.output  # The terminal is given back.
        os.close(running.master)
    connection = sqlite3.connect(workspace.store_path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert not list(workspace.state.glob("*.db-wal"))


def test_the_start_imports_nothing_heavy(workspace: Workspace) -> None:
    code = (
        "import asyncio, sys\n"
        "from waltzrl_tui.tui.shell.app import WaltzApp\n"
        "from waltzrl_tui.workspace import Workspace\n"
        "async def main():\n"
        "    async with WaltzApp(Workspace.find(sys.argv[1])).run_test() as pilot:\n"
        "        await pilot.pause(1)\n"
        "asyncio.run(main())\n"
        "print(*sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(workspace.home)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "waltzrl_tui.tui.data.screen" in loaded
    heavy = {"torch", "transformers", "numpy", "openai", "httpx", "duckdb", "pyarrow"}
    assert not heavy & loaded
    assert not {"waltzrl_tui.tui.jobs.screen", "waltzrl_tui.tui.chat.screen"} & loaded
