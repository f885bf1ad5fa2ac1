from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from tests.support.screens import screen_text, shows, until
from waltzrl_tui.plans.model import CostItem, Money, PlanRow, PlanSettings
from waltzrl_tui.plans.refresh import BASES
from waltzrl_tui.tui.data.train import TrainDialog
from waltzrl_tui.tui.dialogs.export_to import ExportTo
from waltzrl_tui.tui.plan.lines import enough_decimals, spread, state
from waltzrl_tui.tui.plan.screen import PlanScreen
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.shell.bars import KeyBar
from waltzrl_tui.tui.tables.keyed_table import KeyedTable
from waltzrl_tui.words import money
from waltzrl_tui.workspace import Workspace


def put(workspace: Workspace, name: str, count: int) -> Path:
    """A dataset of `count` rows with labels and replies."""
    path = workspace.data / name
    rows = (
        {
            "prompt": f"question {number} about " + "this and that " * (number % 7),
            "harm": ("harmful", "benign")[number % 2],
            "category": f"c{number % 3}",
            "reply": ("I can't help with that. ", "")[number % 2]
            + f"answer {number} is "
            + "so and so " * (number % 5),
        }
        for number in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def screen_of(pilot: Pilot[None]) -> PlanScreen:
    return next(each for each in pilot.app.screen_stack if isinstance(each, PlanScreen))


def table_of(pilot: Pilot[None]) -> KeyedTable:
    return screen_of(pilot).query_one(KeyedTable)


def plans(pilot: Pilot[None]) -> list[PlanRow]:
    """The plans in the order of the table."""
    return [plan.row for plan in screen_of(pilot)._model.plans.values()]


def footer(pilot: Pilot[None]) -> str:
    return str(screen_of(pilot).query_one(KeyBar).render())


async def open_plans(pilot: Pilot[None]) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen) and bool(plans(pilot)))


async def go_to(pilot: Pilot[None], provider: str) -> PlanRow:
    """Put the cursor on the first row of a provider."""
    found = next(number for number, row in enumerate(plans(pilot)) if row.provider == provider)
    await pilot.press("home", *["down"] * found)
    plan = screen_of(pilot)._plan
    assert plan is not None
    return plan.row


def open_app(workspace: Workspace) -> WaltzApp:
    return WaltzApp(workspace, screen="plan")


async def test_the_first_visit_prices_the_bundled_dataset_everywhere(workspace: Workspace) -> None:
    async with open_app(workspace).run_test(size=(160, 48)) as pilot:
        await open_plans(pilot)
        await shows(pilot, "Train both agents and chat 1 h", "starter.jsonl", "train", "valid")
        rows = plans(pilot)
        text = screen_text(pilot)
        totals = [row.total.expected for row in rows if row.total]
        assert totals == sorted(totals)
        assert [row.total is None for row in rows] == sorted(row.total is None for row in rows)
        for row in rows:
            assert row.title[:16] in text
        for row in rows:
            assert state(row)[0][:9] in text


async def test_every_key_reprices_all_rows(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", 400)
    async with open_app(workspace).run_test(size=(140, 40)) as pilot:
        await open_plans(pilot)
        before = {row.provider: row for row in plans(pilot)}
        await pilot.press("e", "1", "0", "0")
        await shows(pilot, "→ 90 train  10 valid")
        fewer = {row.provider: row for row in plans(pilot)}
        await pilot.press("tab", "9")
        more = {row.provider: row for row in plans(pilot)}
        priced = [name for name, row in before.items() if row.total and row.total.expected > 0]
        assert priced
        for name in priced:
            a, b, c = (found[name].training_tokens for found in (fewer, before, more))
            assert a < b
            assert a < c
        await pilot.press("tab", "right")
        await shows(pilot, "70B")
        await pilot.press("tab", "tab", "tab", "0")
        await shows(pilot, "Train both agents · ")


async def test_the_condition_of_the_data_screen_is_planned_for(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", 400)
    async with WaltzApp(workspace).run_test(size=(140, 40)) as pilot:
        await shows(pilot, "→ 360 train  40 valid")
        await pilot.press("s", *["tab"] * 5, *"harm = 'benign'")
        await shows(pilot, "→ 180 train  20 valid")
        await pilot.press("escape", "2")
        await open_plans(pilot)
        await shows(pilot, "→ 180 train  20 valid")
        await pilot.press("1", "s", *["tab"] * 5, "end", "x")
        await shows(pilot, "✗")
        await pilot.press("escape", "2")
        await shows(pilot, "✗", "Data changes the sample")


async def test_a_dataset_of_one_agent_is_planned_and_trained_for_it(workspace: Workspace) -> None:
    rows = ({"prompt": f"What is {n} times {n}?", "reply": f"It is {n * n}."} for n in range(400))
    (workspace.data / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    async with WaltzApp(workspace).run_test(size=(140, 40)) as pilot:
        await shows(pilot, "t train one", "→ 360 train  40 valid", "train conversation agent")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await shows(pilot, "Train the conversation agent on this machine")
        await pilot.press("escape", "2")
        await open_plans(pilot)
        await shows(pilot, "‹ conversation ›", "! no feedback agent: no")
        await shows(pilot, "Train the conversation agent and chat")
        assert (await go_to(pilot, "embedded")).state == "ready"
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await shows(pilot, "Train the conversation agent on this machine")
        await pilot.press("escape")
        # A dataset for both is planned for both again.
        put(workspace, "mine.jsonl", 400)
        await pilot.press("1", "2")
        await shows(pilot, "‹ both ›", "Train both agents and chat")
        await pilot.press("e", "shift+tab", "right", "right")
        await shows(pilot, "‹ feedback ›", "Train the feedback agent and chat")
        assert {row.roles for row in plans(pilot)} == {("feedback",)}


async def test_a_huge_file_is_priced_by_a_sample_of_its_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workspace, "mine.jsonl", 6000)
    monkeypatch.setattr("waltzrl_tui.tui.plan.model.AUTOMATIC", 1000)
    monkeypatch.setattr("waltzrl_tui.tui.plan.model._ENOUGH", 300)
    async with open_app(workspace).run_test(size=(120, 40)) as pilot:
        await open_plans(pilot)
        await shows(pilot, "→ 5,400 train  600 valid")


async def test_what_cannot_be_is_told_and_the_prices_stay(workspace: Workspace) -> None:
    async with open_app(workspace).run_test(size=(140, 40)) as pilot:
        await open_plans(pilot)
        before = plans(pilot)
        await pilot.press("e", "tab", "0")
        await shows(pilot, "✗ epochs: above 0")
        assert plans(pilot) == before
        await pilot.press("backspace", "x", "e", *"2.5")
        # Letters are keys still, and x asks where to; the field has got none of them.
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        await pilot.press("escape")


async def test_the_sum_adds_up_line_by_line_at_every_provider(workspace: Workspace) -> None:
    async with open_app(workspace).run_test(size=(200, 70)) as pilot:
        await open_plans(pilot)
        for number, row in enumerate(plans(pilot)):
            await pilot.press("down" if number else "home")
            await shows(pilot, f"Breakdown · {row.title}")
            if row.total is None:
                continue
            pane = screen_text(pilot).partition("Breakdown · ")[2].partition("\n")[2]
            above, _, below = pane.partition("────")
            amounts = [float(found.replace(",", "")) for found in _first_amounts(above)]
            (total, *_) = _first_amounts(below.partition("total, both agents")[2])
            assert sum(amounts) == pytest.approx(float(total.replace(",", "")), abs=1e-9)
            for text in (*row.blockers, *row.warnings):
                assert text[:30] in pane


def _first_amounts(text: str) -> list[str]:
    """The first amount at the end of each line, ranges behind it left out."""
    found = []
    for line in text.splitlines():
        cell = line.rsplit("││", 1)[-1].strip(" │╭╮╰╯─")
        if match := re.search(r"\s\$([\d,]+\.\d+)(?:\s{2,}\S+)?$", " " + cell):
            found.append(match[1])
    return found


async def test_a_plan_is_kept_and_others_and_changes_are_shown_beside_it(
    workspace: Workspace,
) -> None:
    async with open_app(workspace).run_test(size=(160, 50)) as pilot:
        await open_plans(pilot)
        priced = [row for row in plans(pilot) if row.total and row.total.expected > 0.01]
        a, b = priced[0], priced[-1]
        await go_to(pilot, a.provider)
        await pilot.press("c")
        await shows(pilot, f"Compare · ◆ {a.title} with ▸ {a.title}", "c end compare")
        await go_to(pilot, b.provider)
        assert a.total is not None
        assert b.total is not None
        difference = round(b.total.expected, 2) - round(a.total.expected, 2)
        await shows(pilot, f"◆ {a.title} with ▸ {b.title}", f"+{money(difference)}")
        # What was kept stays as it was; what is asked for now is beside it.
        await pilot.press("e", "tab", "6")
        await shows(pilot, "epochs   3", "+3")
        await pilot.press("escape", "escape")
        await shows(pilot, f"Breakdown · {b.title}", "c compare")


async def test_enter_trains_here_and_does_nothing_elsewhere(workspace: Workspace) -> None:
    async with open_app(workspace).run_test(size=(140, 40)) as pilot:
        await open_plans(pilot)
        other = next(row for row in plans(pilot) if row.provider != "embedded")
        await go_to(pilot, other.provider)
        assert "enter launch" not in footer(pilot)
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, PlanScreen)
        await pilot.press("e", *"100", "escape")
        await go_to(pilot, "embedded")
        assert "enter launch" in footer(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await shows(pilot, "90 rows to train on, 10 for validation")


async def test_the_sample_of_the_data_screen_is_planned_for(workspace: Workspace) -> None:
    put(workspace, "a.jsonl", 50)
    put(workspace, "b.jsonl", 80)
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "a.jsonl · 50 rows", "45 train  5 valid")
        await pilot.press("f", "end", "enter")
        await shows(pilot, "b.jsonl · 80 rows", "72 train  8 valid")
        await pilot.press("s", *"40", "escape", "2")
        await shows(pilot, "Train both agents", "b.jsonl", "→ 36 train  4 valid")
        # A number that was typed here stays while nothing else is chosen there.
        await pilot.press("e", "backspace", "backspace", "escape", "1")
        await shows(pilot, "b.jsonl · 80 rows")
        await pilot.press("2")
        await shows(pilot, "→ 72 train  8 valid")


async def test_plans_are_written_where_asked_and_replace_nothing_unasked(
    workspace: Workspace,
) -> None:
    async with open_app(workspace).run_test(size=(120, 40), notifications=True) as pilot:
        await open_plans(pilot)
        target = workspace.home / "plan-starter.md"
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        await pilot.press("enter")
        await shows(pilot, "Written to")
        text = target.read_text()
        assert all(row.title in text for row in plans(pilot))
        target.write_text("mine")
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        await pilot.press("enter")
        await shows(pilot, "The file exists; enter replaces it.")
        assert target.read_text() == "mine"
        await pilot.press("ctrl+t", "enter")
        csv = target.with_suffix(".csv")
        await until(pilot, lambda: isinstance(pilot.app.screen, PlanScreen))
        assert len(csv.read_text().splitlines()) > len(plans(pilot))
        await pilot.press("x")
        await until(pilot, lambda: isinstance(pilot.app.screen, ExportTo))
        await pilot.press("ctrl+u", *"nowhere/x.md", "enter")
        await shows(pilot, "There is no folder")


async def test_prices_are_asked_for_after_a_yes_and_who_failed_is_named(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split()[1])
        flavours = (
            "t4-small",
            "l4x1",
            "a10g-small",
            "l40sx1",
            "a100-large",
            "rtx-pro-6000",
            "h200",
        )
        body = json.dumps(
            [{"name": name, "unitLabel": "minute", "unitCostUSD": 1.5} for name in flavours]
        ).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        writer.write(body)
        await writer.drain()
        writer.close()

    asked: list[str] = []
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    here = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for name, (variable, _) in BASES.items():
        monkeypatch.setenv(variable, here if name == "hf_jobs" else "http://127.0.0.1:9")
    app = open_app(workspace)
    async with server, app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_plans(pilot)
        before = await go_to(pilot, "hf_jobs")
        await pilot.press("r")
        await shows(pilot, "Ask for today's prices?", here.removeprefix("http://"))
        await pilot.press("escape")
        await pilot.pause()
        assert not asked
        await pilot.press("r")
        await shows(pilot, "Ask for today's prices?")
        await pilot.press("y")
        await shows(pilot, "✓ HF Jobs:", "✗ Vast.ai:", "✗ Lambda:", "The others stay")
        assert asked == ["/api/jobs/hardware"]
        after = await go_to(pilot, "hf_jobs")
        assert before.total is not None
        assert after.total is not None
        assert after.total.expected > before.total.expected
        await shows(pilot, "price of  ", "(today)")


async def test_a_mistake_in_the_users_price_list_is_named(workspace: Workspace) -> None:
    (workspace.home / "plans.toml").write_text("[provider.together]\nhostin = 3\n")
    async with open_app(workspace).run_test(size=(120, 40)) as pilot:
        # Where the path breaks depends on its length.
        await shows(pilot, "provider.together.hostin", "Did you mean hosting?")
        assert not plans(pilot)


async def test_a_dataset_that_cannot_be_planned_for_says_why(workspace: Workspace) -> None:
    (workspace.data / "bad.jsonl").write_text('{"id": 1}\n')
    async with open_app(workspace).run_test(size=(80, 24)) as pilot:
        await shows(pilot, "✗ ", "bad.jsonl")
        assert not plans(pilot)
        await pilot.press("c", "x", "d", "enter", "e", "5", "escape")
        assert isinstance(pilot.app.screen, PlanScreen)
        put(workspace, "bad.jsonl", 30)
        await pilot.press("3")
        await until(pilot, lambda: pilot.app.current_mode == "jobs")
        await pilot.press("2")
        await open_plans(pilot)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (200, 60)])
async def test_at_every_size_table_form_and_sum_can_be_reached(
    workspace: Workspace, size: tuple[int, int]
) -> None:
    async with open_app(workspace).run_test(size=size) as pilot:
        await open_plans(pilot)
        row = plans(pilot)[0]
        await shows(pilot, row.title, "✓ ready")
        await pilot.press("d")
        await shows(pilot, f"Breakdown · {row.title}", "total, both agents")
        await pilot.press("escape", "e")
        await shows(pilot, "rows", "epochs", "budget $")
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "plan-rows"
        await pilot.press("escape")
        await shows(pilot, row.title, "✓ ready")
        assert pilot.app.focused is table_of(pilot)


async def test_text_of_the_price_list_stays_text(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "[bold red]x[/] \x1b[31m\u202e"
    row = _row(reason=hostile, title=hostile, notes=(hostile,), blockers=(hostile,))
    monkeypatch.setattr("waltzrl_tui.tui.plan.model.price_plans", lambda *_: [row])
    async with open_app(workspace).run_test(size=(140, 40)) as pilot:
        await open_plans(pilot)
        await pilot.press("d")
        await shows(pilot, "✗ [bold red]x[/] ␛[31m")
        assert not set(screen_text(pilot)) & set("\x1b\u202e")


def _row(**changes: Any) -> PlanRow:
    values: dict[str, Any] = {
        "provider": "p",
        "title": "P",
        "model": "m",
        "state": "blocked",
        "reason": "",
        "training_tokens": 10,
        "exact": True,
        "total": Money.of(1, 2, 3),
        "parts": (CostItem("all", Money.of(1, 2, 3)),),
        "seconds": None,
        "price_as_of": None,
        "price_source": "",
        "price_stale": False,
        "blockers": (),
        "warnings": (),
        "notes": (),
    }
    return PlanRow(**values | changes)


amounts = st.floats(0, 2000, allow_nan=False).map(lambda usd: Money.of(usd, usd, usd))


@given(st.lists(amounts, min_size=1, max_size=6))
def test_shown_parts_add_up_to_the_shown_total(parts: list[Money]) -> None:
    total = Money.sum(parts)
    decimals = enough_decimals(total, [CostItem("", part) for part in parts])
    shown = sum(round(part.expected, decimals) for part in parts)
    assert round(shown, decimals) == round(total.expected, decimals)


def test_a_part_below_a_cent_is_not_shown_as_free() -> None:
    parts = [CostItem("", Money.of(usd, usd, usd)) for usd in (4.5, 0.003)]
    assert enough_decimals(Money.sum(part.usd for part in parts), parts) == 3


def test_a_range_is_shown_only_where_its_ends_differ() -> None:
    assert spread(Money.of(0.8, 1, 1.2)) == "$0.80–1.20"
    assert spread(Money.of(1, 1.001, 1.002)) == ""


def test_the_default_settings_are_those_of_the_form(workspace: Workspace) -> None:
    assert (PlanSettings().epochs, PlanSettings().size, PlanSettings().chat_hours) == (
        3.0,
        "default",
        1.0,
    )
