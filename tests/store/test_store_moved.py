"""A workspace that is moved or copied works where it is, and uses nothing of where it was."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from waltzrl_tui.local.live import Engines
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.serving import EmbeddedEndpoint
from waltzrl_tui.local.weights import DEFAULT_MODEL
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.mappings import kept_mapping
from waltzrl_tui.store.paths import _PLACES
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.workspace import Workspace

ELSEWHERE = "/elsewhere/state/jobs/zzz-conv/adapter"


async def fill(workspace: Workspace) -> None:
    """One of everything that names a file."""
    folder = workspace.job_dir("abc-conv")
    adapter, rows = folder / "adapter", folder / "train.jsonl"
    data = workspace.data / "mine.jsonl"
    adapter.mkdir(parents=True)
    workspace.data.mkdir(exist_ok=True)
    for file in (adapter / ADAPTER_GGUF, rows, data):
        file.write_text("{}\n")
    async with await Store.open(workspace) as store:
        recipe = {"source": str(data), "suites": ["bundled", str(data)]}
        sample = await store.samples.add(
            source=data, source_sha256="s", recipe=recipe, sha256="s", rows=1
        )
        await store.samples.add_file(
            sample.id, role="conversation", split="train", path=rows, rows=1, sha256="s"
        )
        params = {"train_file": str(rows), "valid_file": "", "agent": "mine", "prompt": "p"}
        job = NewJob("abc-conv", "train", "conversation", "m", params=params)
        [made] = await store.jobs.add_all([job])
        await store.jobs.move(made.id, "succeeded", result_model=str(adapter))
        far = NewJob("abc-feed", "train", "feedback", "m", provider="together")
        files = {"train": IntentFile(path=str(rows), sha256="s", bytes=3, rows=1)}
        await store.remote.add([(far, NewRemoteJob(far.id, "sft", files, LaunchIntent()))])
        for name, place in (("mine", str(adapter)), ("other", ELSEWHERE)):
            await store.agents.add(
                name, role="conversation", base=DEFAULT_MODEL, adapter=place, job_id=made.id
            )
        await store.mappings.set(data, {"prompt": "text"})
        await store.duels.add("p", left="a", right="b", source=str(data))
        await store.evaluations.add(
            pair="p",
            judge="j",
            suite=data,
            suite_sha256="s",
            n=1,
            seconds=1.0,
            report={"suite": str(data), "items_path": str(rows)},
            items_path=workspace.state / "evaluations" / "x.jsonl",
        )
        await store.runs.add("key", {"suites": [{"name": "mine", "path": str(data)}]}, 1)


async def named(workspace: Workspace) -> list[str]:
    """All paths that the store gives out."""
    async with await Store.open(workspace) as store:
        [sample] = await store.samples.list()
        [file] = await store.samples.files(sample.id)
        job, remote = await store.jobs.get("abc-conv"), await store.remote.get("abc-feed")
        [duel], [evaluation] = await store.duels.list(), await store.evaluations.list()
        [run] = await store.runs.recent()
        assert sample.recipe["suites"][0] == "bundled"
        assert await store.mappings.get(workspace.data / "mine.jsonl") == {"prompt": "text"}
        assert (await store.agents.get("other")).adapter == ELSEWHERE
        return [
            (await store.agents.get("mine")).adapter,
            *(sample.source, sample.recipe["source"], sample.recipe["suites"][1], file.path),
            *(job.params["train_file"], job.result_model, remote.files["train"].path),
            *(duel.source, evaluation.suite, evaluation.items_path),
            *(evaluation.report["suite"], evaluation.report["items_path"]),
            run.spec["suites"][0]["path"],
        ]


def age(workspace: Workspace, home: Path) -> None:
    """Make the store one of before, when paths were absolute; the workspace was at `home` then."""
    with closing(sqlite3.connect(workspace.store_path)) as connection, connection:
        for table, columns, documents in _PLACES:
            for name in columns:
                connection.execute(
                    f"UPDATE {table} SET {name} = ? || substr({name}, 2) WHERE {name} LIKE './%'",
                    (str(home),),
                )
            for name in documents:
                connection.execute(
                    f"UPDATE {table} SET {name} = replace({name}, '\"./', ?)", (f'"{home}/',)
                )
        connection.execute("PRAGMA user_version = 8")


def moved(workspace: Workspace, to: Path) -> Workspace:
    shutil.copytree(workspace.home, to)
    return Workspace(to)


@pytest.mark.parametrize("before", ["new", "older, opened and moved", "older, moved"])
@pytest.mark.parametrize("stays", [True, False])
async def test_every_path_is_of_the_folder_where_the_workspace_is(
    workspace: Workspace, tmp_path: Path, before: str, stays: bool
) -> None:
    await fill(workspace)
    before_move = await named(workspace)
    assert all(path.startswith(f"{workspace.home}/") for path in before_move)
    if before != "new":
        age(workspace, workspace.home)
        if "opened" in before:
            assert await named(workspace) == before_move
    there = moved(workspace, tmp_path / "there")
    if not stays:
        shutil.rmtree(workspace.home)
    if before != "older, moved":
        # What is sent to somebody does not tell where it was.
        with closing(sqlite3.connect(there.store_path)) as connection:
            assert str(workspace.home) not in "\n".join(connection.iterdump())
    was, now = f"{workspace.home}/", f"{there.home}/"
    assert await named(there) == [path.replace(was, now) for path in before_move]
    data = there.data / "mine.jsonl"
    assert kept_mapping(there.store_path, data) == {"prompt": "text"}


async def test_a_trained_agent_is_asked_by_the_adapter_of_its_own_workspace(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(workspace)
    there = moved(workspace, tmp_path / "there")
    engines = Engines(there)
    async with await Store.open(there) as store:
        endpoint: Any = await engines.endpoint(store, await store.agents.get("mine"))
    await engines.close()
    assert isinstance(endpoint, EmbeddedEndpoint)
    assert endpoint.adapter == there.job_dir("abc-conv") / "adapter" / ADAPTER_GGUF
