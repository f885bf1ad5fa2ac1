"""What a round costs, as chat shows it: from the prices that every part of the app knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chat import KEY, SAFE, Running, add_pair
from tests.support.servers.paced import PacedServer
from waltzrl_tui.endpoints.costs import FREE, BillingRate
from waltzrl_tui.store.answers import Price
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.workspace import Workspace


async def test_a_round_shows_its_cost_once_the_prices_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-secret")
    server = PacedServer()
    await server.start()
    workspace = Workspace(tmp_path / "home")
    await add_pair(workspace, "paid", server.url, "talk", "judge")
    server.script = lambda model, messages: SAFE if model == "judge" else "one two three"
    try:
        async with Running(workspace, (140, 45)) as chat:
            assert chat.left.side.pairs.choose("paid")
            choice = chat.left.side.pairs.choice
            assert choice is not None and choice.feedback is not None
            prices = chat.app.store.answers
            # The server counts one token read and each word as one written.
            await prices.set_price(choice.conversation.name, Price(10_000.0, 100_000.0))
            await prices.set_price(choice.feedback.name, Price(0.0, 0.0))
            known = BillingRate(0.0, 10_000.0, 100_000.0)
            await chat.until(lambda: chat.left.side.pairs.rates == (known, FREE))
            chat.screen.field.text = "Hello"
            await chat.pilot.press("enter")
            await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
            await chat.pilot.press("escape")
            # Nothing was asked and nothing is lost.
            assert (server.requests, chat.screen.field.text) == ([], "Hello")
            await chat.pilot.press("enter")
            await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
            await chat.pilot.press("y")
            await chat.until(lambda: chat.left.side.last is not None and not chat.streaming)
            held = chat.left.side.last
            assert held is not None
            assert held.usd == pytest.approx(0.31)
            await chat.shows("$0.31")
            # A yes holds until a price changes.
            await chat.ask("Once more")
            await prices.set_price(choice.feedback.name, Price(10_000.0, 50_000.0))
            await chat.until(
                lambda: chat.left.side.pairs.rates[1] == BillingRate(0.0, 10_000.0, 50_000.0)
            )
            asked = len(server.requests)
            await chat.leave_prompt()
            await chat.pilot.press("r")
            await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
            await chat.pilot.press("escape")
            assert len(server.requests) == asked
    finally:
        server.go.set()
        await server.stop()
