"""Launching at a provider from the screens: it asks first, pays once, and shows no key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
from textual.pilot import Pilot

from tests.support.emulators.together import TogetherEmulator
from tests.support.screens import screen_text, shows, until
from waltzrl_tui.providers.together import provider as together
from waltzrl_tui.remote import submit
from waltzrl_tui.tui.plan.launch import LaunchDialog
from waltzrl_tui.tui.plan.screen import PlanScreen
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.tables.keyed_table import KeyedTable
from waltzrl_tui.workspace import Workspace


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherEmulator]:
    with TogetherEmulator(speed=120.0) as emulator:
        monkeypatch.setenv("TOGETHER_API_KEY", emulator.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", emulator.url)
        monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
        monkeypatch.setattr(together.Together, "check_seconds", 0.02)
        monkeypatch.setattr(submit, "_PENDING_SECONDS", 0.05)
        yield emulator


def _dataset(workspace: Workspace) -> None:
    rows = [
        {
            "prompt": f"question {number} of its own kind",
            "harm": ("harmful", "benign")[number % 2],
            "reply": ("I can't help with that.", "Answer")[number % 2] + f" {number}",
        }
        for number in range(60)
    ]
    path = workspace.data / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


async def _launch_dialog(pilot: Pilot[None]) -> None:
    """From the start of the app to the dialog that asks."""
    await shows(pilot, "Together")
    screen = pilot.app.screen
    assert isinstance(screen, PlanScreen)
    names = [plan.row.provider for plan in screen._model.plans.values()]
    await pilot.press("home", *["down"] * names.index("together"))
    await shows(pilot, "enter launch")
    await pilot.press("enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, LaunchDialog), 30)


async def test_a_launch_asks_and_is_watched_to_its_pair(
    workspace: Workspace, there: TogetherEmulator
) -> None:
    _dataset(workspace)
    app = WaltzApp(workspace, screen="plan")
    async with app.run_test(size=(140, 44)) as pilot:
        await _launch_dialog(pilot)
        await shows(pilot, "total", "at most $", "Qwen/Qwen3-8B")
        assert there.count("POST", "/v1/files") == 0
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        assert await app.store.jobs.list() == []
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, LaunchDialog), 30)
        await pilot.press("y")
        await shows(pilot, "together", "succeeded")
        async with asyncio.timeout(30):
            while not await app.store.agents.pairs():
                await pilot.pause(0.1)
        await shows(pilot, "pair mine is ready")
        assert there.key not in screen_text(pilot)
    assert len(there.jobs) == 2
    for path in workspace.home.rglob("*"):
        if path.is_file():
            assert there.key.encode() not in path.read_bytes(), path


async def test_a_higher_price_of_the_providers_own_waits_for_a_yes(
    workspace: Workspace, there: TogetherEmulator
) -> None:
    _dataset(workspace)
    there.price = 400.0
    app = WaltzApp(workspace, screen="plan")
    async with app.run_test(size=(140, 44)) as pilot:
        await _launch_dialog(pilot)
        await pilot.press("y")
        await shows(pilot, "draft", "more than the $")
        assert there.jobs == {}
        app.screen.query_one(KeyedTable).focus()
        await shows(pilot, "y accept price")
        await pilot.press("y")
        await until(pilot, lambda: len(there.jobs) == 1, 30)


async def test_plan_says_what_each_account_may_do(
    workspace: Workspace, there: TogetherEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    _dataset(workspace)
    app = WaltzApp(workspace, screen="plan")
    async with app.run_test(size=(160, 48)) as pilot:
        await shows(pilot, "ready · may tune, key in TOGETHER_")
        asked = there.count("GET", "/v2/supported-models")
        screen = app.screen
        assert isinstance(screen, PlanScreen)
        names = [plan.row.provider for plan in screen._model.plans.values()]
        await pilot.press("home", *["down"] * names.index("together"))
        await shows(pilot, "account   ✓ key works · ✓ account can fine-tune", "checked 20")
        # Who comes back to the screen soon does not ask again.
        await pilot.press("1")
        await shows(pilot, "mine.jsonl · 60 rows")
        await pilot.press("2")
        await shows(pilot, "Together")
        assert there.count("GET", "/v2/supported-models") == asked
        assert there.count("POST", "/v1/files") == 0
    there.key = "tgp_v1_fedcba9876543210"
    async with WaltzApp(workspace, screen="plan").run_test(size=(160, 48)) as pilot:
        await shows(pilot, "needs another TOGETHER_API_KEY")
