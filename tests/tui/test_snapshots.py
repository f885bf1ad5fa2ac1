"""Pictures of all screens: `pytest tests/tui/test_snapshots.py --snapshot-update` takes new ones.

Whatever differs between machines and days is fixed here: times and their zone, where the
workspace is, what the machine has, and what the environment asks of a terminal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.support import example
from tests.support.example import DATASET, PAIR, Clock
from tests.support.plans import environment
from tests.support.screens import screen_text, until
from waltzrl_tui.jobs import control
from waltzrl_tui.plans.model import Environment
from waltzrl_tui.store import Store
from waltzrl_tui.tui.chat.find import FindChat
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.shell.screens import SCREENS
from waltzrl_tui.tui.shell.theme import DARK
from waltzrl_tui.workspace import Workspace

SIZES = ((80, 24), (120, 40))
Compare = Callable[..., bool]

_CLOCKS = ("store.rows", "tui.jobs.lines", "tui.evaluate.runs", "tui.chat.find")
_TERMINAL = ("TEXTUAL_THEME", "NO_COLOR", "COLUMNS", "LINES", "SSH_TTY")

# What stands on a screen once it has read all that it shows: data rather than wording.
SHOWN = {
    "data": (DATASET, "Spreading unprovable", " 59", " 50 "),
    "plan": (DATASET, "SmolLM2-135M-Instruct", "Together", " 50 "),
    "jobs": ("●2", "34/60", "checkpoint 30 saved"),
    "chat": (PAIR, "end it with kill", "Answer: say how"),
    "evaluate": ("16 of 16", "alone", PAIR),
}
EMPTY = {
    "jobs": ("No jobs",),
    "chat": ("Ask base", "untrained"),
    "evaluate": ("SmolLM2-135M-Instruct", "refusal-detector"),
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """`~/align`, whatever the home folder is called."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = Workspace(tmp_path / "align")
    made.prepare()
    return made


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    async def read_environment(*_: Any) -> Environment:
        return environment(today=Clock.at.date(), speed=151.0)

    async def reconcile(*_: Any) -> list[str]:
        return []  # The jobs that train here have no worker.

    for name in _TERMINAL:
        monkeypatch.delenv(name, raising=False)
    for module in _CLOCKS:
        monkeypatch.setattr(f"waltzrl_tui.{module}.datetime", Clock)
    for module in ("tui.plan.model", "plans.waste"):
        monkeypatch.setattr(f"waltzrl_tui.{module}.read_environment", read_environment)
    monkeypatch.setattr("waltzrl_tui.tui.plan.model.counters_for", lambda *_: [])
    monkeypatch.setattr(control, "reconcile", reconcile)
    monkeypatch.setattr(Clock, "at", example.START)
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


async def fill(workspace: Workspace, screen: str) -> None:
    """Put into the workspace what `screen` shows."""
    example.add_dataset(workspace)
    async with await Store.open(workspace) as store:
        if screen == "jobs":
            await example.add_jobs(store)
        if screen in ("chat", "evaluate"):
            await example.add_pair(store)
        if screen == "chat":
            await example.add_chat(store)
        if screen == "evaluate":
            await example.add_run(store, workspace)


def open_app(workspace: Workspace, screen: str) -> WaltzApp:
    app = WaltzApp(workspace, screen=screen)
    app.theme = DARK.name
    app.animation_level = "none"
    # A notice goes away by the clock.
    app._disable_notifications = True
    return app


async def settle(pilot: Pilot[None], texts: tuple[str, ...]) -> None:
    """Wait until all of `texts` are shown, nothing is being read any more, and nothing moves."""

    before = ""

    def settled() -> bool:
        nonlocal before
        busy = {each.name for each in pilot.app.workers if not each.is_finished} - {"watch-store"}
        last, before = before, screen_text(pilot)
        return not busy and last == before and all(text in before for text in texts)

    for field in (*pilot.app.screen.query(Input), *pilot.app.screen.query(TextArea)):
        field.cursor_blink = False
    await until(pilot, settled, 30)


async def open_chat(pilot: Pilot[None]) -> None:
    """Open the stored chat, as a user does."""
    await settle(pilot, (PAIR,))
    await pilot.app.run_action("screen.open")
    await until(pilot, lambda: isinstance(pilot.app.screen, FindChat))
    await pilot.press("enter")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("screen", [entry.name for entry in SCREENS])
def test_the_screen_looks_as_it_did(
    workspace: Workspace, snap_compare: Compare, screen: str, size: tuple[int, int]
) -> None:
    asyncio.run(fill(workspace, screen))

    async def prepare(pilot: Pilot[None]) -> None:
        if screen == "chat":
            await open_chat(pilot)
        elif screen == "evaluate" and size[0] < 110:
            await settle(pilot, (PAIR,))
            await pilot.app.run_action("screen.results")
        elif screen == "jobs":
            await settle(pilot, ("k3f-conv",))
            await pilot.press("down")
        await settle(pilot, SHOWN[screen])

    assert snap_compare(open_app(workspace, screen), terminal_size=size, run_before=prepare)


@pytest.mark.parametrize("screen", list(EMPTY))
def test_the_empty_screen_looks_as_it_did(
    workspace: Workspace, snap_compare: Compare, screen: str
) -> None:
    def prepare(pilot: Pilot[None]) -> Any:
        return settle(pilot, EMPTY[screen])

    assert snap_compare(open_app(workspace, screen), terminal_size=(80, 24), run_before=prepare)
