"""The embedded engine through the protocol that all providers speak."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from waltzrl_tui.datasets.reading.read import iter_rows
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.providers.errors import InvalidRequestError, MissingError
from waltzrl_tui.providers.protocol import TrainingUpload, TuneRequest
from waltzrl_tui.providers.registry import open_provider, provider_names
from waltzrl_tui.store import Store
from waltzrl_tui.training_data.rendering import conversation_rows
from waltzrl_tui.training_data.training_file import write_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION
from waltzrl_tui.workspace import Workspace


async def _quiet(sent: int, whole: int) -> None:
    assert sent == whole


def _file(folder: Path, rows: int = 6) -> TrainingUpload:
    made = conversation_rows(
        list(iter_rows(bundled(STARTER)))[:rows], {}, DEFAULT_CONVERSATION, revisions=0.0
    )
    file = write_training(folder / "train.jsonl", made)
    return TrainingUpload(
        file.path, file.sha256, file.path.stat().st_size, file.rows, file.path.name
    )


def _request(training_file: str) -> TuneRequest:
    return TuneRequest(
        tag="abc-conv-1a2b",
        role="conversation",
        model="",
        method="sft",
        training_file=training_file,
        validation_file="",
        epochs=1.0,
        options={"last_layers": 2, "batch_rows": 3},
    )


async def test_it_is_free_and_says_what_it_cannot_do(workspace: Workspace, tmp_path: Path) -> None:
    workspace.prepare()
    engine = open_provider("embedded", workspace)
    assert "embedded" not in provider_names()
    account = await engine.probe()
    assert account.key_ok is None and account.may_tune is True
    wish = _request(await engine.upload(_file(tmp_path), _quiet))
    assert (await engine.estimate(wish)).usd == 0.0
    for wrong in (
        replace(wish, method="dpo"),
        replace(wish, epochs=-1.0),
        replace(wish, options={"no_such_setting": 1}),
    ):
        with pytest.raises(InvalidRequestError):
            await engine.create(wrong)
    with pytest.raises(InvalidRequestError, match="line 1"):
        bad = tmp_path / "bad.jsonl"
        bad.write_text('{"prompt": "no chat"}\n')
        await engine.upload(TrainingUpload(bad, "0", 1, 1, "bad.jsonl"), _quiet)
    assert await engine.find(wish.tag) is None
    with pytest.raises(MissingError):
        await engine.fetch("nobody-knows-it", {})
    assert await engine.jobs() == []


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_a_job_from_its_file_to_its_adapter(workspace: Workspace, tmp_path: Path) -> None:
    workspace.prepare()
    engine = open_provider("embedded", workspace)
    wish = _request(await engine.upload(_file(tmp_path), _quiet))
    made = await engine.create(wish)
    with pytest.raises(InvalidRequestError) as refused:
        await engine.create(wish)
    assert refused.value.words == "already exists"
    found = await engine.find(wish.tag)
    assert found is not None and found.id == made.id
    cursor: dict[str, object] = {}
    steps: list[int] = []
    texts: list[str] = []
    async with asyncio.timeout(240):
        while True:
            seen = await engine.fetch(made.id, cursor)
            cursor = dict(seen.cursor)
            steps += [each.step for each in seen.metrics]
            texts += [each.text for each in seen.events]
            if seen.state not in ("queued", "running"):
                break
            await asyncio.sleep(0.3)
    assert seen.state == "succeeded", seen.words
    assert steps == [1, 2] and len(texts) == len(set(texts))
    home = await engine.collect(seen.result_model, tmp_path / "home")
    assert (home / ADAPTER_GGUF).is_file()
    async with await Store.open(workspace) as store:
        assert [agent.name for agent in await store.agents.list()] == [wish.tag]
        assert await store.agents.pairs() == []
    await engine.cancel(made.id)
