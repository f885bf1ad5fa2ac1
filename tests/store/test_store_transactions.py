"""Transactions among tasks: whole or not at all, and unseen until they are done."""

from __future__ import annotations

import asyncio

import pytest

from waltzrl_tui.errors import NotFoundError, StoreError, UsageError
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

JOB = "k3f-conv"


@pytest.fixture(autouse=True)
async def job(store: Store) -> None:
    await store.jobs.add(JOB, kind="train", role="conversation", model="base")


async def reason(store: Store) -> str:
    return (await store.jobs.get(JOB)).reason


async def test_another_task_never_reads_what_is_not_committed(store: Store) -> None:
    inside, seen = asyncio.Event(), []

    async def reader() -> None:
        await inside.wait()
        seen.append(await reason(store))

    task = asyncio.create_task(reader())
    async with store.transaction():
        await store.jobs.update(JOB, reason="half")
        assert await reason(store) == "half"
        inside.set()
        # The reader had every chance: reads from inside the transaction go through meanwhile.
        for _ in range(20):
            assert await reason(store) == "half"
        assert seen == []
        await store.jobs.update(JOB, reason="whole")
    await task
    assert seen == ["whole"]


async def test_an_error_inside_undoes_all_of_it(store: Store) -> None:
    with pytest.raises(RuntimeError):
        async with store.transaction():
            await store.jobs.update(JOB, reason="half")
            raise RuntimeError
    assert await reason(store) == ""
    await store.jobs.update(JOB, reason="works again")


async def test_a_refused_step_that_is_caught_leaves_the_rest(store: Store) -> None:
    async with store.transaction():
        await store.jobs.update(JOB, reason="kept")
        with pytest.raises(UsageError):
            await store.jobs.add(JOB, kind="train", role="conversation", model="base")
        with pytest.raises(NotFoundError):
            await store.jobs.add(
                "k3f-feed", kind="train", role="feedback", model="base", depends_on=("gone",)
            )
    assert await reason(store) == "kept"
    assert [job.id for job in await store.jobs.list()] == [JOB]


async def test_a_failed_inner_transaction_cannot_be_half_kept(store: Store) -> None:
    with pytest.raises(StoreError, match="none of it was kept"):
        async with store.transaction():
            try:
                async with store.transaction():
                    await store.jobs.update(JOB, reason="inner")
                    raise RuntimeError
            except RuntimeError:
                pass
    assert await reason(store) == ""


async def test_nothing_is_written_after_sqlite_undid_the_transaction(store: Store) -> None:
    with pytest.raises(StoreError, match="none of it was kept"):
        async with store.transaction():
            await store.jobs.update(JOB, reason="first half")
            # As SQLite does by itself when the disk is full.
            await store._database.read(lambda connection: connection.rollback())
            with pytest.raises(StoreError, match="undone"):
                await store.jobs.update(JOB, reason="second half")
    assert await reason(store) == ""


async def test_parts_run_in_other_tasks_belong_to_it(store: Store) -> None:
    async with store.transaction():
        await asyncio.wait_for(store.jobs.update(JOB, reason="a"), 5)
        await asyncio.gather(*(store.jobs.event(JOB, str(number)) for number in range(20)))
    assert {event.text for event in await store.jobs.events(JOB)} == {str(n) for n in range(20)}


async def test_a_task_that_outlives_the_transaction_goes_on_without_it(store: Store) -> None:
    ended = asyncio.Event()

    async def later() -> None:
        await ended.wait()
        await store.jobs.update(JOB, reason="later")

    async with store.transaction():
        task = asyncio.create_task(later())
    ended.set()
    await task
    assert await reason(store) == "later"


@pytest.mark.parametrize("hops", range(12))
async def test_cancelled_anywhere_it_is_whole_or_nothing(
    workspace: Workspace, store: Store, hops: int
) -> None:
    async def writer() -> None:
        async with store.transaction():
            await store.jobs.update(JOB, reason="set")
            await store.jobs.update(JOB, total_steps=7)

    task = asyncio.create_task(writer())
    for _ in range(hops):
        await asyncio.sleep(0.0002)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5), await Store.open(workspace) as other:
        # Another connection can write: nothing was left open.
        await other.jobs.event(JOB, "free")
        found = await other.jobs.get(JOB)
    assert (found.reason, found.total_steps) in {("", 0), ("set", 7)}
    assert await store.jobs.get(JOB) == found


async def test_a_cancelled_write_is_kept_whole_or_not_at_all(store: Store) -> None:
    for number in range(30):
        task = asyncio.create_task(store.jobs.event(JOB, str(number)))
        await asyncio.sleep(0)
        task.cancel()
    async with asyncio.timeout(5):
        await store.jobs.event(JOB, "last")
    assert (await store.jobs.events(JOB))[-1].text == "last"


async def test_changes_are_noticed_own_ones_at_once_and_others_soon(
    workspace: Workspace, store: Store
) -> None:
    version = await store.version()
    assert await store.version() == version
    assert await store.changed(version, timeout=0.05) == version
    waiting = asyncio.create_task(store.changed(version, interval=60))
    await asyncio.sleep(0.02)
    await store.jobs.event(JOB, "own")
    version = await asyncio.wait_for(waiting, 5)
    async with await Store.open(workspace) as other:
        waiting = asyncio.create_task(store.changed(version, interval=0.02))
        await other.jobs.event(JOB, "theirs")
        assert await asyncio.wait_for(waiting, 5) != version


async def test_what_changes_nothing_wakes_nobody(store: Store) -> None:
    version = await store.version()
    assert not await store.jobs.move(JOB, "running", from_states={"queued"})
    with pytest.raises(RuntimeError):
        async with store.transaction():
            await store.jobs.event(JOB, "undone")
            raise RuntimeError
    assert await store.version() == version


async def test_closing_ends_a_wait(workspace: Workspace) -> None:
    store = await Store.open(workspace)
    waiting = asyncio.create_task(store.changed(await store.version(), interval=60))
    await asyncio.sleep(0.02)
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await asyncio.wait_for(waiting, 5)
