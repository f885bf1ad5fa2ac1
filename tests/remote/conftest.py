"""A store, a supervisor and a service on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.clocks import Up
from tests.support.emulators.acme import AcmeEmulator
from tests.support.emulators.together import TogetherEmulator
from tests.support.remote import Lab
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


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherEmulator]:
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
        yield there


@pytest.fixture
async def up(store: Store, workspace: Workspace, together: TogetherEmulator) -> AsyncIterator[Up]:
    made = Up(store, workspace, together)
    await store.agents.add(
        "tuned", role="conversation", kind="hosted", base="acct/m", url="provider:together"
    )
    await made.deployments.bring_up(await store.agents.get("tuned"), usd_per_hour=3.99)
    made.made.word = "READY"
    await made.deployments.tend()
    yield made
    await made.providers.close()
