"""Workers as real processes: started, killed, found dead, resumed, cancelled, watched."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from waltzrl_tui.errors import EngineError, UsageError
from waltzrl_tui.jobs.control import cancel, reconcile, resume, retry, worker_alive
from waltzrl_tui.jobs.follow import watch
from waltzrl_tui.jobs.launch import launch, log_path
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.workspace import Workspace

JOB = "k3f-conv"
NEW = NewJob(JOB, "train", "conversation", "base", state="queued", total_steps=9)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def exists(process: int) -> bool:
    """Whether there is such a process, be it only a zombie."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


async def until_job(store: Store, condition: Callable[[JobRow], bool], id: str = JOB) -> JobRow:
    async with asyncio.timeout(20):
        version = -1
        while True:
            version = await store.changed(version, interval=0.02)
            job = await store.jobs.get(id)
            if condition(job):
                return job


def pid(folder: Path) -> int:
    (file,) = folder.iterdir()
    return int(file.name)


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waltzrl_tui.jobs.control._GRACE", timedelta(0))


@pytest.fixture
async def running(store: Store, workspace: Workspace, worker_pids: Path) -> int:
    """A job whose worker counts on for ever; its process id."""
    await store.jobs.add_all([NEW])
    await launch(workspace, JOB)
    await until_job(store, lambda job: job.step > 3)
    return pid(worker_pids)


async def test_a_worker_is_alive_from_its_start_and_leaves_nothing_behind(
    store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    await store.jobs.add_all([replace(NEW, params={"steps": 5})])
    assert not worker_alive(workspace, JOB)
    await launch(workspace, JOB)
    assert worker_alive(workspace, JOB)
    await until_job(store, lambda job: job.state == "succeeded")
    await until(lambda: not worker_alive(workspace, JOB))
    number = pid(worker_pids)
    # Nobody waits for it, and still it does not stay as a zombie.
    await until(lambda: not exists(number))
    log = log_path(workspace, JOB)
    assert log.read_text() == f"cwd={workspace.home} policy=PASSIVE sid={number}\nstdin=''\n"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def test_a_worker_outlives_the_session_that_started_it(
    store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    await store.jobs.add_all([NEW])
    program = (
        "import os, sys\n"
        "from waltzrl_tui.jobs import launch\n"
        "from waltzrl_tui.workspace import Workspace\n"
        "launch._WORKER = 'tests.support.processes.pretend_worker'\n"
        "launch.spawn_worker(Workspace.find(sys.argv[1]), sys.argv[2])\n"
        "os.killpg(0, 9)\n"
    )
    command = [sys.executable, "-c", program, str(workspace.home), JOB]
    done = await asyncio.to_thread(subprocess.run, command, start_new_session=True)
    assert done.returncode == -signal.SIGKILL
    before = (await until_job(store, lambda job: job.state == "running")).step
    await until_job(store, lambda job: job.step > before)
    assert worker_alive(workspace, JOB)


async def test_a_killed_worker_is_found_and_its_job_failed(
    running: int, store: Store, workspace: Workspace, no_grace: None
) -> None:
    assert await reconcile(store, workspace) == []
    os.kill(running, signal.SIGKILL)
    await until(lambda: not worker_alive(workspace, JOB))
    async with await Store.open(workspace) as other:
        found = await asyncio.gather(*(reconcile(s, workspace) for s in (store, other) * 3))
    assert sorted(found) == [[], [], [], [], [], [JOB]]
    job = await store.jobs.get(JOB)
    assert (job.state, job.eta_seconds) == ("failed", None)
    assert job.error == (
        "The worker process ended unexpectedly (killed, or the machine restarted). "
        f"Resume it to continue from step {job.step}."
    )
    assert job.ended_at is not None
    assert [event.level for event in await store.jobs.events(JOB)] == ["error"]


async def test_a_killed_job_is_resumed_to_its_end(
    running: int, store: Store, workspace: Workspace, worker_pids: Path, no_grace: None
) -> None:
    with pytest.raises(UsageError, match=r"its worker is alive.*jobs cancel"):
        await resume(store, workspace, JOB)
    os.kill(running, signal.SIGKILL)
    await until(lambda: not worker_alive(workspace, JOB))
    await reconcile(store, workspace)
    reached = (await store.jobs.get(JOB)).step
    await store.jobs.update(JOB, params={"steps": reached + 4})
    (job,) = await resume(store, workspace, JOB)
    assert (job.error, job.ended_at) == ("", None)
    updates = [update async for update in watch(store, [JOB], workspace=workspace, interval=0.02)]
    assert updates[-1].job.state == "succeeded"
    said = [event.text for update in updates for event in update.events]
    assert said[-2:] == [f"resumed from step {reached} (or its last checkpoint before)", "done"]
    steps = [row.step for update in updates for row in update.metrics]
    assert set(steps) == set(range(1, reached + 5))
    assert [row.step for row in await store.jobs.metrics(JOB)] == list(range(1, reached + 5))
    with pytest.raises(UsageError, match=r"has succeeded.*jobs retry"):
        await resume(store, workspace, JOB)


async def test_a_dead_job_nobody_has_noticed_yet_can_be_resumed(
    running: int, store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    os.kill(running, signal.SIGKILL)
    await until(lambda: not worker_alive(workspace, JOB))
    reached = (await store.jobs.get(JOB)).step
    await resume(store, workspace, JOB)
    await until_job(store, lambda job: job.step > reached)


async def test_of_several_that_resume_one_starts_a_worker(
    running: int, store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    os.kill(running, signal.SIGKILL)
    await until(lambda: not worker_alive(workspace, JOB))
    async with await Store.open(workspace) as other:
        done = await asyncio.gather(
            *(resume(s, workspace, JOB) for s in (store, other)), return_exceptions=True
        )
    assert [type(result) for result in done if not isinstance(result, list)] == [UsageError]
    reached = (await store.jobs.get(JOB)).step
    await until_job(store, lambda job: job.step > reached)
    assert len(list(worker_pids.iterdir())) == 2


async def test_watching_ends_when_the_worker_is_killed(
    running: int, store: Store, workspace: Workspace, no_grace: None
) -> None:
    seen: list[str] = []
    async with asyncio.timeout(20):
        async for update in watch(
            store, [JOB], workspace=workspace, interval=0.02, reconcile_every=0.1
        ):
            if not seen:
                os.kill(running, signal.SIGKILL)
            seen.append(update.job.state)
    assert seen[-1] == "failed"


async def test_a_live_worker_cancels_itself_and_can_be_resumed_at_once(
    running: int, store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    job = await cancel(store, workspace, JOB)
    assert job.cancel_requested
    job = await until_job(store, lambda job: job.state == "cancelled")
    # Its process may still be ending.
    await resume(store, workspace, JOB)
    await until_job(store, lambda found: found.step > job.step)


async def test_a_second_worker_is_not_started_beside_a_live_one(
    running: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, worker_pids: Path
) -> None:
    monkeypatch.setattr("waltzrl_tui.jobs.launch._STOPPING_SECONDS", 0.1)
    with pytest.raises(EngineError, match="already running"):
        await launch(workspace, JOB)
    assert len(list(worker_pids.iterdir())) == 1


async def test_a_retry_starts_from_the_beginning(
    store: Store, workspace: Workspace, worker_pids: Path
) -> None:
    await store.jobs.add_all([replace(NEW, state="failed", params={"steps": 2}, step=7)])
    fresh = await retry(store, workspace, JOB)
    assert fresh.id.endswith("-conv") and fresh.id != JOB
    assert (fresh.params, fresh.total_steps) == ({"steps": 2}, 9)
    ended = await until_job(store, lambda job: job.ended, fresh.id)
    assert (ended.state, ended.step) == ("succeeded", 2)
