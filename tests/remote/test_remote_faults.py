"""Faults around remote jobs that must be survived: keys, two apps, deployments, a locked store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.support.emulators.together import TogetherEmulator
from tests.support.remote import Lab
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.providers.together.provider import Together
from waltzrl_tui.remote import deploy
from waltzrl_tui.remote.adopt import adopt
from waltzrl_tui.remote.deploy import Deployments, cost_usd
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


async def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_key_revoked_mid_run_loses_sight_and_not_the_job(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waltzrl_tui.remote import poll

    monkeypatch.setattr(poll, "_REVOKED", 0.5)
    lab.acme.speed = 4.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "running")
        lab.revoked = "the-old-key-0123456789"
        async with asyncio.timeout(20):
            while "not seen" not in (await lab.store.jobs.get("abc-conv")).reason:
                await asyncio.sleep(0.05)
        assert (await lab.store.jobs.get("abc-conv")).state == "running"
        lab.revoked = ""
        await lab.until("abc-conv", "succeeded", seconds=60)


async def test_two_apps_on_one_workspace_make_each_job_once(lab: Lab) -> None:
    async with await Store.open(lab.workspace) as second_store:
        second = Lab(second_store, lab.workspace, lab.acme)
        async with lab.supervising() as one, second.supervising() as other:
            await lab.launch("abc-conv", "abc-feed")
            for name in ("abc-conv", "abc-feed"):
                await lab.until(name, "queued", "running", "succeeded")
            assert one.working != other.working
        assert len(lab.acme.jobs) == 2


async def test_another_goes_on_when_the_one_that_watched_is_gone(lab: Lab) -> None:
    lab.acme.speed = 4.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "running")
    async with lab.supervising():
        await lab.until("abc-conv", "succeeded", seconds=60)
    steps = [each.step for each in await lab.store.jobs.metrics("abc-conv")]
    assert steps == list(range(1, 61))
    assert len(lab.acme.jobs) == 1


async def test_a_store_that_cannot_be_written_for_a_while_fails_no_job(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    await lab.launch("abc-conv")
    with closing(sqlite3.connect(lab.workspace.store_path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        async with lab.supervising():
            await _until(lambda: "not being watched" in caplog.text)
            other.execute("ROLLBACK")
            await lab.until("abc-conv", "queued", "running", "succeeded", seconds=40)
    assert len(lab.acme.jobs) == 1


async def test_a_job_started_elsewhere_is_adopted_and_becomes_an_agent(lab: Lab) -> None:
    lab.acme.files["f"] = b"{}"
    providers = lab.providers()
    provider: Provider = await providers.get("acme", lab.acme.url)
    await provider._call(  # type: ignore[attr-defined]
        "POST", "/jobs", json={"name": "theirs", "base": "acme-7b", "file": "f", "passes": 1}
    )
    job = await adopt(
        lab.store, providers, "acme", "job-1", "conversation", name="theirs", url=lab.acme.url
    )
    await providers.close()
    async with lab.supervising():
        await lab.until(job.id, "succeeded")
        async with asyncio.timeout(10):
            while not await lab.store.agents.list():
                await asyncio.sleep(0.05)
    agent = (await lab.store.agents.list())[0]
    assert (agent.name, agent.base, agent.kind) == ("theirs", "tuned-job-1", "openai")
    assert len(lab.acme.jobs) == 1


class _Up:
    """A Together project with one finished model, and the deployments of it."""

    def __init__(self, store: Store, workspace: Workspace, there: TogetherEmulator) -> None:
        self.store, self.there = store, there

        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            return Together(ProviderContext(lambda _: there.key, there.url, workspace.cache))

        self.providers = Providers(workspace, opener=opener)
        self.deployments = Deployments(store, self.providers)


@pytest.fixture
async def up(store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
    with TogetherEmulator(speed=600.0) as there:
        made = _Up(store, workspace, there)
        await store.agents.add(
            "tuned", role="conversation", kind="hosted", base="acct/m", url="provider:together"
        )
        yield made
        await made.providers.close()


async def test_a_deployment_is_metered_while_it_is_up_and_taken_down_when_idle(up: _Up) -> None:
    agent = await up.store.agents.get("tuned")
    row = await up.deployments.bring_up(agent, usd_per_hour=3.99, idle_minutes=1.0)
    assert (await up.deployments.bring_up(agent)).tag == row.tag
    assert len(up.there.deployments) == 1
    async with asyncio.timeout(20):
        while row.state != "ready" or not cost_usd(row):
            await up.deployments.tend()
            row = await up.store.deployments.get(row.tag)
    assert row.endpoint.startswith("http://127.0.0.1")
    assert 0 < (cost_usd(row) or 0) < 0.01
    await up.store.deployments.update(row.tag, used_at="2026-01-01T00:00:00.000Z")
    await up.deployments.tend()
    row = await up.store.deployments.get(row.tag)
    assert row.ended_at is not None
    assert "idle" in row.words
    assert up.there.deployments["dep-1"].word == "STOPPED"


async def test_one_that_never_gets_ready_is_taken_down(
    up: _Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deploy, "START_MINUTES", 0.0)
    row = await up.deployments.bring_up(await up.store.agents.get("tuned"))
    up.there.deployments["dep-1"].word = "PROVISIONING"
    await up.deployments.tend()
    assert (await up.store.deployments.get(row.tag)).ended_at is not None
    assert up.there.deployments["dep-1"].word == "STOPPED"


async def test_a_sweep_finds_what_was_left_running(up: _Up, workspace: Workspace) -> None:
    row = await up.deployments.bring_up(await up.store.agents.get("tuned"))
    with closing(sqlite3.connect(workspace.store_path)) as connection:
        connection.execute("DELETE FROM deployments")
        connection.commit()
    found = await up.deployments.sweep(["together"])
    assert [each.tag for each in found] == [row.tag]
    assert [each.tag for each in await up.store.deployments.list(up=True)] == [row.tag]
