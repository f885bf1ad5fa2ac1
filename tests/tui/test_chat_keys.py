"""Every key that the footer and the help offer does something, in each state of the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from textual.screen import ModalScreen

from tests.support.chat import KEY, SAFE, TIMID, Chat, Running, add_pair
from tests.support.servers.paced import PacedServer
from waltzrl_tui.tui.shell.keys import section
from waltzrl_tui.workspace import Workspace


@pytest.fixture
async def server() -> AsyncIterator[PacedServer]:
    made = PacedServer()
    made.script = lambda model, messages: (
        (TIMID if "a draft" in messages[-1]["content"] else SAFE)
        if model == "judge"
        else ("a draft" if len(messages) == 2 else "a reply")
    )
    await made.start()
    yield made
    made.go.set()
    await made.stop()


@pytest.fixture
async def running(tmp_path: Path, server: PacedServer, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setenv(KEY, "sk-secret")
    made = Workspace(tmp_path / "home")
    await add_pair(made, "safe-7b", server.url, "talk", "judge")
    await add_pair(made, "bold-7b", server.url, "talk", "judge")
    made.data.mkdir(exist_ok=True)
    (made.data / "prompts.jsonl").write_text('{"prompt": "From a file?", "harm": "benign"}\n' * 3)
    # Else the second column would take the base, whose weights are real.
    return Running(made, (100, 30), vs="safe-7b")


def works(chat: Chat) -> dict[str, str]:
    """The keys of the table that work now, with what they do."""
    active = chat.screen.active_bindings
    return {
        key.first: key.action
        for key in section("chat")
        if (bound := active.get(key.first)) is not None
        and bound.enabled
        and bound.binding.action == key.action
    }


async def press_all(chat: Chat, skip: set[str]) -> set[str]:
    """Press each key that works, come back from what it opened, and tell what was pressed."""
    done: set[str] = set()
    while left := [key for key, action in works(chat).items() if action not in done | skip]:
        key = left[0]
        done.add(works(chat)[key])
        await chat.pilot.press(key)
        await chat.pilot.pause(0.1)
        while isinstance(chat.app.screen, ModalScreen):
            await chat.pilot.press("escape")
            await chat.pilot.pause(0.05)
        await chat.until(lambda: not chat.streaming)
        if chat.app.focused is chat.screen.field:
            await chat.leave_prompt()
        bad = [note.message for note in chat.app._notifications if note.severity == "error"]
        assert not bad, f"{key}: {bad}"
    return done


async def test_each_key_does_what_it_says_and_none_breaks(running: Running) -> None:
    async with running as chat:
        await chat.leave_prompt()
        await chat.pilot.press("s")
        assert not chat.screen.model.beside
        await chat.ask("Hello")
        await chat.leave_prompt()
        # Those that leave the chat come last.
        last = {"new", "branch", "beside", "write"}
        pressed = await press_all(chat, last)
        pressed |= await press_all(chat, pressed)
        if not chat.screen.model.beside:
            await chat.pilot.press("s")
        if chat.screen.model.match.blind:
            await chat.pilot.press("b")
        await chat.pilot.press("i")
        await chat.ask("Hello again")
        assert works(chat).keys() >= {"left", "right", "t", "z", "tab", "b", "w", "p"}
        pressed |= await press_all(chat, {"beside", "write", "new", "blind"})
        await chat.screen.open_queue(chat.app.workspace.data / "prompts.jsonl")
        await chat.until(lambda: not chat.streaming)
        assert works(chat)["space"] == "next"
        assert works(chat)["n"] == "new"
        await chat.pilot.press("space", "b", "n")
        pressed |= {"next", "blind", "new"}
        everything = {key.action for key in section("chat")}
        rest = everything - pressed - {"stop", "send", "new_line", "leave", "write", "again"}
        assert rest == set(), "tested elsewhere, or unreachable"
