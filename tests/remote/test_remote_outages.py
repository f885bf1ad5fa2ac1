"""Long faults around remote jobs: a laptop that sleeps, a store that cannot be written, a provider
that is gone for a day, a key that is replaced, answers that come too late."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Self

import pytest
from acme import Acme
from core import Answer, Emulator, Fault, _Server, on
from emulate_acme import AcmeEmulator, AcmeJob
from emulate_together import TogetherDeployment, TogetherEmulator, TogetherJob
from remote_lab import Lab

from waltzrl_tui.errors import StoreError
from waltzrl_tui.providers.protocol import JobSnapshot, Provider, ProviderContext
from waltzrl_tui.remote import deploy, poll, supervise
from waltzrl_tui.remote.deploy import Deployments, cost_usd, tend_for_ever
from waltzrl_tui.remote.pool import Health, Providers
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.remote_rows import DeploymentRow, NewRemoteJob
from waltzrl_tui.workspace import Workspace

_NIGHT = 8 * 3600.0
_DAY = 24 * 3600.0


class _Clocks:
    """A steady and a wall clock that a test sets forward."""

    def __init__(self, *, frozen: bool = False, speed: float = 1.0) -> None:
        self._began, self._frozen, self._speed = time.monotonic(), frozen, speed
        self.ahead = self.asleep = 0.0

    def steady(self) -> float:
        passed = 0.0 if self._frozen else (time.monotonic() - self._began) * self._speed
        return 1000.0 + passed + self.ahead

    def wall(self) -> float:
        return time.time() + self.asleep


class _Clocked(Lab):
    """The lab with clocks of the test's own, and a count of what is asked for at all."""

    def __init__(
        self, store: Store, workspace: Workspace, acme: AcmeEmulator, clocks: _Clocks
    ) -> None:
        super().__init__(store, workspace, acme)
        self.clocks = clocks
        self.asked = 0
        self.dead = False

    def providers(self) -> Providers:
        lab = self

        class Asked(Acme):
            async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
                lab.asked += self.context.url == lab.acme.url
                if lab.dead:  # a connection that slept: no answer, and no end of it
                    await asyncio.Event().wait()
                return await super().fetch(job_id, cursor)

        def opener(name: str, workspace: Workspace, url: str) -> Provider:
            return Asked(ProviderContext(lambda _: self.acme.key, url, workspace.cache))

        return Providers(
            self.workspace, opener=opener, clock=self.clocks.steady, wall=self.clocks.wall
        )


async def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)


async def _watched(store: Store, there: AcmeEmulator, count: int) -> None:
    """So many jobs that run at the provider already."""
    rows = []
    for number in range(count):
        name = f"w{number:04d}-conv"
        job = AcmeJob(f"job-{number}", f"{name}-tag", "acme-7b", there.now(), 1, word="working")
        there.jobs[job.id] = job
        made = NewJob(
            name, "train", "conversation", "acme-7b", tag=job.name, provider="acme",
            state="running", provider_job_id=job.id,
        )  # fmt: skip
        rows.append((made, NewRemoteJob(name, "sft", {}, {"epochs": 1}, there.url)))
    await store.remote.add(rows)


# A laptop that sleeps -----------------------------------------------------------------------------


async def test_after_a_sleep_jobs_are_asked_about_at_once(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = _Clocks()
    lab = _Clocked(store, workspace, acme, clocks)
    acme.speed = 1.0
    await _watched(store, acme, 1)
    down = acme.fail(Fault(lambda _: True, Answer(503, {}, {"Retry-After": "3600"}), times=10**6))
    async with lab.supervising():
        await _until(lambda: lab.asked >= 1)
        before = lab.asked
        down.times = 0
        acme.jobs["job-0"].word = "done"
        clocks.asleep += _NIGHT  # the steady clock has stood still
        await lab.until("w0000-conv", "succeeded")
        assert lab.asked == before + 1


async def test_a_question_that_slept_on_a_dead_connection_is_asked_anew(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = _Clocks()
    lab = _Clocked(store, workspace, acme, clocks)
    await _watched(store, acme, 1)
    lab.dead = True
    async with lab.supervising():
        await _until(lambda: lab.asked == 1)
        lab.dead = False
        acme.jobs["job-0"].word = "done"
        clocks.asleep += _NIGHT
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
    clocks = _Clocks(frozen=True)
    lab = _Clocked(store, workspace, acme, clocks)
    await _watched(store, acme, 400)
    stopped = [0.0]
    monkeypatch.setattr(
        supervise,
        "Sleeps",
        lambda wall: _sleeps(wall, lambda: time.monotonic() + stopped[0]),
    )
    async with lab.supervising() as supervisor:
        await _until(lambda: len(supervisor._due) == 400)
        assert lab.asked <= 5
        clocks.asleep += _NIGHT
        if not suspended:  # both clocks went on: all that was to come one by one is due now
            stopped[0] += _NIGHT
            clocks.ahead += _NIGHT
        await asyncio.sleep(0.6)
        await _until(lambda: len(supervisor._due) == 400)
        clocks.ahead += 10.0
        await _until(lambda: lab.asked >= 15)
        await asyncio.sleep(1.0)
        assert lab.asked <= 80


def _sleeps(wall: Callable[[], float], steady: Callable[[], float]) -> Any:
    from waltzrl_tui.remote.wake import Sleeps

    return Sleeps(wall, steady)


def test_a_retry_after_that_is_longer_than_the_sleep_is_kept_to() -> None:
    health = Health()
    health.failed("wait", at=0.0, retry_after=3600.0)
    health.slept(1800.0)
    assert not health.admits(0.0)
    health.slept(_NIGHT)
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


class _Up:
    """A Together project with one deployment that is ready."""

    def __init__(self, store: Store, workspace: Workspace, there: TogetherEmulator) -> None:
        self.store, self.there = store, there

        self.providers = Providers(workspace)
        self.deployments = Deployments(store, self.providers)

    @property
    def made(self) -> TogetherDeployment:
        return self.there.deployments["dep-1"]

    async def row(self) -> DeploymentRow:
        (row,) = await self.store.deployments.list()
        return row


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherEmulator]:
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
        yield there


@pytest.fixture
async def up(store: Store, workspace: Workspace, together: TogetherEmulator) -> AsyncIterator[_Up]:
    made = _Up(store, workspace, together)
    await store.agents.add(
        "tuned", role="conversation", kind="hosted", base="acct/m", url="provider:together"
    )
    await made.deployments.bring_up(await store.agents.get("tuned"), usd_per_hour=3.99)
    made.made.word = "READY"
    await made.deployments.tend()
    yield made
    await made.providers.close()


async def test_a_deployment_left_idle_over_a_sleep_is_taken_down_and_billed_for_it(
    up: _Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await up.row()).state == "ready"
    _later(monkeypatch, _NIGHT)
    # The network is not there yet when the machine wakes.
    up.there.fail(Fault(lambda _: True, drop=True))
    task = asyncio.create_task(tend_for_ever(up.deployments, every=0.05))
    await _until(lambda: up.made.word == "STOPPED")
    async with asyncio.timeout(10):
        while (row := await up.row()).ended_at is None:
            await asyncio.sleep(0.02)
    task.cancel()
    assert "idle for 30 minutes" in row.words
    assert cost_usd(row) == pytest.approx(8 * 3.99, rel=0.01)


async def test_a_deployment_in_a_state_that_we_do_not_know_does_not_stay_up_for_ever(
    up: _Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    up.made.word = "WEDGED"
    await up.deployments.tend()
    assert (await up.row()).ended_at is None
    _later(monkeypatch, _NIGHT)
    await up.deployments.tend()
    assert (await up.row()).ended_at is not None
    assert up.made.word == "STOPPED"


# A store that cannot be written -------------------------------------------------------------------


async def _set_read_only(store: Store, on: bool) -> None:
    await store._database.read(lambda db: db.execute(f"PRAGMA query_only = {int(on)}").fetchall())


@contextlib.asynccontextmanager
async def _told(lab: Lab, told: list[StoreError]) -> AsyncIterator[None]:
    providers = lab.providers()
    made = Supervisor(lab.store, lab.workspace, providers, trouble=told.append)
    async with supervised(made):
        yield
    await providers.close()


async def test_a_store_that_turns_read_only_stops_launch_and_watch_and_is_told_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_LOOK_SECONDS", 0.1)
    await lab.launch("abc-conv", "abc-feed")
    told: list[StoreError] = []
    await _set_read_only(lab.store, True)
    async with _told(lab, told):
        await _until(lambda: len(told) == 1)
        await asyncio.sleep(1.0)
        assert lab.acme.requests == []
        await _set_read_only(lab.store, False)
        await _until(lambda: len(lab.acme.jobs) == 2)
        for job in lab.acme.jobs.values():
            job.word = "working"
        await lab.until("abc-conv", "running")
        await _set_read_only(lab.store, True)
        await _until(lambda: len(told) == 2)
        asked = len(lab.acme.requests)
        await asyncio.sleep(1.0)
        assert len(lab.acme.requests) == asked
        assert (await lab.store.jobs.get("abc-conv")).state == "running"
        await _set_read_only(lab.store, False)
        for job in lab.acme.jobs.values():
            job.word = "done"
        for name in ("abc-conv", "abc-feed"):
            await lab.until(name, "succeeded")
    assert len(lab.acme.jobs) == 2
    assert len(told) == 2
    assert "is read-only" in told[0].message
    assert "Make the folder and the file writable" in told[0].hint


async def test_a_store_that_is_read_only_keeps_no_idle_deployment_up(
    up: _Up, monkeypatch: pytest.MonkeyPatch
) -> None:
    _later(monkeypatch, _NIGHT)
    await _set_read_only(up.store, True)
    task = asyncio.create_task(tend_for_ever(up.deployments, every=0.05))
    await _until(lambda: up.made.word == "STOPPED")
    await _set_read_only(up.store, False)
    async with asyncio.timeout(10):
        while (await up.row()).ended_at is None:
            await asyncio.sleep(0.02)
    task.cancel()


def _as_anybody() -> None:
    """Root may write everything: its children here may not."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            prctl(24, capability, 0, 0, 0)


def _command(workspace: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "waltzrl_tui", "--home", str(workspace.home), *words],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        preexec_fn=_as_anybody,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="root is kept from writing as Linux does it")
@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_read_only_store_is_told_before_anything_is_made(
    workspace: Workspace, together: TogetherEmulator, what: str
) -> None:
    rows = [
        {"prompt": f"question {n}", "harm": ("harmful", "benign")[n % 2], "reply": f"Answer {n}"}
        for n in range(20)
    ]
    path = workspace.data / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    async with await Store.open(workspace) as store:
        made = NewJob(
            "abc-conv", "train", "conversation", "Qwen/Qwen3-8B", tag="abc-conv-1a2b",
            provider="together", state="queued", provider_job_id="ft-00000001",
        )  # fmt: skip
        await store.remote.add([(made, NewRemoteJob("abc-conv", "sft", {}, {}))])
    closed = workspace.store_path if what == "file" else workspace.state
    mode = closed.stat().st_mode
    closed.chmod(0o400 if what == "file" else 0o500)
    try:
        for words in (
            ("train", str(path), "--provider", "together", "--yes"),
            ("jobs", "watch"),
        ):
            done = await asyncio.to_thread(_command, workspace, *words)
            assert done.returncode == 1, done.stderr
            assert "Traceback" not in done.stderr
            assert "waltzrl.db" in done.stderr or str(workspace.home) in done.stderr
            assert "--home DIR" in done.stderr
    finally:
        closed.chmod(mode)
    assert together.requests == []


# A provider that is gone --------------------------------------------------------------------------


@contextmanager
def _gone(there: Emulator) -> Iterator[None]:
    """Nothing listens at its address meanwhile, and what was connected is cut off."""
    address, handler = there._server.server_address, there._server.RequestHandlerClass
    cut = there.fail(Fault(lambda _: True, drop=True, times=10**9))
    there._server.shutdown()
    there._server.server_close()
    there._thread.join(10)
    yield
    import threading

    cut.times = 0
    there._server = _Server((str(address[0]), int(address[1])), handler)
    there._thread = threading.Thread(target=there._server.serve_forever, daemon=True)
    there._thread.start()


async def test_a_provider_that_is_gone_for_a_day_is_asked_rarely_and_its_jobs_go_on(
    store: Store, workspace: Workspace, acme: AcmeEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_TICK_SECONDS", 0.01)
    clocks = _Clocks(speed=7200.0)
    lab = _Clocked(store, workspace, acme, clocks)
    await _watched(store, acme, 20)
    with AcmeEmulator() as other:
        other.key = acme.key
        other.jobs["job-other"] = AcmeJob("job-other", "other", "acme-7b", 0.0, 1, word="working")
        made = NewJob(
            "oth-conv", "train", "conversation", "acme-7b", tag="other", provider="acme",
            state="running", provider_job_id="job-other",
        )  # fmt: skip
        await store.remote.add([(made, NewRemoteJob("oth-conv", "sft", {}, {}, other.url))])
        async with lab.supervising():
            await _until(lambda: lab.asked >= 20)
            with _gone(acme):
                before, asked, others = clocks.steady(), lab.asked, len(other.requests)
                await _until(lambda: clocks.steady() - before >= _DAY, 60)
                tried = lab.asked - asked
                # Ten minutes between two tries, however many jobs; and it is tried all the time.
                assert 24 <= tried <= 200
                assert len(other.requests) - others >= 24
                jobs = [job for job in await store.jobs.list(limit=-1) if job.id != "oth-conv"]
                assert {job.state for job in jobs} == {"running"}
                assert all(job.reason.startswith("not seen since 20") for job in jobs)
                assert all("Acme cannot be reached" in job.reason for job in jobs)
            for job in acme.jobs.values():
                job.word = "done"
            for number in range(20):
                ended = await lab.until(f"w{number:04d}-conv", "succeeded")
                assert ended.reason == ""


async def test_one_blip_that_meets_many_jobs_counts_as_one_failure(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = _Clocks(frozen=True)
    lab = _Clocked(store, workspace, acme, clocks)
    await _watched(store, acme, 16)
    acme.fail(Fault(lambda _: True, Answer(503, {}), times=4))
    async with lab.supervising() as supervisor:
        await _until(lambda: len(supervisor._due) == 16)
        clocks.ahead += 4.0  # all are due
        await _until(lambda: lab.asked >= 1)
        await asyncio.sleep(0.5)
        clocks.ahead += 4.0  # the first pause is over; that after four failures takes 13 s
        acme.faults.clear()
        before = lab.asked
        await _until(lambda: lab.asked > before)


# Keys and answers ---------------------------------------------------------------------------------


async def test_a_revoked_key_is_named_and_another_one_is_used_once_it_is_set(
    store: Store,
    workspace: Workspace,
    together: TogetherEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervise, "provider_names", lambda: ["together"])
    monkeypatch.setattr(poll, "_REVOKED", 0.5)
    wish = {"model": "Qwen/Qwen3-8B", "training_file": "f", "suffix": "abc-conv-1a2b"}
    together.jobs["ft-1"] = TogetherJob("ft-1", wish, together.now(), word="running")
    made = NewJob(
        "abc-conv", "train", "conversation", "Qwen/Qwen3-8B", tag="abc-conv-1a2b",
        provider="together", state="queued", provider_job_id="ft-1",
    )  # fmt: skip
    await store.remote.add([(made, NewRemoteJob("abc-conv", "sft", {}, {}))])
    lab = Lab(store, workspace, together)  # type: ignore[arg-type]
    providers = Providers(workspace)
    async with supervised(Supervisor(store, workspace, providers)):
        await lab.until("abc-conv", "running")
        together.key = "tgp_v1_another-key-76543"
        async with asyncio.timeout(20):
            while "TOGETHER_API_KEY" not in (job := await store.jobs.get("abc-conv")).reason:
                await asyncio.sleep(0.05)
        assert "not seen since" in job.reason
        assert job.state == "running"
        together.jobs["ft-1"].word = "completed"
        monkeypatch.setenv("TOGETHER_API_KEY", together.key)
        await lab.until("abc-conv", "succeeded")
    await providers.close()


async def test_a_key_revoked_after_a_create_was_lost_does_not_give_the_job_up(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    from waltzrl_tui.remote import submit

    monkeypatch.setattr(submit, "_WAIT_SECONDS", 0.2)
    lost = lab.acme.fail(Fault(on("POST", "/jobs"), after=True, drop=True))
    # Every look for it is refused: the key was revoked at that very moment.
    refused = Fault(
        lambda request: request.path == "/jobs" and lost.times == 0,
        Answer(401, {"error": "this key is not known"}),
        times=10**6,
    )
    lab.acme.fail(refused)
    await lab.launch("abc-conv")
    async with lab.supervising(settle_seconds=0.1):
        async with asyncio.timeout(20):
            while (
                "cannot look for the job"
                not in (job := await lab.store.jobs.get("abc-conv")).reason
            ):
                assert job.state != "failed", job.error
                await asyncio.sleep(0.02)
        assert "ACME_API_KEY" in job.reason
        refused.times = 0
        await lab.until("abc-conv", "queued", "running", "succeeded")
    assert len(lab.acme.jobs) == 1


async def test_a_create_that_hung_longer_than_the_wait_is_still_waited_for(lab: Lab) -> None:
    """As over a sleep: its answer is lost late, and the provider lists the job later still."""
    lost = lab.acme.fail(Fault(on("POST", "/jobs"), after=True, drop=True, stall=4.5))
    lab.acme.fail(
        Fault(
            lambda request: request.method == "GET" and request.path == "/jobs" and not lost.times,
            Answer(200, {"jobs": []}),
            times=1,
        )
    )
    await lab.launch("abc-conv")
    async with lab.supervising(settle_seconds=4.0):
        await lab.until("abc-conv", "queued", "running", "succeeded", seconds=40)
    assert lab.acme.count("POST", "/jobs") == 1
    assert len(lab.acme.jobs) == 1


async def test_a_job_that_is_not_found_just_once_is_not_given_up(lab: Lab) -> None:
    lab.acme.speed = 8.0
    await lab.launch("abc-conv")
    async with lab.supervising():
        await lab.until("abc-conv", "queued", "running")
        fault = lab.acme.fail(Fault(on("GET", "/jobs/"), Answer(404, {"error": "no such job"})))
        await _until(lambda: fault.times == 0)
        await lab.until("abc-conv", "succeeded", seconds=60)
