"""The job that makes the training files, with the base's replies sampled beforehand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.errors import DatasetError, EngineError
from waltzrl_tui.local.params import PairNames, PrepareParams, TrainParams
from waltzrl_tui.local.prepare import foreseen_feedback, read_rows, wanted_rollouts
from waltzrl_tui.local.recipe import TrainingSettings
from waltzrl_tui.local.work import Cancelled, Work, prepare_files
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.training.launch import Stage1, draw_sample, launch
from waltzrl_tui.training_data.rendering import conversation_rows
from waltzrl_tui.training_data.teacher import Teacher
from waltzrl_tui.training_data.training_file import read_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION
from waltzrl_tui.workspace import Workspace

STARTER = Path(__file__).resolve().parents[2] / "data" / "starter.jsonl"


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WALTZRL_CACHE")


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        yield opened


@pytest.fixture
async def launched(
    store: Store, workspace: Workspace, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> JobRow:
    """A preparation with a teacher, at work; all that is wanted of the base was sampled."""

    async def pretend(_workspace: object, _job_id: str) -> None:
        pass

    monkeypatch.setattr("waltzrl_tui.training.launch.launch_worker", pretend)
    monkeypatch.setattr("waltzrl_tui.training.launch.require", lambda: None)
    chat_server.script = lambda model, messages: "Say what else is possible."
    teacher = Teacher(chat_server.url, "coach", usd_in=1.0, usd_out=2.0, budget_usd=0.5)
    plan = Stage1(SampleRecipe(str(STARTER), n=40, seed=3, valid=0.2), quick=True, teacher=teacher)
    job = (await launch(store, workspace, plan))[0]
    prompts = wanted_rollouts(_sampled(job), job.params["judged"])
    lines = [json.dumps({"prompt": prompt, "reply": "Sure: do so."}) for prompt in prompts]
    (workspace.job_dir(job.id) / "rollouts.jsonl").write_text("\n".join(lines) + "\n")
    await store.jobs.move(job.id, "running")
    return await store.jobs.get(job.id)


def _sampled(job: JobRow) -> list[Any]:
    return [
        row for split in ("train", "valid") for row in read_rows(Path(job.params[f"{split}_rows"]))
    ]


async def test_files_tell_who_wrote_the_feedback_and_the_job_what_it_cost(
    store: Store, workspace: Workspace, launched: JobRow, chat_server: ChatServer
) -> None:
    foreseen = foreseen_feedback(
        _sampled(launched),
        judged=launched.params["judged"],
        rollout_tokens=launched.params["rollout_tokens"],
    )
    await prepare_files(Work(store, workspace, launched))
    job = await store.jobs.get(launched.id)
    assert job.state == "succeeded"
    asked = len(chat_server.requests)
    assert asked == sum(row.case in ("harmful/complies", "benign/refuses") for row in foreseen)
    # The server counts 1 token read and 5 written an answer.
    assert job.cost_usd == pytest.approx(asked * (1 * 1.0 + 5 * 2.0) / 1e6)
    taught = 0
    for file in await store.samples.files(job.sample_id or 0):
        writers = [row.feedback_by for row in read_training(Path(file.path))]
        if file.role == "conversation":
            assert set(writers) == {""}
            assert "feedback_by" not in file.recipe
            continue
        assert file.recipe["feedback_by"] == {"template": 0, "teacher": writers.count("teacher")}
        assert file.recipe["teacher"]["model"] == "coach"
        assert sum(file.recipe["counts"].values()) == file.rows
        taught += writers.count("teacher")
    assert taught == asked


async def test_a_stopped_preparation_goes_on_with_what_was_paid(
    store: Store, workspace: Workspace, launched: JobRow, chat_server: ChatServer
) -> None:
    work = Work(store, workspace, launched)
    answers = 0

    def answer(model: str, messages: list[dict[str, str]]) -> str:
        nonlocal answers
        answers += 1
        if answers == 6:
            # From here on the teacher hangs, and the worker is asked to end.
            chat_server.delay = 600.0
            asyncio.get_running_loop().call_later(0.3, work.terminate)
        return "Say what else is possible."

    chat_server.script = answer
    with pytest.raises(Cancelled):
        await prepare_files(work)
    stopped = await store.jobs.get(launched.id)
    paid = round(stopped.cost_usd / 11e-6)
    assert 6 <= paid <= len(_kept(workspace))

    chat_server.delay = 0.0
    chat_server.requests.clear()
    await prepare_files(Work(store, workspace, stopped))
    job = await store.jobs.get(launched.id)
    assert job.cost_usd == pytest.approx((paid + len(chat_server.requests)) * 11e-6)
    files = await store.samples.files(job.sample_id or 0)
    assert len({file.path for file in files}) == len(files) == 4
    taught = [file.recipe["feedback_by"]["teacher"] for file in files if file.role == "feedback"]
    assert sum(taught) == len(_kept(workspace))


async def test_jobs_that_the_version_before_wrote_go_on(
    store: Store, workspace: Workspace, launched: JobRow
) -> None:
    old = {
        name: launched.params[name]
        for name in ("train_rows", "valid_rows", "judged", "rollout_tokens", "revisions", "prompts")
    }
    await store.jobs.update(launched.id, params=old | {"roles": ["feedback"], "teacher": None})
    await prepare_files(Work(store, workspace, await store.jobs.get(launched.id)))
    files = await store.samples.files(launched.sample_id or 0)
    assert {file.role for file in files} == {"feedback"}

    settings = {"epochs": 2.0, "rank": 8}
    pair = {"name": "old", "conversation": "old-conversation", "feedback": "old-feedback"}
    params = TrainParams.from_json(
        {
            "train_file": "t",
            "valid_file": "",
            "settings": settings,
            "prompt": "p",
            "agent": "old-conversation",
            "pair": pair,
        }
    )
    assert params.settings == TrainingSettings(epochs=2.0, rank=8)
    assert params.pair == PairNames(**pair)
    assert TrainParams.from_json(params.to_json()) == params

    with pytest.raises(EngineError, match="lack judged"):
        PrepareParams.from_json({name: value for name, value in old.items() if name != "judged"})


async def test_a_recorded_file_stays_as_it_was_recorded(
    store: Store, workspace: Workspace, launched: JobRow, chat_server: ChatServer
) -> None:
    answers, chat_server.script = chat_server.script, lambda model, messages: 400
    await prepare_files(Work(store, workspace, launched))
    chat_server.script = answers
    chat_server.requests.clear()
    # As after a kill just before its end: by now the teacher would write other rows.
    await prepare_files(Work(store, workspace, launched))
    assert chat_server.requests == []
    files = await store.samples.files(launched.sample_id or 0)
    assert len(files) == 4
    for file in files:
        assert sha256(Path(file.path).read_bytes()).hexdigest() == file.sha256


def _kept(workspace: Workspace) -> list[Path]:
    return list((workspace.cache / "teacher").iterdir())


async def test_the_budget_holds_over_all_files_and_resumes(
    store: Store, workspace: Workspace, launched: JobRow, chat_server: ChatServer
) -> None:
    await store.jobs.update(launched.id, cost_usd=0.5)
    await prepare_files(Work(store, workspace, launched))
    job = await store.jobs.get(launched.id)
    assert (job.state, job.cost_usd) == ("succeeded", 0.5)
    assert chat_server.requests == []
    said = [event.text for event in await store.jobs.events(job.id) if event.level == "warning"]
    assert all("could exceed the budget" in text for text in said)
    assert len(said) == 2


def test_one_agent_needs_no_labels(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    rows = ({"prompt": f"What is {n} times {n}?", "reply": f"It is {n * n}."} for n in range(40))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    recipe = SampleRecipe(str(path))
    sample = draw_sample(recipe, roles=("conversation",))
    assert len(sample.train) + len(sample.valid) == 40
    # Whether a prompt is harmful is not known, so nothing is revised, and nothing sampled for it.
    assert wanted_rollouts(sample.train, 2) == []
    rollouts = {row.prompt: "Sure: do so." for row in sample.train}
    made = conversation_rows(sample.train, rollouts, DEFAULT_CONVERSATION)
    assert [row.source for row in made] == ["dataset"] * len(sample.train)
    with pytest.raises(DatasetError, match=r"can train a pair.*harm labels") as refused:
        draw_sample(recipe)
    assert "--role conversation" in refused.value.hint
    with pytest.raises(DatasetError, match="can train the feedback agent"):
        draw_sample(recipe, roles=("feedback",))
