from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.evaluation import Lab
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.local.live import Engines
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


@pytest.fixture
async def lab(workspace: Workspace, chat_server: ChatServer, tmp_path: Path) -> AsyncIterator[Lab]:
    engines = Engines(workspace, bulk=True)
    async with await Store.open(workspace) as store:
        yield Lab(workspace, store, engines, chat_server, tmp_path / "suite.jsonl")
        await engines.close()
