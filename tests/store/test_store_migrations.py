"""Stores of earlier versions: what they hold is there after the migration."""

from __future__ import annotations

from tests.support.stores import job, old_store
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


async def test_metrics_by_column_become_named_series(workspace: Workspace) -> None:
    def row(step: int, **columns: float) -> tuple[str, dict[str, object]]:
        return "metrics", {"job_id": "k3f-conv", "step": step, "at": "then", **columns}

    old_store(
        workspace,
        6,
        job("k3f-conv"),
        row(1, epoch=0.1, loss=2.5, tokens_per_second=120.5, tokens=90, memory_bytes=1 << 40),
        row(3, epoch=0.3, valid_loss=1.5, tokens=270),
        row(2, epoch=0.2, loss=2.0, tokens=180),
    )
    async with await Store.open(workspace) as store:
        first, second, third = await store.jobs.metrics("k3f-conv")
        written, cursor = await store.jobs.metrics_written("k3f-conv")
        assert [metric.step for metric in written] == [1, 3, 2]
        assert await store.jobs.metrics_written("k3f-conv", cursor) == ([], cursor)
    assert (first.step, first.at, first.get("loss")) == (1, "then", 2.5)
    assert first.values["memory_bytes"] == 1 << 40
    assert second.get("valid_loss") is None
    assert third.values == {"epoch": 0.3, "valid_loss": 1.5, "tokens": 270}
