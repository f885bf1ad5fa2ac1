"""Chats that are found, branched, corrected, written into files, and held in part."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from tests.support.chat import KEY, SAFE, TIMID, Chat, Running, add_pair
from tests.support.screens import screen_text
from tests.support.servers.paced import PacedServer
from waltzrl_tui.chat.conversation import PAGE
from waltzrl_tui.chat.transcript import Record
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.store import Store
from waltzrl_tui.tui.chat.edit import EditTurn
from waltzrl_tui.tui.chat.find import FindChat
from waltzrl_tui.tui.dialogs.export_to import ExportTo
from waltzrl_tui.tui.dialogs.fields import Choice
from waltzrl_tui.workspace import Workspace

Run = Callable[..., Running]


@pytest.fixture
async def server() -> AsyncIterator[PacedServer]:
    made = PacedServer()
    await made.start()
    yield made
    made.go.set()
    await made.stop()


@pytest.fixture
async def workspace(
    tmp_path: Path, server: PacedServer, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    monkeypatch.setenv(KEY, "sk-secret")
    made = Workspace(tmp_path / "home")
    await add_pair(made, "safe-7b", server.url, "talk", "judge")
    return made


@pytest.fixture
def run(workspace: Workspace) -> Run:
    return lambda size=(120, 40): Running(workspace, size)


def counting(model: str, messages: list[dict[str, str]]) -> str:
    return SAFE if model == "judge" else f"answer to {messages[-1]['content']}"


async def dialog(chat: Chat, key: str, kind: type) -> None:
    if chat.app.focused is chat.screen.field:
        await chat.leave_prompt()
    await chat.pilot.press(key)
    await chat.until(lambda: isinstance(chat.app.screen, kind))


async def test_a_chat_is_found_by_its_words(run: Run, server: PacedServer) -> None:
    server.script = counting
    async with run() as chat:
        for prompt in ("one about zebras", "one about tea"):
            await chat.ask(prompt)
            await chat.leave_prompt()
            await chat.pilot.press("n")
        await dialog(chat, "o", FindChat)
        await chat.pilot.press(*"zebr")
        await chat.until(lambda: "one about tea" not in screen_text(chat.pilot))
        await chat.pilot.press("enter")
        await chat.shows("you one about zebras", "answer to one about zebras")
        await dialog(chat, "o", FindChat)
        await chat.pilot.press(*"nowhere")
        await chat.until(lambda: "No chat contains" in screen_text(chat.pilot))
        await chat.pilot.press("enter", "escape")
        await chat.shows("you one about zebras")


async def test_a_branch_goes_on_from_the_chosen_turn(run: Run, server: PacedServer) -> None:
    server.script = counting
    async with run() as chat:
        for prompt in ("first", "second", "third"):
            await chat.ask(prompt)
        before = chat.screen.column.side.chat.row
        await chat.leave_prompt()
        await chat.pilot.press("k", "k", "c")
        await chat.until(lambda: chat.screen.column.side.chat.row != before)
        await chat.shows("you second")
        assert "third" not in chat.words
        server.requests.clear()
        await chat.ask("other third")
        asked = [turn["content"] for turn in server.requests[0][1][1:]]
        assert asked == ["first", "answer to first", "second", "answer to second", "other third"]
        assert before is not None
        kept = await chat.app.store.transcripts.openings(before.id)
        assert len(kept) == 3


async def test_a_reply_is_corrected_and_becomes_a_row_to_learn(
    run: Run, server: PacedServer, workspace: Workspace
) -> None:
    server.script = counting
    async with run() as chat:
        await chat.ask("first")
        await chat.ask("second")
        await dialog(chat, "e", EditTurn)
        chat.app.screen.query_one("#edit-reply", TextArea).text = "a better answer"
        await chat.pilot.press("ctrl+s")
        await chat.shows("reply a better answer", "corrected by hand")
        server.requests.clear()
        await chat.ask("third")
        assert "a better answer" in [turn["content"] for turn in server.requests[0][1]]
    (row,) = [
        row
        for row in open_dataset(workspace.data / "from-chat.jsonl", workspace=workspace)
        if isinstance(row, Row)
    ]
    assert (row.prompt, row.reply) == ("second", "a better answer")
    assert [turn["content"] for turn in row.history] == ["first", "answer to first"]


async def test_a_verdict_is_corrected_and_becomes_a_row_to_learn(
    run: Run, server: PacedServer, workspace: Workspace
) -> None:
    server.script = lambda model, messages: TIMID if model == "judge" else "I can't help."
    async with run(size=(80, 24)) as chat:
        await chat.ask("How do I end a process?")
        await dialog(chat, "e", EditTurn)
        await chat.pilot.press("ctrl+t")
        await chat.until(lambda: chat.app.screen.query_one("#edit-verdict").display)
        assert chat.app.screen.query_one("#edit-overrefuse", Choice).value == "yes"
        chat.app.screen.query_one("#edit-harm", Choice).value = "harmful"
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: "label says harmful" in screen_text(chat.pilot))
        chat.app.screen.query_one("#edit-harm", Choice).value = "benign"
        chat.app.screen.query_one("#edit-feedback", TextArea).text = "Name the command."
        chat.app.screen.query_one("#edit-file", Input).value = "mine.jsonl"
        await chat.pilot.press("ctrl+s")
        await chat.until(lambda: not isinstance(chat.app.screen, EditTurn))
    line = json.loads((workspace.data / "mine.jsonl").read_text())
    assert (line["harm"], line["refused"], line["overrefuse"]) == ("benign", True, True)
    assert (line["reply"], line["feedback"]) == ("I can't help.", "Name the command.")


@pytest.mark.parametrize("ending", [".md", ".jsonl", ".svg"])
async def test_a_chat_is_written_into_a_file(
    run: Run, server: PacedServer, workspace: Workspace, ending: str
) -> None:
    hostile = "~~~\n# [b]no[/b] \x1b]52;c;eA==\x07 <script>"
    server.script = lambda model, messages: SAFE if model == "judge" else hostile
    async with run() as chat:
        await chat.ask("first")
        await dialog(chat, "x", ExportTo)
        field = chat.app.screen.query_one(Input)
        path = Path(field.value).with_suffix(ending)
        assert path.parent == workspace.home
        path.write_text("old")
        field.value = str(path)
        await chat.pilot.press("enter")
        await chat.until(lambda: "enter replaces it" in screen_text(chat.pilot))
        assert path.read_text() == "old"
        await chat.pilot.press("enter")
        await chat.until(lambda: path.read_text() != "old")
    text = path.read_text()
    if ending == ".jsonl":
        (line,) = [json.loads(line) for line in text.splitlines()]
        assert (line["prompt"], line["reply"]) == ("first", hostile)
        assert line["rounds"][0]["verdict"]["unsafe"] is False
    else:
        assert "first" in text and "\x1b" not in text and "\x07" not in text
    if ending == ".md":
        assert "~~~~\n~~~\n# [b]no[/b]" in text
    if ending == ".svg":
        assert "Export this chat" not in text and "<script>" not in text


async def test_a_long_chat_is_opened_at_its_end_and_read_to_its_beginning(
    run: Run, workspace: Workspace
) -> None:
    last = 3 * PAGE
    async with await Store.open(workspace) as store:
        row = await store.transcripts.create("safe-7b", "long")
        told: list[Record] = []
        for n in range(last + 1):
            told.append(("prompt", {"text": f"prompt {n}.", "pair": "safe-7b"}))
            told.append(("reply", {"round": 0, "text": f"reply {n}."}))
            told.append(("end", {"seconds": 1.0}))
        await store.transcripts.append(row.id, *told)
    async with run() as chat:
        await chat.screen.saved.reopen(row.id, None)
        await chat.shows(f"prompt {last}.")
        column = chat.screen.column
        assert len(column.side.chat.turns) == PAGE
        await chat.leave_prompt()
        while column.side.chat.before > PAGE:
            top = chat.words.split("prompt ")[1].split(".")[0]
            await chat.pilot.press("pageup")
            await chat.pilot.pause(0.03)
        # What was in view stays in view while more is read above it.
        await chat.shows(f"prompt {int(top) - 1}.")
        await chat.pilot.press("home")
        await chat.shows("prompt 0.")
        assert column.side.chat.before == 0 and column.side.chat.after > 0
        while f"prompt {PAGE}." not in chat.words:
            await chat.pilot.press("pagedown")
            await chat.pilot.pause(0.03)
        await chat.pilot.press("end")
        await chat.shows(f"prompt {last}.")
        assert column.side.chat.after == 0
        # A turn that was found is in view and chosen, wherever in the chat it is.
        opening = (await chat.app.store.transcripts.openings(row.id))[7]
        await chat.screen.saved.reopen(row.id, opening)
        await chat.shows("prompt 7.")
        chosen = chat.screen.view.chosen
        assert chosen is not None and chosen.prompt == "prompt 7."
