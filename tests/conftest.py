"""What every test gets: a workspace of its own, and nothing of the user's."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.workspace import Workspace

# Converted weights are made once a checkout, not once a test.
_CACHE = Path(__file__).resolve().parent.parent / "state" / "cache"


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WALTZRL_CACHE", os.environ.get("WALTZRL_CACHE") or str(_CACHE))
    monkeypatch.setenv("WALTZRL_SLOTS", str(tmp_path / "slots"))
    monkeypatch.setenv("WALTZRL_APPROVALS", str(tmp_path / "approvals.json"))
    monkeypatch.delenv("WALTZRL_HOME", raising=False)
    monkeypatch.setattr("waltzrl_tui.workspace._current", Workspace(tmp_path / "home"))
    monkeypatch.delenv("SSH_CONNECTION", raising=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "home")
    made.prepare()
    return made


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    server = ChatServer()
    await server.start()
    yield server
    await server.stop()
