"""Jobs: compare-and-set, times, names, events, metrics."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.errors import NotFoundError, UsageError
from waltzrl_tui.records.jobs import JobState
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import ENDED, JOB_STATES, NewJob, Store, now
from waltzrl_tui.workspace import Workspace

CONV = NewJob("k3f-conv", "train", "conversation", "base")


def metric(step: int, loss: float = 1.0) -> Metric:
    return Metric(step, {"loss": loss, "memory_bytes": 1 << 40, "eta_seconds": 9.0}, now())


async def test_a_launch_is_written_all_or_nothing(store: Store) -> None:
    feed = NewJob("k3f-feed", "train", "feedback", "base", depends_on=("k3f-prep", CONV.id))
    with pytest.raises(NotFoundError, match="k3f-prep"):
        await store.jobs.add_all([CONV, feed])
    assert await store.jobs.list() == []
    prep = NewJob("k3f-prep", "rollouts", "both", "base", params={"n": [1, {"é": None}]})
    added = await store.jobs.add_all([feed, CONV, prep])
    assert [job.depends_on for job in added] == [("k3f-prep", "k3f-conv"), (), ()]
    assert added[2].params == {"n": [1, {"é": None}]}
    assert {job.tag for job in added} == {"k3f-feed", "k3f-conv", "k3f-prep"}
    assert [job.id for job in await store.jobs.dependants("k3f-prep")] == ["k3f-feed"]
    assert await store.jobs.some(["k3f-prep", "gone", "k3f-feed"]) == [added[2], added[0]]


@pytest.mark.parametrize("job", [CONV, replace(CONV, id="other", tag=CONV.id)])
async def test_ids_and_tags_are_unique(store: Store, job: NewJob) -> None:
    await store.jobs.add_all([CONV])
    with pytest.raises(UsageError, match="already a job"):
        await store.jobs.add_all([job])


@pytest.mark.parametrize("id", ["", "../../etc", "a/b", ".", "-x", "a b", "x" * 90])
async def test_an_id_is_safe_as_a_folder(store: Store, id: str) -> None:
    with pytest.raises(UsageError, match="cannot be the id"):
        await store.jobs.add_all([replace(CONV, id=id)])


async def test_a_missing_job_is_told_with_those_that_look_alike(store: Store) -> None:
    await store.jobs.add_all([CONV, replace(CONV, id="zzz-feed")])
    for asked in ("k3f", "k3f-covn"):
        with pytest.raises(NotFoundError, match=r"Did you mean k3f-conv\?"):
            await store.jobs.get(asked)
    for attempt in (
        store.jobs.update("gone", step=1),
        store.jobs.move("gone", "running"),
        store.jobs.request_cancel("gone"),
        store.jobs.event("gone", "x"),
        store.jobs.metric("gone", metric(1)),
    ):
        with pytest.raises(NotFoundError):
            await attempt


async def test_only_one_of_many_wins_a_move(store: Store) -> None:
    await store.jobs.add_all([replace(CONV, state="queued")])
    moves = (store.jobs.move(CONV.id, "running", from_states={"queued"}) for _ in range(10))
    assert sorted(await asyncio.gather(*moves)) == [False] * 9 + [True]


async def test_an_ended_job_is_not_moved_unless_it_is_asked_for(store: Store) -> None:
    await store.jobs.add_all([replace(CONV, state="failed")])
    assert not await store.jobs.move(CONV.id, "succeeded", error="no")
    assert (await store.jobs.get(CONV.id)).error == ""
    assert await store.jobs.move(CONV.id, "queued", from_states={"failed"})


async def test_a_move_can_demand_that_nothing_else_was_written(store: Store) -> None:
    (job,) = await store.jobs.add_all([CONV])
    await asyncio.sleep(0.002)
    await store.jobs.update(CONV.id, step=1)
    assert not await store.jobs.move(CONV.id, "failed", unchanged_since=job.updated_at)
    fresh = await store.jobs.get(CONV.id)
    assert await store.jobs.move(CONV.id, "failed", unchanged_since=fresh.updated_at)


@settings(max_examples=40, deadline=None)
@given(
    moves=st.lists(
        st.tuples(st.sampled_from(JOB_STATES), st.none() | st.sets(st.sampled_from(JOB_STATES))),
        max_size=12,
    )
)
def test_state_and_times_agree_after_any_moves(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[JobState, set[JobState] | None]]
) -> None:
    async def check() -> None:
        workspace = Workspace.find(tmp_path_factory.mktemp("home"))
        async with await Store.open(workspace) as store:
            (job,) = await store.jobs.add_all([CONV])
            for state, allowed in moves:
                may = set(JOB_STATES) - ENDED if allowed is None else allowed
                moved = await store.jobs.move(CONV.id, state, from_states=allowed)
                assert moved == (job.state in may)
                before, job = job, await store.jobs.get(CONV.id)
                if not moved:
                    assert job == before
                    continue
                assert job.state == state
                assert (job.ended_at is not None) == job.ended == (state in ENDED)
                assert job.started_at is not None or state != "running"
                assert job.updated_at >= before.updated_at

    asyncio.run(check())


async def test_update_takes_only_fields_of_a_job(store: Store) -> None:
    await store.jobs.add_all([CONV])
    await store.jobs.update(CONV.id, cost_usd=1.5, params={"a": 1}, cancel_requested=True)
    job = await store.jobs.get(CONV.id)
    assert (job.cost_usd, job.params, job.cancel_requested) == (1.5, {"a": 1}, True)
    with pytest.raises(TypeError):
        await store.jobs.update(CONV.id, state="failed")  # type: ignore[call-arg]


async def test_a_cancel_request_leaves_an_ended_job_alone(store: Store) -> None:
    await store.jobs.add_all([CONV, replace(CONV, id="old", state="succeeded")])
    await store.jobs.request_cancel(CONV.id)
    await store.jobs.request_cancel("old")
    assert [j.cancel_requested for j in await store.jobs.some([CONV.id, "old"])] == [True, False]


async def test_newest_first_and_by_whether_they_ended(store: Store) -> None:
    states: list[JobState] = ["running", "failed", "queued", "succeeded"]
    await store.jobs.add_all(
        [replace(CONV, id=f"j{i}", state=state) for i, state in enumerate(states)]
    )
    assert [job.id for job in await store.jobs.list()] == ["j3", "j2", "j1", "j0"]
    assert [job.id for job in await store.jobs.list(ended=True)] == ["j3", "j1"]
    assert [job.id for job in await store.jobs.list(ended=False, limit=1)] == ["j2"]


async def test_a_launch_prefix_is_never_one_in_use(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = "ab"
    monkeypatch.setattr("waltzrl_tui.store.jobs._LETTERS", letters)
    monkeypatch.setattr("waltzrl_tui.store.jobs._ALPHABET", letters)
    seen = set()
    for _ in range(20):
        prefix = await store.jobs.launch_prefix()
        assert prefix not in seen
        seen.add(prefix)
        await store.jobs.add_all([replace(CONV, id=f"{prefix}-conv")])
    assert sum(len(prefix) == 3 for prefix in seen) == 8


async def test_metrics_carry_the_progress_of_the_job(store: Store) -> None:
    await store.jobs.add_all([CONV])
    for step in (1, 2, 3):
        await store.jobs.metric(CONV.id, metric(step))
    job = await store.jobs.get(CONV.id)
    assert (job.step, job.eta_seconds) == (3, 9.0)
    assert [row.step for row in await store.jobs.metrics(CONV.id, since_step=1)] == [2, 3]
    assert (await store.jobs.metrics(CONV.id))[0] == replace(
        metric(1), at=(await store.jobs.metrics(CONV.id))[0].at
    )


async def test_a_reader_with_a_cursor_sees_steps_that_are_written_again(store: Store) -> None:
    await store.jobs.add_all([CONV])
    for step in (1, 2, 3):
        await store.jobs.metric(CONV.id, metric(step))
    rows, cursor = await store.jobs.metrics_written(CONV.id)
    assert [row.step for row in rows] == [1, 2, 3]
    for step in (3, 2, 3):
        await store.jobs.metric(CONV.id, metric(step, loss=0.5))
    rows, cursor = await store.jobs.metrics_written(CONV.id, cursor)
    assert [(row.step, row.get("loss")) for row in rows] == [(2, 0.5), (3, 0.5)]
    assert [row.get("loss") for row in await store.jobs.metrics(CONV.id)] == [1.0, 0.5, 0.5]
    assert await store.jobs.metrics_written(CONV.id, cursor) == ([], cursor)


async def test_a_loss_that_is_not_a_number_reads_as_none(store: Store) -> None:
    await store.jobs.add_all([CONV])
    await store.jobs.metric(CONV.id, metric(1, loss=math.nan))
    assert (await store.jobs.metrics(CONV.id))[0].get("loss") is None


@pytest.mark.parametrize("text", ["\ud800 broken", "\0", "\x1b[2J", "𝕏" * 10_000, ""])
async def test_any_text_can_be_an_event_or_an_error(store: Store, text: str) -> None:
    await store.jobs.add_all([CONV])
    await store.jobs.event(CONV.id, text, "error")
    await store.jobs.move(CONV.id, "failed", error=text)
    kept = text.replace("\ud800", "?")
    assert (await store.jobs.events(CONV.id))[0].text == kept
    assert (await store.jobs.get(CONV.id)).error == kept
