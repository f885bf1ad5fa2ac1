"""Samples, agents, pairs, transcripts and evaluations."""

from __future__ import annotations

import pytest

from waltzrl_tui.errors import NotFoundError, UsageError
from waltzrl_tui.store import Store
from waltzrl_tui.store.rows import PROMPT


async def test_a_sample_and_its_files(store: Store) -> None:
    sample = await store.samples.add(
        source="data/a.jsonl", source_sha256="s", recipe={"n": 5, "seed": 1}, sha256="r", rows=5
    )
    train = await store.samples.add_file(
        sample.id, role="feedback", split="train", path="f", rows=4, sha256="x", recipe={"v": 1}
    )
    valid = await store.samples.add_file(
        sample.id, role="feedback", split="valid", path="g", rows=1, sha256="y", tokens=9
    )
    assert await store.samples.get(sample.id) == sample
    assert await store.samples.files(sample.id) == [train, valid]
    assert [found.id for found in await store.samples.list()] == [sample.id]
    for attempt in (
        store.samples.get(99),
        store.samples.add_file(99, role="feedback", split="train", path="", rows=0, sha256=""),
        store.jobs.add("j", kind="train", role="both", model="m", sample_id=99),
    ):
        with pytest.raises(NotFoundError, match="sample 99"):
            await attempt


@pytest.fixture
async def pair(store: Store) -> str:
    await store.agents.add("talker", role="conversation", base="b", adapter="a", prompt="p")
    await store.agents.add("minder", role="feedback", base="b")
    await store.agents.add_pair("starter", conversation="talker", feedback="minder")
    return "starter"


async def test_agents_and_pairs_read_back(store: Store, pair: str) -> None:
    assert (await store.agents.get("talker")).adapter == "a"
    assert [agent.name for agent in await store.agents.list(role="feedback")] == ["minder"]
    assert len(await store.agents.list()) == 2
    alone = await store.agents.add_pair("alone", conversation="talker", rounds=0)
    assert alone.feedback == ""
    assert await store.agents.get_pair("alone") == alone
    assert [found.name for found in await store.agents.pairs()] == ["starter", "alone"]


async def test_an_agent_in_a_pair_stays(store: Store, pair: str) -> None:
    for name in ("talker", "minder"):
        with pytest.raises(UsageError, match="in the pair starter"):
            await store.agents.remove(name)
    await store.agents.remove_pair(pair)
    await store.agents.remove("minder")
    assert [agent.name for agent in await store.agents.list()] == ["talker"]


async def test_names_are_unique_and_a_free_one_is_found(store: Store, pair: str) -> None:
    with pytest.raises(UsageError, match="already an agent talker"):
        await store.agents.add("talker", role="feedback", base="b")
    with pytest.raises(UsageError, match="already a pair starter"):
        await store.agents.add_pair("starter", conversation="talker")
    assert await store.agents.free_name("new") == "new"
    assert await store.agents.free_name("starter") == "starter-2"
    await store.agents.add_pair("starter-2", conversation="talker")
    assert await store.agents.free_name("starter") == "starter-3"
    assert await store.agents.free_name("talker") == "talker-2"


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\x1b[2J", "\u202eevil", "x" * 81])
async def test_a_name_is_one_line_of_visible_text(store: Store, name: str) -> None:
    with pytest.raises(UsageError):
        await store.agents.add(name, role="feedback", base="b")


async def test_a_pair_has_the_right_agents(store: Store, pair: str) -> None:
    with pytest.raises(UsageError, match="not a feedback agent"):
        await store.agents.add_pair("x", conversation="talker", feedback="talker")
    with pytest.raises(NotFoundError, match=r"Did you mean talker\?"):
        await store.agents.add_pair("x", conversation="talkr")
    with pytest.raises(UsageError, match="-1 is not a number"):
        await store.agents.add_pair("x", conversation="talker", rounds=-1)
    for attempt in (store.agents.get("x"), store.agents.get_pair("x"), store.agents.remove("x")):
        with pytest.raises(NotFoundError):
            await attempt


async def test_a_transcript_grows_and_goes(store: Store) -> None:
    first = await store.transcripts.create("starter")
    second = await store.transcripts.create("starter", "title")
    data = {"text": "\ud800 é \0", "n": [1, None]}
    start = await store.transcripts.append(first.id, (PROMPT, data))
    await store.transcripts.append(first.id, ("reply", {"text": "no"}))
    assert (await store.transcripts.get(first.id)).turns == 1
    events = await store.transcripts.events(first.id)
    assert (events[0].kind, events[0].data) == (PROMPT, data)
    assert [e.kind for e in await store.transcripts.events(first.id, since=start)] == ["reply"]
    assert [e.kind for e in await store.transcripts.events(first.id, limit=1)] == [PROMPT]
    assert {t.id: t.title for t in await store.transcripts.list()} == {
        first.id: "",
        second.id: "title",
    }
    await store.transcripts.remove(first.id)
    assert await store.transcripts.events(first.id) == []
    for attempt in (
        store.transcripts.get(first.id),
        store.transcripts.append(first.id, ("reply", {})),
        store.transcripts.remove(first.id),
    ):
        with pytest.raises(NotFoundError):
            await attempt


async def test_evaluations_newest_first(store: Store) -> None:
    async def add(pair: str, n: int) -> int:
        row = await store.evaluations.add(
            pair=pair,
            judge="labels",
            suite="suite.jsonl",
            suite_sha256="s",
            n=n,
            seconds=1.5,
            report={"asr": {"first": None}},
            items_path="items.jsonl",
        )
        assert await store.evaluations.get(row.id) == row
        return row.id

    first, second, other = [await add("a", 1), await add("a", 2), await add("b", 3)]
    assert [row.id for row in await store.evaluations.list()] == [other, second, first]
    assert [row.id for row in await store.evaluations.list(pair="a", limit=1)] == [second]
    latest = await store.evaluations.latest("a")
    assert latest is not None and latest.n == 2
    assert await store.evaluations.latest("c") is None
    with pytest.raises(NotFoundError):
        await store.evaluations.get(99)
