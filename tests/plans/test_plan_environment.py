"""What this machine has, found without importing torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from waltzrl_tui.local.weights import DEFAULT_MODEL
from waltzrl_tui.plans.environment import find_gpus, read_environment
from waltzrl_tui.plans.model import Gpu
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


def _nvidia_smi(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_gpus_are_read_from_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nvidia_smi(
        tmp_path, 'echo "NVIDIA GeForce RTX 4090, 24564, 23000"; echo "[N/A], x, y"', monkeypatch
    )
    assert find_gpus() == (Gpu("NVIDIA GeForce RTX 4090", 25.8, 24.1),)
    _nvidia_smi(tmp_path, "exit 9", monkeypatch)
    assert find_gpus() == ()
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert find_gpus() == ()


async def test_speed_is_that_of_past_jobs_here(workspace: Workspace) -> None:
    async with await Store.open(workspace) as store:
        assert (await read_environment(store, workspace)).embedded_tokens_per_second is None
        for number, (state, rate) in enumerate(
            [("succeeded", 100.0), ("succeeded", 140.0), ("failed", 9000.0)]
        ):
            id = f"abc{number}-conv"
            await store.jobs.add(id, kind="train", role="conversation", model=DEFAULT_MODEL)
            await store.jobs.move(id, "running")
            for step in range(3):
                await store.jobs.metric(id, Metric(step, {"tokens_per_second": rate + step}))
            await store.jobs.move(id, state)  # type: ignore[arg-type]
        assert (await read_environment(store, workspace)).embedded_tokens_per_second == 121.0


async def test_keys_are_known_by_name_only(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "sk-very-secret")
    monkeypatch.setenv("RUNPOD_API_KEY", " ")
    monkeypatch.setenv("MINE_KEY", "x")
    (workspace.home / "plans.toml").write_text('[provider.vast]\nkeys = ["MINE_KEY"]\n')
    result = await read_environment(None, workspace)
    assert result.keys == {"TOGETHER_API_KEY", "MINE_KEY"}
    assert "secret" not in repr(result)
