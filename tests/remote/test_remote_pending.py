"""A price that the provider cannot tell yet: nothing is created until it can."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.support.acme import Acme
from tests.support.clocks import until
from tests.support.remote import Lab
from waltzrl_tui.providers.protocol import PriceEstimate, TuneRequest
from waltzrl_tui.remote import submit


async def test_nothing_is_created_before_the_price_is_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, asked = asyncio.Event(), 0

    async def estimate(self: Acme, request: TuneRequest) -> PriceEstimate:
        nonlocal asked
        asked += 1
        return PriceEstimate(0.5) if told.is_set() else PriceEstimate(None, pending=True)

    monkeypatch.setattr(Acme, "capabilities", replace(Acme.capabilities, estimates=True))
    monkeypatch.setattr(Acme, "estimate", estimate)
    monkeypatch.setattr(submit, "_PENDING_SECONDS", 0.001)
    monkeypatch.setattr(submit, "_WAIT_SECONDS", 0.1)
    await lab.launch("abc-conv")
    async with lab.supervising():
        await until(lambda: asked > 2 * submit._PENDING_TRIES)  # it gave up, and asked again
        assert lab.acme.jobs == {}
        told.set()
        await lab.until("abc-conv", "queued", "running", "succeeded")
    assert len(lab.acme.jobs) == 1
