"""A laptop that sleeps for a night: jobs are asked about at once, what is idle is taken down."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Self

import pytest

from tests.support.clocks import Clocked, Clocks, Up, set_read_only, until, watched
from tests.support.emulators.acme import AcmeEmulator
from tests.support.emulators.core import Answer, Fault
from waltzrl_tui.remote import deploy, supervise
from waltzrl_tui.remote.deploy import cost_usd, tend_for_ever
from waltzrl_tui.remote.provider_pool import Health
from waltzrl_tui.remote.sleep_detection import Sleeps
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

NIGHT = 8 * 3600.0


async def test_after_a_sleep_jobs_are_asked_about_at_once(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = Clocks()
    lab = Clocked(store, workspace, acme, clocks)
    acme.speed = 1.0
    await watched(store, acme, 1)
    down = acme.fail(Fault(lambda _: True, Answer(503, {}, {"Retry-After": "3600"}), times=10**6))
    async with lab.supervising():
        await until(lambda: not lab.pool.health("acme", acme.url).admits(clocks.steady()))
        before = lab.asked
        down.times = 0
        acme.jobs["job-0"].word = "done"
        clocks.asleep += NIGHT  # the steady clock has stood still
        await lab.until("w0000-conv", "succeeded")
        assert lab.asked == before + 1


async def test_a_question_that_slept_on_a_dead_connection_is_asked_anew(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = Clocks()
    lab = Clocked(store, workspace, acme, clocks)
    await watched(store, acme, 1)
    lab.dead = True
    async with lab.supervising():
        await until(lambda: lab.asked == 1)
        lab.dead = False
        acme.jobs["job-0"].word = "done"
        clocks.asleep += NIGHT
        await lab.until("w0000-conv", "succeeded")


@pytest.mark.parametrize("suspended", [True, False], ids=["laptop closed", "process stopped"])
async def test_waking_up_to_many_jobs_fires_no_storm(
    store: Store,
    workspace: Workspace,
    acme: AcmeEmulator,
    monkeypatch: pytest.MonkeyPatch,
    suspended: bool,
) -> None:
    """400 jobs share four requests a second: 10 s after waking about 40 have been asked about."""
    clocks = Clocks(frozen=True)
    lab = Clocked(store, workspace, acme, clocks)
    await watched(store, acme, 400)
    stopped = [0.0]
    monkeypatch.setattr(
        supervise,
        "Sleeps",
        lambda wall: Sleeps(wall, lambda: time.monotonic() + stopped[0]),
    )
    async with lab.supervising() as supervisor:
        await until(lambda: len(supervisor._due) == 400)
        assert lab.asked <= 5
        before = dict(supervisor._due)
        clocks.asleep += NIGHT
        if not suspended:  # both clocks went on: all that was to come one by one is due now
            stopped[0] += NIGHT
            clocks.ahead += NIGHT
        # It noticed: each job has another time to be asked about.
        await until(
            lambda: len(supervisor._due) == 400 and not before.items() & supervisor._due.items()
        )
        clocks.ahead += 10.0
        # All that was due by now has been asked about.
        await until(
            lambda: not supervisor._busy and min(supervisor._due.values()) > clocks.steady()
        )
        assert 15 <= lab.asked <= 80


def test_a_retry_after_that_is_longer_than_the_sleep_is_kept_to() -> None:
    health = Health()
    health.failed("wait", at=0.0, retry_after=3600.0)
    health.slept(1800.0)
    assert not health.admits(0.0)
    health.slept(NIGHT)
    assert health.admits(0.0)


def _later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The wall clock of deployments is so much ahead from now on."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=seconds)

    monkeypatch.setattr(deploy, "datetime", Later)
    monkeypatch.setattr(
        deploy, "now", lambda: Later.now(UTC).isoformat(timespec="milliseconds")[:23] + "Z"
    )


async def test_a_deployment_left_idle_over_a_sleep_is_taken_down_and_billed_for_it(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await up.row()).state == "ready"
    _later(monkeypatch, NIGHT)
    # The network is not there yet when the machine wakes.
    up.there.fail(Fault(lambda _: True, drop=True))
    task = asyncio.create_task(tend_for_ever(up.deployments, every=0.05))
    await until(lambda: up.made.word == "STOPPED")
    async with asyncio.timeout(10):
        while (row := await up.row()).ended_at is None:
            await asyncio.sleep(0.02)
    task.cancel()
    assert "idle for 30 minutes" in row.words
    assert cost_usd(row) == pytest.approx(8 * 3.99, rel=0.01)


async def test_a_deployment_in_a_state_that_we_do_not_know_does_not_stay_up_for_ever(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    up.made.word = "WEDGED"
    await up.deployments.tend()
    assert (await up.row()).ended_at is None
    _later(monkeypatch, NIGHT)
    await up.deployments.tend()
    assert (await up.row()).ended_at is not None
    assert up.made.word == "STOPPED"


async def test_a_store_that_is_read_only_keeps_no_idle_deployment_up(
    up: Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch, NIGHT)
    await set_read_only(up.store, True)
    task = asyncio.create_task(tend_for_ever(up.deployments, every=0.05))
    await until(lambda: up.made.word == "STOPPED")
    await set_read_only(up.store, False)
    async with asyncio.timeout(10):
        while (await up.row()).ended_at is None:
            await asyncio.sleep(0.02)
    task.cancel()
