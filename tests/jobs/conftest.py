from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import waltzrl_tui
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.find(tmp_path / "home")


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        yield opened


@pytest.fixture
def worker_pids(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> Iterator[Path]:
    """Workers are `pretend_worker` in this test; those still alive after it are killed.

    The folder holds one file for each that has started, named by its process id.
    """
    source, root = Path(waltzrl_tui.__file__).parents[1], Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), str(root)]))
    monkeypatch.setattr("waltzrl_tui.jobs.launch._WORKER", "tests.support.processes.pretend_worker")
    folder = workspace.home / "pids"
    folder.mkdir(parents=True)
    yield folder
    for file in folder.iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(file.name), signal.SIGKILL)
