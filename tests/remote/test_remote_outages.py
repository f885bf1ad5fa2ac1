"""Long faults around remote jobs: a store that cannot be written, a provider that is gone for a
day, a key that is replaced, answers that come too late."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest

from tests.support.clocks import Clocked, Clocks, set_read_only, until, watched
from tests.support.emulators.acme import AcmeEmulator, AcmeJob
from tests.support.emulators.core import Answer, Emulator, Fault, _Server, on
from tests.support.emulators.together import TogetherEmulator, TogetherJob
from tests.support.remote import Lab
from waltzrl_tui.errors import StoreError
from waltzrl_tui.records.intents import LaunchIntent
from waltzrl_tui.remote import poll, supervise
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.workspace import Workspace

_DAY = 24 * 3600.0


# A store that cannot be written -------------------------------------------------------------------


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
    clocks = Clocks()
    lab = Clocked(lab.store, lab.workspace, lab.acme, clocks)
    await lab.launch("abc-conv", "abc-feed")
    told: list[StoreError] = []
    await set_read_only(lab.store, True)
    async with _told(lab, told):
        await until(lambda: len(told) == 1)
        await clocks.rounds()
        assert lab.acme.requests == []
        await set_read_only(lab.store, False)
        await until(lambda: len(lab.acme.jobs) == 2)
        for job in lab.acme.jobs.values():
            job.word = "working"
        await lab.until("abc-conv", "running")
        await set_read_only(lab.store, True)
        await until(lambda: len(told) == 2)
        asked = len(lab.acme.requests)
        await clocks.rounds()
        assert len(lab.acme.requests) == asked
        assert (await lab.store.jobs.get("abc-conv")).state == "running"
        await set_read_only(lab.store, False)
        for job in lab.acme.jobs.values():
            job.word = "done"
        for name in ("abc-conv", "abc-feed"):
            await lab.until(name, "succeeded")
    assert len(lab.acme.jobs) == 2
    assert len(told) == 2
    assert "is read-only" in told[0].message
    assert "Make the folder and the file writable" in told[0].hint


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
        await store.remote.add([(made, NewRemoteJob("abc-conv", "sft", {}, LaunchIntent()))])
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
    clocks = Clocks(speed=7200.0)
    lab = Clocked(store, workspace, acme, clocks)
    await watched(store, acme, 20)
    with AcmeEmulator() as other:
        other.key = acme.key
        other.jobs["job-other"] = AcmeJob("job-other", "other", "acme-7b", 0.0, 1, word="working")
        made = NewJob(
            "oth-conv", "train", "conversation", "acme-7b", tag="other", provider="acme",
            state="running", provider_job_id="job-other",
        )  # fmt: skip
        await store.remote.add(
            [(made, NewRemoteJob("oth-conv", "sft", {}, LaunchIntent(), other.url))]
        )
        async with lab.supervising():
            names = [f"w{number:04d}-conv" for number in range(20)]
            async with asyncio.timeout(20):
                while not all(each.seen_at for each in (await store.remote.some(names)).values()):
                    await asyncio.sleep(0.02)
            with _gone(acme):
                before, asked, others = clocks.steady(), lab.asked, len(other.requests)
                await until(lambda: clocks.steady() - before >= _DAY, 60)
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
            for name in names:
                ended = await lab.until(name, "succeeded")
                assert ended.reason == ""


async def test_one_blip_that_meets_many_jobs_counts_as_one_failure(
    store: Store, workspace: Workspace, acme: AcmeEmulator
) -> None:
    clocks = Clocks(frozen=True)
    lab = Clocked(store, workspace, acme, clocks)
    await watched(store, acme, 16)
    acme.fail(Fault(lambda _: True, Answer(503, {}), times=4))
    async with lab.supervising() as supervisor:
        await until(lambda: len(supervisor._due) == 16)
        clocks.ahead += 4.0  # all are due
        await until(lambda: lab.asked >= 1 and not supervisor._busy)
        clocks.ahead += 4.0  # the first pause is over; that after four failures takes 13 s
        acme.faults.clear()
        before = lab.asked
        await until(lambda: lab.asked > before)


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
    await store.remote.add([(made, NewRemoteJob("abc-conv", "sft", {}, LaunchIntent()))])
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
                "the job cannot be looked up"
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
        await until(lambda: fault.times == 0)
        await lab.until("abc-conv", "succeeded", seconds=60)
