"""Remote jobs: created once whatever happens, watched to their end, and what they leave."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.support.clocks import Clocked, Clocks, until, watched
from tests.support.emulators.acme import AcmeEmulator
from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.remote import Lab
from waltzrl_tui.remote import supervise
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


async def test_both_agents_are_trained_and_become_a_pair(lab: Lab) -> None:
    await lab.launch("abc-conv", "abc-feed")
    async with lab.supervising():
        for name in ("abc-conv", "abc-feed"):
            await lab.until(name, "succeeded")
        async with asyncio.timeout(10):
            while not await lab.store.agents.pairs():
                await asyncio.sleep(0.05)
    pair = (await lab.store.agents.pairs())[0]
    assert (pair.name, pair.conversation, pair.feedback) == (
        "starter",
        "starter-conversation",
        "starter-feedback",
    )
    assert len(lab.acme.jobs) == 2
    metrics = await lab.store.jobs.metrics("abc-conv")
    assert [each.step for each in metrics] == list(range(1, 61))
    job = await lab.store.jobs.get("abc-conv")
    assert job.cost_usd == 0.6
    assert "acme-key" not in str(await lab.store.jobs.events("abc-conv", limit=-1))


async def test_a_file_that_the_provider_has_is_not_sent_again(lab: Lab) -> None:
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "queued", "running", "succeeded")
        await lab.launch("abd-conv")
        await lab.until("abd-conv", "queued", "running", "succeeded")
    assert lab.acme.count("PUT", "/files/") == 1


async def test_a_create_whose_answer_was_lost_is_found_and_not_repeated(lab: Lab) -> None:
    lab.acme.fail(Fault(on("POST", "/jobs"), after=True, drop=True))
    await lab.launch("abc-conv")
    async with lab.supervising():
        job = await lab.until("abc-conv", "queued", "running", "succeeded")
    assert job.provider_job_id == "job-1"
    assert len(lab.acme.jobs) == 1


async def test_a_create_that_never_arrived_is_sent_again_once_that_is_sure(lab: Lab) -> None:
    lab.acme.fail(Fault(on("POST", "/jobs"), drop=True))
    await lab.launch("abc-conv")
    async with lab.supervising(settle_seconds=1.0):
        await lab.until("abc-conv", "queued", "running", "succeeded")
    assert len(lab.acme.jobs) == 1
    assert lab.acme.count("POST", "/jobs") == 2


async def test_a_limit_on_concurrent_jobs_makes_the_next_wait_its_turn(
    lab: Lab, monkeypatch: object
) -> None:
    from waltzrl_tui.remote import submit

    lab.acme.limit = 1
    monkeypatch.setattr(submit, "_WAIT_SECONDS", 0.3)  # type: ignore[attr-defined]
    await lab.launch("abc-conv", "abc-feed")
    async with lab.supervising():
        for name in ("abc-conv", "abc-feed"):
            await lab.until(name, "succeeded")
    assert len(lab.acme.jobs) == 2
    events = await lab.store.jobs.events("abc-feed", limit=-1)
    assert not any(event.level == "error" for event in events)


async def test_a_trial_that_is_used_up_stops_with_the_providers_words(lab: Lab) -> None:
    lab.acme.trial = 0
    await lab.launch("abc-conv")
    async with lab.supervising():
        job = await lab.until("abc-conv", "failed")
    assert "Add a payment method" in job.error
    assert lab.acme.count("POST", "/jobs") == 1


async def test_a_state_that_the_provider_invents_is_shown_and_polled_on(lab: Lab) -> None:
    lab.acme.speed = 4.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "running")
        lab.acme.jobs["job-1"].word = "\x1b[31mrethinking"
        async with asyncio.timeout(20):
            while "rethinking" not in (job := await lab.store.jobs.get("abc-conv")).reason:
                await asyncio.sleep(0.05)
        assert job.state == "running"
        assert "\x1b" not in job.reason + job.provider_state
        lab.acme.jobs["job-1"].word = "done"
        await lab.until("abc-conv", "succeeded", seconds=60)


async def test_a_job_that_the_provider_deleted_fails_and_says_so(lab: Lab) -> None:
    lab.acme.speed = 4.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "running")
        del lab.acme.jobs["job-1"]
        job = await lab.until("abc-conv", "failed", seconds=30)
    assert "deleted" in job.error


async def test_a_provider_that_is_down_is_asked_ever_more_rarely(
    store: Store, workspace: Workspace, acme: AcmeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_TICK_SECONDS", 0.01)
    clocks = Clocks(speed=60.0)
    lab = Clocked(store, workspace, acme, clocks)
    await watched(store, acme, 1)
    tries: list[float] = []

    def down(request: Request) -> bool:
        tries.append(clocks.steady())
        return True

    acme.fail(Fault(down, Answer(503, {"error": "down"}), times=1000))
    async with lab.supervising():
        await until(lambda: len(tries) >= 7)
        assert (await store.jobs.get("w0000-conv")).state == "running"
    pauses = [later - earlier for earlier, later in pairwise(tries)]
    # Twice as long after each failure, give or take a fifth.
    assert all(pause >= 0.8 * 2.0**n for n, pause in enumerate(pauses[:6], 1)), pauses


async def test_cancelling_a_running_job_stops_it_there(lab: Lab) -> None:
    lab.acme.speed = 4.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "running")
        await lab.store.jobs.request_cancel("abc-conv")
        await lab.until("abc-conv", "cancelled", seconds=30)
    assert lab.acme.jobs["job-1"].word == "stopped"
