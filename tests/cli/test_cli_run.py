"""`run`, with the launch and its workers replaced: what trains is tested elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli, verdict
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.store import JobRow, NewJob, Store


def trained_refuses(model: str, messages: list[dict[str, str]]) -> str:
    if model.endswith("-f"):
        return verdict()
    harmful = "Harmful" in messages[1]["content"]
    return "I can't help." if harmful and model == "new-c" else "Sure."


def a_launch(outcome: str) -> Callable[..., Any]:
    async def launch(store: Store, _workspace: object, plan: Any) -> list[JobRow]:
        sample = await store.samples.add(
            source=plan.recipe.source,
            source_sha256="x",
            recipe=plan.recipe.to_json(),
            sha256="y",
            rows=4,
        )
        await store.jobs.add_all(
            [
                NewJob(
                    "abc-conv",
                    "train",
                    "conversation",
                    "m",
                    state="running",
                    sample_id=sample.id,
                    params={"pair": {"name": "new"}},
                )
            ]
        )
        failed = outcome == "failed"
        await store.jobs.move("abc-conv", outcome, error="No memory." if failed else "")  # type: ignore[arg-type]
        return await store.jobs.some(["abc-conv"])

    return launch


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_before_and_after(
    cli: Cli,
    chat_server: ChatServer,
    scripted_pair: Callable[[str], None],
    dataset: Path,
    monkeypatch: pytest.MonkeyPatch,
    outcome: str,
) -> None:
    scripted_pair("base")
    scripted_pair("new")
    chat_server.script = trained_refuses
    dataset.write_text("".join(dataset.read_text().splitlines(keepends=True)[:12]))
    monkeypatch.setattr("waltzrl_tui.training.launch.launch", a_launch(outcome))
    arguments = ["run", "--quick", dataset, "--prompts", dataset]
    if outcome == "failed":
        ended = cli(*arguments, "--json")
        assert (ended.code, ended.out) == (1, "")
        assert "jobs resume abc-conv" in ended.err
        assert "No memory." in ended.err
        return
    document = cli(*arguments, "--json").document
    assert document.keys() >= {"sample", "jobs", "before", "after", "seconds"}
    assert [job["id"] for job in document["jobs"]] == ["abc-conv"]
    assert document["sample"]["recipe"]["sha256"] == "y"
    figures = [document[when]["asr"]["final"]["rate"] for when in ("before", "after")]
    assert figures == [1.0, 0.0]
    assert (document["before"]["pair"], document["after"]["pair"]) == ("base", "new")


def test_nothing_is_evaluated_for_a_dataset_that_cannot_train(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None], dataset: Path
) -> None:
    scripted_pair("base")
    dataset.write_text('{"prompt": "no label and no reply"}\n')
    ended = cli("run", dataset)
    assert ended.code == 1
    assert chat_server.requests == []
