"""A launch through Mistral's gate: priced, agreed to, started once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.emulators.core import Fault, on
from tests.support.emulators.mistral import MistralEmulator
from tests.support.remote import Lab
from waltzrl_tui.providers.mistral import provider as module
from waltzrl_tui.providers.mistral.provider import Mistral
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.remote.control import approve
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

pytest.importorskip("mistralai.client.fine_tuning_jobs", reason="needs mistralai<2.5.2")


class MistralLab(Lab):
    """The lab with Mistral in place of the example's service."""

    def providers(self) -> Providers:
        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            return Mistral(ProviderContext(lambda _: self.acme.key, url, workspace.cache))

        return Providers(self.workspace, opener=opener)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[MistralEmulator]:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.02)
    with MistralEmulator(speed=300.0) as emulator:
        yield emulator


async def test_nothing_starts_above_the_agreed_price_and_then_once(
    store: Store, workspace: Workspace, there: Any
) -> None:
    lab = MistralLab(store, workspace, there)
    await lab.launch("abc-conv", agreed_usd=1.0)
    async with lab.supervising():
        job = await lab.until("abc-conv", "draft")
        assert "asks $4.00, more than the $1.00 accepted" in job.reason
        assert there.count("POST", "/start") == 0
        there.fail(Fault(on("POST", "/start"), after=True, drop=True))
        await approve(store, "abc-conv")
        job = await lab.until("abc-conv", "succeeded")
    assert list(there.jobs) == [job.provider_job_id]
    assert there.count("POST", "/start") == 1
    assert job.cost_usd == job.estimate_usd
    assert [each.step for each in await store.jobs.metrics("abc-conv")] == list(range(4, 41, 4))
