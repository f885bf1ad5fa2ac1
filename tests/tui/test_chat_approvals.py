"""Chat asks before a key goes to a server that the user has not approved."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.chat import KEY, Running, add_pair
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.approvals import approvals_path, origin_of
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.workspace import Workspace


async def test_a_key_goes_to_a_new_server_only_after_a_yes(
    tmp_path: Path, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, "sk-mine")
    workspace = Workspace(tmp_path / "home")
    await add_pair(workspace, "bait", chat_server.url, "talk")
    # As on the machine of somebody who was sent this workspace.
    approvals_path().unlink()
    async with Running(workspace, (120, 40)) as chat:
        assert chat.left.side.pairs.choose("bait")
        chat.screen.field.text = "Hello"
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
        question = chat.app.screen
        assert isinstance(question, ConfirmScreen)
        assert f"{KEY} to {origin_of(chat_server.url)}" in question._text
        await chat.pilot.press("enter")
        assert isinstance(chat.app.screen, ConfirmScreen)
        await chat.pilot.press("escape")
        assert (chat_server.keys, chat.screen.field.text) == ([], "Hello")
        await chat.pilot.press("enter")
        await chat.until(lambda: isinstance(chat.app.screen, ConfirmScreen))
        await chat.pilot.press("y")
        await chat.until(lambda: chat.left.side.last is not None and not chat.streaming)
        assert chat_server.keys == ["sk-mine"]
