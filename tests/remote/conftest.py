"""A store, a supervisor and a service on loopback."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "emulators"))
sys.path.append(str(Path(__file__).parents[1] / "providers"))

from emulate_acme import AcmeEmulator
from remote_lab import Lab

from waltzrl_tui.remote import supervise
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


@pytest.fixture
def acme() -> Iterator[AcmeEmulator]:
    with AcmeEmulator(speed=60.0) as there:
        yield there


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _acme_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "provider_names", lambda: ["acme"])


@pytest.fixture
def lab(store: Store, workspace: Workspace, acme: AcmeEmulator) -> Lab:
    return Lab(store, workspace, acme)
