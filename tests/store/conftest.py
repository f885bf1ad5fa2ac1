from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.find(tmp_path / "home")


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        yield opened
