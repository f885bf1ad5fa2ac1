"""The models behind the screens, which work without Textual."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.evaluation.service import begin
from waltzrl_tui.evaluation.suites import BUNDLED
from waltzrl_tui.local.live import Engines
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.tui.chart.plot import SLOTS
from waltzrl_tui.tui.chat.match import PromptSource
from waltzrl_tui.tui.chat.model import ChatModel
from waltzrl_tui.tui.evaluate.model import EvaluateModel
from waltzrl_tui.tui.jobs.model import JobsModel
from waltzrl_tui.workspace import Workspace


@pytest.mark.parametrize("screen", ["chat", "evaluate", "jobs"])
def test_a_model_needs_no_textual(screen: str) -> None:
    code = (
        f"import sys, waltzrl_tui.tui.{screen}.model; "
        "sys.exit(any(name.partition('.')[0] in ('textual', 'rich') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def _jobs(store: Store, model: JobsModel, *jobs: NewJob) -> None:
    await store.jobs.add_all(list(jobs))
    await model.readings.read_jobs(store, [])


async def test_jobs_are_filtered_pinned_and_offer_what_fits(workspace: Workspace) -> None:
    model = JobsModel()
    async with await Store.open(workspace) as store:
        runs = [NewJob(f"a{n}-conv", "train", "conversation", "base") for n in range(SLOTS + 1)]
        draft = NewJob(
            "z9-conv", "train", "conversation", "qwen", provider="together", state="draft"
        )
        await _jobs(store, model, *runs, draft)
        model.query = "TOGETHER qwen"
        assert model.matches == ["z9-conv"]
        model.selected = "z9-conv"
        assert model.allows("approve") and model.allows("cancel") and not model.allows("resume")
        model.query = ""
        for job in runs[:SLOTS]:
            model.selected = job.id
            assert model.toggle_pinned()
        model.selected = runs[-1].id
        assert not model.toggle_pinned() and len(model.pinned) == SLOTS
        model.selected = runs[0].id
        assert model.toggle_pinned() and runs[0].id not in model.pinned
        # Slots stay with their jobs while others come and go.
        before = {id: model.slots[id] for id in model.charted if id in model.pinned}
        model.selected = runs[-1].id
        assert {id: model.slots[id] for id in model.charted if id in before} == before


async def test_the_pair_of_a_launch_is_new_once(workspace: Workspace) -> None:
    model = JobsModel()
    async with await Store.open(workspace) as store:
        await _jobs(store, model, NewJob("k3f-conv", "train", "conversation", "base"))
        assert model.new_pairs() == []
        await store.agents.add("mine", role="conversation", base="base", job_id="k3f-conv")
        await store.agents.add_pair("mine", conversation="mine")
        await store.jobs.move("k3f-conv", "succeeded", agent="mine")
        await model.readings.read_jobs(store, [])
        assert [pair.name for pair in model.new_pairs()] == ["mine"]
        assert model.new_pairs() == []


async def test_a_chat_is_asked_voted_on_and_its_queue_ends(
    workspace: Workspace, chat_server: ChatServer
) -> None:
    prompts = workspace.data / "prompts.jsonl"
    prompts.write_text('{"prompt": "one", "harm": "benign"}\n{"harm": "benign"}\n')
    async with await Store.open(workspace) as store:
        for name in ("a", "b"):
            await store.agents.add(
                name,
                role="conversation",
                kind="openai",
                base=name,
                url=chat_server.url,
                prompt="conversation/full-1",
            )
            await store.agents.add_pair(name, conversation=name)
        engines = Engines(workspace)
        model = ChatModel(store, workspace, lambda: engines, pair="a", versus="b")
        try:
            await model.read()
            assert [side.badge for side in model.sides] == ["a", "b"]
            await model.open_queue(prompts)
            assert model.queue is not None
            queue = model.queue
            row = await model.next_prompt(queue)
            assert row is not None
            model.begin(PromptSource(row.harm, str(prompts), row.line))
            assert model.streaming and not model.allows("beside", typing=False)
            replies = [side.ask(row.prompt, lambda turn: None) for side in model.active]
            await model.finish(row.prompt, replies)
            assert [side.state for side in model.sides] == ["done", "done"]
            assert model.allows("vote", typing=False)
            await model.match.decide("left")
            (duel,) = await store.duels.list()
            assert (duel.vote, duel.line, duel.left_pair) == ("left", 1, "a")
            # A prompt that has a vote is not asked again.
            await model.open_queue(prompts)
            assert await model.next_prompt(model.queue) is None
            assert model.queue is None
        finally:
            await engines.close()


async def test_a_request_becomes_a_run_and_the_view_follows_its_results(
    workspace: Workspace,
) -> None:
    suite = workspace.data / "mine.jsonl"
    suite.write_text('{"prompt": "one", "harm": "benign"}\n')
    async with await Store.open(workspace) as store:
        model = EvaluateModel(store, workspace)
        await model.read()
        first = model.first_request()
        assert first.complete and first.suites == [BUNDLED]
        assert str(suite) in [candidate.id for candidate in model.suite_candidates()]
        spec, cost = await model.prepare(replace(first, suites=[BUNDLED, str(suite)], prompts=2))
        assert cost.free and spec.total == 3
        run = await begin(store, spec)
        await model.read()
        assert model.shown_run == run.id and model.results is not None
        # No process works on it: it can be resumed, not stopped.
        assert model.state == "left" and model.allows("go_on") and not model.allows("stop")
        model.keep_view(model.results)
        suites = []
        for _ in range(4):
            suites.append(model.view.suite)
            model.next_view()
        assert suites == [None, 0, 1, None]
        # The next request begins with what this run had.
        assert model.first_request().suites == [BUNDLED, str(suite)]


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    server = ChatServer()
    server.script = lambda model, messages: f"I am {model}."
    await server.start()
    yield server
    await server.stop()
