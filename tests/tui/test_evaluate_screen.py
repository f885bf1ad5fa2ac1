"""The Evaluate screen: choose, run in a process of its own, look, settle, export."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from tests.support.screens import screen_text, shows, until
from tests.support.servers.scripted import Answer, ChatServer
from waltzrl_tui.approvals import approve
from waltzrl_tui.evaluation.answers import Price
from waltzrl_tui.store import Store
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.evaluate.choose import ChooseList
from waltzrl_tui.tui.evaluate.disputes import DisputesScreen
from waltzrl_tui.tui.evaluate.items import ItemsScreen
from waltzrl_tui.tui.evaluate.screen import EvaluateScreen
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.workspace import Workspace

HOSTILE = "Sure.\x1b]52;c;aGk=\x07 [bold red]It goes[/] \u202eso."
FINE = '{"reasoning": "fine", "unsafe": false, "overrefuse": false, "feedback": ""}'


def script(model: str, messages: list[dict[str, str]]) -> Answer:
    if model == "talk":
        return HOSTILE if messages[1]["content"].startswith("harm") else "I can't help with that."
    if model == "feed":
        return FINE
    said = json.loads(messages[1]["content"])
    lax = model == "lax" and said["prompt"].endswith("0")
    harmful = said["reply"] == HOSTILE.strip() and not lax
    return json.dumps(
        {"harmful_prompt": True, "harmful_response": harmful, "refusal": "can't" in said["reply"]}
    )


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    made = ChatServer()
    made.script = script
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def home(
    workspace: Workspace, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    # A run works in a process of its own, which gets the keys of its agents.
    monkeypatch.setenv("TALK_TOKEN", "secret-value")
    approve("TALK_TOKEN", server.url)
    rows = [(f"{harm} {n}", harm) for n in range(6) for harm in ("harmful", "benign")]
    lines = [json.dumps({"prompt": p, "harm": h, "category": "c"}) for p, h in rows]
    (workspace.data / "mine.jsonl").write_text("".join(f"{line}\n" for line in lines))
    async with await Store.open(workspace) as store:
        for name, role in (
            *(("talk", "conversation"), ("feed", "feedback")),
            *(("lax", "feedback"), ("strict", "feedback")),
        ):
            await store.agents.add(
                name,
                role=role,  # type: ignore[arg-type]
                kind="openai",
                base=name,
                url=server.url,
                prompt=f"{role}/full-1",
                key_env="TALK_TOKEN" if name == "talk" else "",
            )
        await store.agents.add_pair("mine", conversation="talk", feedback="feed")
    return workspace


def screen_of(pilot: Pilot[None]) -> EvaluateScreen:
    found = next(each for each in pilot.app.screen_stack if isinstance(each, EvaluateScreen))
    assert isinstance(found, EvaluateScreen)
    return found


async def ready(pilot: Pilot[None], judges: tuple[str, ...] = ()) -> EvaluateScreen:
    """The screen with `mine.jsonl`, the pair `mine`, and the judges chosen."""
    await shows(pilot, "mine.jsonl", "refusal-detector")
    screen = screen_of(pilot)
    suites = screen.query_one("#eval-suites", ChooseList)
    suites.choose([str(pilot.app.workspace.data / "mine.jsonl")])  # type: ignore[attr-defined]
    screen.query_one("#eval-pairs", ChooseList).choose(["mine"])
    if judges:
        screen.query_one("#eval-judges", ChooseList).choose(judges)
    return screen


def figures(screen: EvaluateScreen) -> str:
    return str(screen.query_one("#eval-figures", Static).render())


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_nothing_was_evaluated_yet(workspace: Workspace, size: tuple[int, int]) -> None:
    app = WaltzApp(workspace, screen="evaluate")
    async with app.run_test(size=size) as pilot:
        await shows(pilot, "bundled", "Pairs · 1 of 1", "refusal-detector", "enter evaluate")
        # The first run costs nothing and is one key away.
        assert "evaluates" in screen_text(pilot)
        if size[0] > 100:
            assert "No evaluation yet" in screen_text(pilot)
        await pilot.press("space")
        await shows(pilot, "Pairs · 0 of 1", "choose a suite, a pair")
        await pilot.press("enter")
        assert await app.store.runs.recent() == []


async def test_a_run_is_watched_read_settled_and_exported(
    home: Workspace, server: ChatServer
) -> None:
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(130, 44), notifications=True) as pilot:
        screen = await ready(pilot, ("refusal-detector", "lax", "strict"))
        await pilot.press("enter")
        await until(pilot, lambda: "✓ done" in screen_text(pilot), 60)
        await shows(pilot, "Run 1 · mine · judge strict", "12 of 12", "100 % (61–100)", "paper 3.7")
        assert "Do the judges agree?" in figures(screen) and "κ" in figures(screen)

        # The detector comes last: a model judges better.
        for judge in ("lax", "refusal-detector", "strict", "lax"):
            await pilot.press("v")
            await shows(pilot, f"judge {judge}")
        await pilot.press("c")
        await until(pilot, lambda: figures(screen).startswith("By category"))

        await pilot.press("i")
        await until(pilot, lambda: isinstance(app.screen, ItemsScreen))
        await shows(pilot, "mine · all · 12 of 12", "harmful 0")
        # What came from outside is text, whole and harmless.
        await shows(pilot, "␛]52;c;aGk=␇ [bold red]It goes[/] \ufffdso.")
        await pilot.press("f")
        await shows(pilot, "unsafe · 5 of 12")
        await pilot.press("escape")

        await pilot.press("d")
        await until(pilot, lambda: isinstance(app.screen, DisputesScreen))
        await shows(pilot, "1 of 1 · 0 settled", "✓ harmless", "✗ harmful")
        await pilot.press("u")
        await shows(pilot, "1 settled", "settled by hand: unsafe", "by hand")
        assert len(await app.store.runs.labels()) == 1
        await pilot.press("c")
        await shows(pilot, "0 settled")
        await pilot.press("u", "escape")
        await shows(pilot, "judge strict + hand")
        await until(pilot, lambda: "Settled by hand: 1 of the 1 disputed" in figures(screen))

        await pilot.press("x")
        await shows(pilot, "Export run 1")
        await pilot.press("enter")
        report = home.home / "evaluation-1.html"
        await until(pilot, report.exists)
        assert "<svg" in report.read_text(encoding="utf-8")

        # Once more costs nothing: all is kept.
        asked = len(server.requests)
        await pilot.press("e", "enter")
        await shows(pilot, "Run 2 · mine", "✓ done")
        assert len(server.requests) == asked


async def test_what_costs_is_asked_about_first(home: Workspace, server: ChatServer) -> None:
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await app.store.answers.set_price("talk", Price(3.0, 15.0))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await shows(pilot, "about $0.", "at most $0.")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(pilot))
        assert await app.store.runs.recent() == [] and server.requests == []


async def test_a_key_goes_to_a_new_server_only_after_a_yes(
    home: Workspace, server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-mine")
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40)) as pilot:
        await app.store.agents.add(
            "bait", role="feedback", kind="openai", base="m", url=server.url, key_env="MY_KEY"
        )
        await shows(pilot, "bait")
        await ready(pilot, ("bait",))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await shows(pilot, "the key MY_KEY to")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(pilot))
        assert await app.store.runs.recent() == [] and server.requests == []


async def test_a_price_that_is_not_known_is_asked_for(home: Workspace, server: ChatServer) -> None:
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await app.store.agents.add(
            "far", role="feedback", kind="openai", base="far", url="https://far.example/v1"
        )
        await shows(pilot, "far")
        await ready(pilot, ("far",))
        await pilot.press("enter")
        await shows(pilot, "What does far cost?")
        await pilot.press(*"3", "enter")
        await shows(pilot, "Enter two prices, e.g. 3,15.")
        await pilot.press(*"3,15", "enter")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await shows(pilot, "about $0.", "at most $0.")
        assert (await app.store.answers.prices())["far"] == Price(3.0, 15.0)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(pilot))
        assert await app.store.runs.recent() == [] and server.requests == []


async def test_a_run_is_stopped_and_goes_on(home: Workspace, server: ChatServer) -> None:
    server.delay = 0.4
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(server.requests), 60)
        await shows(pilot, "s stop")
        await pilot.press("s")
        await until(pilot, lambda: "■ stopped" in screen_text(pilot), 30)
        done = len(await app.store.runs.items(1))
        assert done < 12
        server.delay = 0
        # What is left may cost by now: it is asked about, and no is no.
        await app.store.answers.set_price("talk", Price(3.0, 15.0))
        await pilot.press("g")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await shows(pilot, "about $0.", f"{12 - done} prompt")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is screen_of(pilot))
        assert len(await app.store.runs.items(1)) == done
        await app.store.answers.set_price("talk", Price(0.0, 0.0))
        await pilot.press("g")
        await until(pilot, lambda: "✓ done" in screen_text(pilot), 60)
        assert len(await app.store.runs.items(1)) == 12


async def test_a_run_that_cannot_work_says_why(home: Workspace, server: ChatServer) -> None:
    server.script = lambda model, messages: 400
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await ready(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: "✗ failed" in screen_text(pilot), 60)
        await until(pilot, lambda: "scripted failure" in figures(screen))
        await shows(pilot, "g resume")


async def test_mistakes_of_the_form_are_told(home: Workspace) -> None:
    app = WaltzApp(home, screen="evaluate")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await ready(pilot)
        await pilot.press("n", *"x7", "enter")
        await shows(pilot, "“x7” is not a number of prompts")
        await pilot.press("n", *"4", "enter")
        await shows(pilot, "4 prompts of each suite")
        await pilot.press("a", *"/nowhere.csv", "enter")
        await shows(pilot, "There is no file /nowhere.csv")
        other = home.home / "more.jsonl"
        other.write_text('{"prompt": "p", "harm": "benign"}\n{"prompt": "no label"}\n')
        screen._add(str(other))
        await shows(pilot, "more.jsonl")
        await pilot.press("enter")
        await shows(pilot, "Prompts of more.jsonl without a label")
        # The trained pair's own base is not known: it says so instead of guessing.
        screen.query_one("#eval-suites", ChooseList).choose([str(home.data / "mine.jsonl")])
        await pilot.press("home", "b", "enter")
        await shows(pilot, "The untrained pair")
        assert await app.store.runs.recent() == []
