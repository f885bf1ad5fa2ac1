"""The embedded engine for real: real weights, real training of both agents, a real chat."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.jobs.control import cancel, reconcile, resume
from waltzrl_tui.jobs.follow import watch
from waltzrl_tui.jobs.launch import log_path, worker_alive
from waltzrl_tui.local.live import Engines, ensure_base
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.training.launch import Stage1, launch, result_pair
from waltzrl_tui.waltz.events import ReplyText, VerdictEnded, WaltzEnded
from waltzrl_tui.waltz.waltz import waltz
from waltzrl_tui.workspace import Workspace

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

STARTER = Path(__file__).resolve().parents[2] / "data" / "starter.jsonl"


def _plan(rows: int, **settings: object) -> Stage1:
    small = {"last_layers": 4, "valid_rows": 2, **settings}
    return Stage1(
        SampleRecipe(str(STARTER), n=rows, seed=3, valid=0.2),
        quick=True,
        overrides=(("conversation", small), ("feedback", small)),
    )


async def _until(
    store: Store, job_id: str, ready: Callable[[JobRow], bool], seconds: float = 200
) -> JobRow:
    async with asyncio.timeout(seconds):
        while not ready(job := await store.jobs.get(job_id)):
            assert not job.ended, f"{job.state}: {job.error}"
            await asyncio.sleep(0.1)
    return job


async def _ended(store: Store, workspace: Workspace, ids: list[str]) -> list[JobRow]:
    async for _ in watch(store, ids, workspace=workspace):
        pass
    return await store.jobs.some(ids)


async def test_both_agents_are_trained_and_the_pair_talks(workspace: Workspace) -> None:
    async with await Store.open(workspace) as store:
        await ensure_base(store)
        launched = await launch(store, workspace, _plan(10, epochs=1.0, batch_rows=4))
        ids = [job.id for job in launched]
        jobs = await _ended(store, workspace, ids)
        log = "".join(log_path(workspace, id).read_text() for id in ids)
        assert [job.state for job in jobs] == ["succeeded"] * 3, (log, [j.error for j in jobs])

        for job in jobs[1:]:
            metrics = await store.jobs.metrics(job.id)
            assert [row.step for row in metrics] == list(range(1, job.total_steps + 1))
            assert all(row.get("loss") and row.get("tokens_per_second") for row in metrics)
            assert metrics[-1].get("valid_loss")
            assert (Path(job.result_model) / "adapter.gguf").stat().st_size > 1_000_000
        counts = {
            file.role: file.recipe["counts"]
            for file in await store.samples.files(1)
            if file.split == "train"
        }
        # One verdict a prompt; a harmful prompt that is complied with is a reply of the base.
        assert sum(counts["feedback"].values()) == 8, counts
        assert counts["feedback"]["harmful/complies"], counts

        pair = await result_pair(store, ids)
        assert pair is not None
        engines = Engines(workspace)
        try:
            live = await engines.pair(store, pair.name)
            asked = [{"role": "user", "content": "What is the capital of France?"}]
            events = [event async for event in waltz(live, asked, max_tokens=12, verdict_tokens=12)]
        finally:
            await engines.close()
    assert any(isinstance(event, ReplyText) for event in events)
    assert any(isinstance(event, VerdictEnded) for event in events)
    assert isinstance(events[-1], WaltzEnded)
    assert events[-1].final


async def test_a_killed_worker_goes_on_from_its_checkpoint_and_a_cancel_is_quick(
    workspace: Workspace,
) -> None:
    async with await Store.open(workspace) as store:
        plan = _plan(12, epochs=20.0, batch_rows=4, checkpoint_seconds=0.0)
        plan = Stage1(plan.recipe, roles=("feedback",), quick=True, overrides=plan.overrides)
        prepare, feed = (job.id for job in await launch(store, workspace, plan))
        await _until(store, prepare, lambda job: job.state == "succeeded")
        before = await _until(store, feed, lambda job: job.step >= 3)

        said = [event.text for event in await store.jobs.events(feed)]
        os.kill(_worker_pid(said), signal.SIGKILL)
        while worker_alive(workspace, feed):
            await asyncio.sleep(0.05)
        async with asyncio.timeout(20):
            while feed not in await reconcile(store, workspace):
                await asyncio.sleep(0.2)
        dead = await store.jobs.get(feed)
        assert dead.state == "failed"
        assert "resume" in dead.error.lower()

        await resume(store, workspace, feed)
        await _until(store, feed, lambda job: job.state == "running" and job.step > before.step + 1)
        said = [event.text for event in await store.jobs.events(feed)]
        steps = [row.step for row in await store.jobs.metrics(feed)]
        assert any("resumed from the checkpoint of step" in text for text in said), said
        assert steps == list(range(1, len(steps) + 1))

        began = time.monotonic()
        await cancel(store, workspace, feed)
        async with asyncio.timeout(10):
            while (await store.jobs.get(feed)).state != "cancelled":
                await asyncio.sleep(0.02)
        assert time.monotonic() - began < 4.0
        while worker_alive(workspace, feed):
            await asyncio.sleep(0.05)


def _worker_pid(events: list[str]) -> int:
    return int(next(text for text in events if "process" in text).rsplit(" ", 1)[1])


async def test_the_server_asks_for_its_key_and_keeps_adapters_apart(
    workspace: Workspace, tmp_path: Path
) -> None:
    import httpx2

    from waltzrl_tui.local.serving import LlamaServer
    from waltzrl_tui.local.weights import find_weights

    weights = await asyncio.to_thread(find_weights, workspace)
    adapters = [
        await asyncio.to_thread(_random_adapter, weights.source, tmp_path, n) for n in (1, 2)
    ]
    both = LlamaServer(weights.servable(), adapters)
    alone = [LlamaServer(weights.servable(), [adapter]) for adapter in adapters]
    try:
        await both.start()
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                f"http://127.0.0.1:{both.port}/v1/chat/completions",
                json={"messages": [{"role": "user", "content": "hi"}]},
            )
        assert answer.status_code == 401
        assert _listening_on(both.port) == {"127.0.0.1"}

        expected = []
        for server, adapter in zip(alone, adapters, strict=True):
            await server.start()
            expected.append(await _say(server, adapter))
        assert expected[0] != expected[1]
        for _ in range(3):
            for adapter, wanted in zip(adapters, expected, strict=True):
                assert await _say(both, adapter) == wanted
    finally:
        for server in (both, *alone):
            await server.close()


async def test_streams_of_two_adapters_run_at_the_same_time_when_they_are_to(
    workspace: Workspace, tmp_path: Path
) -> None:
    from waltzrl_tui.local.serving import EmbeddedEndpoint, Servers
    from waltzrl_tui.local.weights import find_weights

    weights = await asyncio.to_thread(find_weights, workspace)
    adapter = await asyncio.to_thread(_random_adapter, weights.source, tmp_path, 1)
    servers = Servers()
    endpoints = [EmbeddedEndpoint(servers, weights.servable(), each) for each in (adapter, None)]
    began: list[float] = []
    ended: list[float] = []

    async def say(endpoint: EmbeddedEndpoint, tokens: int) -> str:
        messages = [{"role": "user", "content": "Count to a hundred."}]
        pieces = []
        async for delta in endpoint.stream(messages, max_tokens=tokens):
            if not pieces:
                began.append(time.perf_counter())
            pieces.append(delta.text)
        ended.append(time.perf_counter())
        return "".join(pieces)

    try:
        alone = [await say(endpoint, 60) for endpoint in endpoints]
        assert alone[0] != alone[1]
        servers.share(2)
        for endpoint in endpoints:
            await endpoint.ready()
        began.clear()
        ended.clear()
        both = await asyncio.gather(*(say(endpoint, 60) for endpoint in endpoints))
        assert both == alone
        # Each began before the other one had ended.
        assert max(began) < min(ended)
        servers.share(1)
        assert await say(endpoints[0], 60) == alone[0]
    finally:
        await servers.close()


async def _say(server: object, adapter: Path) -> str:
    messages = [{"role": "user", "content": "Name three colours."}]
    deltas = server.endpoint(adapter).stream(messages, max_tokens=10)  # type: ignore[attr-defined]
    return "".join([delta.text async for delta in deltas])


def _random_adapter(source: str, folder: Path, seed: int) -> Path:
    import torch

    from waltzrl_tui.local.lora_gguf import write_lora_gguf
    from waltzrl_tui.local.model import LoraModel, LoraShape

    torch.manual_seed(seed)
    model = LoraModel(source, LoraShape(rank=4, last_layers=4))
    with torch.no_grad():
        for value in model.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    made = folder / f"adapter-{seed}"
    model.save(made)
    return write_lora_gguf(made, json.loads((Path(source) / "config.json").read_text()))


def _listening_on(port: int) -> set[str]:
    import psutil

    return {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.laddr.port == port and connection.status == psutil.CONN_LISTEN
    }
