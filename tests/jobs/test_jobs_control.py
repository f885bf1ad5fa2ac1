"""What is resumed with what, and what is refused; no process is started here."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from waltzrl_tui.errors import EngineError, NotFoundError, UsageError
from waltzrl_tui.jobs.control import cancel, reconcile, resume, retry
from waltzrl_tui.jobs.follow import watch
from waltzrl_tui.jobs.launch import lock_path
from waltzrl_tui.jobs.locks import hold
from waltzrl_tui.records.jobs import JobState
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.workspace import Workspace

PREP = NewJob("k3f-prep", "rollouts", "both", "base", state="failed")
CONV = NewJob("k3f-conv", "train", "conversation", "base", state="failed", depends_on=(PREP.id,))
FEED = NewJob("k3f-feed", "train", "feedback", "base", state="failed", depends_on=(PREP.id,))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose worker would have been started."""
    jobs: list[str] = []

    async def launch(workspace: Workspace, job_id: str) -> None:
        jobs.append(job_id)

    monkeypatch.setattr("waltzrl_tui.jobs.control.launch", launch)
    return jobs


async def states(store: Store) -> dict[str, str]:
    return {job.id: job.state for job in await store.jobs.list()}


async def test_what_it_needs_and_what_failed_with_it_is_resumed_too(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    await store.jobs.add_all([CONV, PREP, FEED])
    resumed = await resume(store, workspace, CONV.id)
    assert [job.id for job in resumed] == started
    assert started[0] == PREP.id
    assert set(started) == {PREP.id, CONV.id, FEED.id}
    assert {job.state for job in resumed} == {"queued"}


async def test_what_failed_or_ended_for_its_own_reasons_is_left_alone(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    await store.jobs.add_all(
        [PREP, replace(CONV, state="queued"), replace(FEED, state="cancelled")]
    )
    await store.jobs.move(CONV.id, "running")
    await store.jobs.move(CONV.id, "failed", error="the disk is full")
    await resume(store, workspace, PREP.id)
    assert started == [PREP.id]
    assert await states(store) == {
        PREP.id: "queued",
        CONV.id: "failed",
        FEED.id: "cancelled",
    }


async def test_one_that_failed_while_running_but_names_the_cause_goes_along(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    await store.jobs.add_all([PREP, replace(CONV, state="queued")])
    await store.jobs.move(CONV.id, "running")
    await store.jobs.move(CONV.id, "failed", error=f"It needs {PREP.id}, which failed.")
    await resume(store, workspace, PREP.id)
    assert started == [PREP.id, CONV.id]


async def test_a_need_that_is_met_or_on_its_way_is_not_started_again(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    other = replace(PREP, id="abc-prep", state="running")
    await store.jobs.add_all(
        [
            replace(PREP, state="succeeded"),
            other,
            replace(CONV, depends_on=(PREP.id, other.id)),
        ]
    )
    with hold(lock_path(workspace, other.id)):
        await resume(store, workspace, CONV.id)
    assert started == [CONV.id]


async def test_a_resumed_job_is_as_good_as_new(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    await store.jobs.add_all([replace(PREP, state="queued", step=12)])
    await store.jobs.update(PREP.id, cancel_requested=True)
    await store.jobs.move(PREP.id, "cancelled", error="x")
    (job,) = await resume(store, workspace, PREP.id)
    assert (job.error, job.cancel_requested, job.ended_at, job.step) == ("", False, None, 12)
    assert [event.text for event in await store.jobs.events(PREP.id)] == [
        "resumed from step 12 (or its last checkpoint before)"
    ]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (replace(PREP, state="succeeded"), "nothing to resume"),
        (replace(PREP, state="draft"), "not been launched"),
        (replace(PREP, provider="together"), "together's"),
    ],
)
async def test_what_cannot_be_resumed(
    store: Store, workspace: Workspace, started: list[str], job: NewJob, said: str
) -> None:
    await store.jobs.add_all([job])
    with pytest.raises(UsageError, match=said):
        await resume(store, workspace, job.id)
    assert started == []


async def test_a_worker_that_cannot_be_started_leaves_its_job_failed(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    async def launch(workspace: Workspace, job_id: str) -> None:
        tried.append(job_id)
        if job_id == PREP.id:
            raise EngineError("no memory")

    monkeypatch.setattr("waltzrl_tui.jobs.control.launch", launch)
    await store.jobs.add_all([PREP, CONV])
    with pytest.raises(EngineError, match="no memory"):
        await resume(store, workspace, CONV.id)
    assert tried == [PREP.id, CONV.id]
    job = await store.jobs.get(PREP.id)
    assert (job.state, job.error) == ("failed", "no memory")


@pytest.mark.parametrize("state", ["draft", "queued", "running"])
async def test_a_job_without_a_worker_is_cancelled_at_once(
    store: Store, workspace: Workspace, state: JobState
) -> None:
    await store.jobs.add_all([replace(PREP, state=state)])
    assert (await cancel(store, workspace, PREP.id)).state == "cancelled"
    with pytest.raises(UsageError, match="has already been cancelled"):
        await cancel(store, workspace, PREP.id)


async def test_a_job_with_a_worker_or_elsewhere_is_only_asked(
    store: Store, workspace: Workspace
) -> None:
    away = replace(CONV, state="running", provider="together", depends_on=())
    await store.jobs.add_all([replace(PREP, state="running"), away])
    with hold(lock_path(workspace, PREP.id)):
        for id in (PREP.id, away.id):
            job = await cancel(store, workspace, id)
            assert (job.state, job.cancel_requested) == ("running", True)


async def test_only_launched_embedded_jobs_that_were_silent_are_found_dead(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[NewJob] = [
        replace(PREP, id=state, state=state)
        for state in ("draft", "approved", "queued", "running", "succeeded", "cancelled")
    ]
    jobs += [replace(PREP, id="away", state="running", provider="together")]
    jobs += [replace(PREP, id="asked", state="running", cancel_requested=True)]
    await store.jobs.add_all(jobs)
    assert await reconcile(store, workspace) == []
    # A clock that was set back must not keep a dead job alive.
    monkeypatch.setattr("waltzrl_tui.store.job_rows.now", lambda: "2999-01-01T00:00:00.000Z")
    await store.jobs.add_all([replace(PREP, id="future", state="queued")])
    assert await reconcile(store, workspace) == ["future"]
    monkeypatch.setattr("waltzrl_tui.jobs.control.stamp", lambda moment: "2998-01-01T00:00:00.000Z")
    assert sorted(await reconcile(store, workspace)) == ["asked", "queued", "running"]
    assert (await states(store)) | {"asked": ""} == {
        "draft": "draft",
        "approved": "approved",
        "queued": "failed",
        "running": "failed",
        "succeeded": "succeeded",
        "cancelled": "cancelled",
        "away": "running",
        "asked": "",
        "future": "failed",
    }
    assert (await store.jobs.get("asked")).state == "cancelled"


async def test_a_job_resumed_while_it_is_looked_at_is_not_failed(
    store: Store, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.jobs.add_all([replace(PREP, state="queued")])

    def looked_at(workspace: Workspace, job_id: str) -> bool:
        with contextlib.closing(sqlite3.connect(workspace.store_path)) as another_process:
            another_process.execute("UPDATE jobs SET updated_at = '2999-01-01T00:00:00.000Z'")
            another_process.commit()
        return False

    monkeypatch.setattr("waltzrl_tui.jobs.control._GRACE", timedelta(0))
    monkeypatch.setattr("waltzrl_tui.jobs.control.worker_alive", looked_at)
    await asyncio.sleep(0.01)
    assert await reconcile(store, workspace) == []
    assert await states(store) == {PREP.id: "queued"}


async def test_a_retry_is_refused_where_it_could_only_fail(
    store: Store, workspace: Workspace, started: list[str]
) -> None:
    await store.jobs.add_all([PREP, CONV, replace(FEED, state="queued")])
    with pytest.raises(UsageError, match=r"needs k3f-prep, which has failed.*resume k3f-prep"):
        await retry(store, workspace, CONV.id)
    with pytest.raises(UsageError, match="has not ended"):
        await retry(store, workspace, FEED.id)
    assert started == []
    fresh = await retry(store, workspace, PREP.id)
    assert started == [fresh.id]


async def test_watching_tells_each_change_once_and_ends(store: Store) -> None:
    await store.jobs.add_all([replace(PREP, state="queued"), replace(CONV, state="queued")])
    async with store.transaction():
        for number in range(1200):
            await store.jobs.event(PREP.id, str(number))
    seen: list[tuple[str, str, int]] = []
    async with asyncio.timeout(60):
        async for update in watch(store, [PREP.id, CONV.id]):
            seen.append((update.job.id, update.job.state, len(update.events)))
            if len(seen) == 2:
                await store.jobs.move(PREP.id, "succeeded")
            if len(seen) == 3:
                async with store.transaction():
                    await store.jobs.event(CONV.id, "last word")
                    await store.jobs.move(CONV.id, "failed")
    assert seen == [
        (PREP.id, "queued", 1200),
        (CONV.id, "queued", 0),
        (PREP.id, "succeeded", 0),
        (CONV.id, "failed", 1),
    ]


async def test_watching_what_is_not_there(store: Store) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        async for _ in watch(store, ["gone"]):
            pass
