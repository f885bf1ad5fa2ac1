"""Stores of earlier versions: what they hold is there after the migration."""

from __future__ import annotations

import contextlib
import sqlite3

from waltzrl_tui.store import Store
from waltzrl_tui.store.migrate import APPLICATION_ID, shipped
from waltzrl_tui.workspace import Workspace


def old_store(workspace: Workspace, version: int, *statements: str) -> None:
    """A store as that version left it, with some rows."""
    workspace.prepare()
    with contextlib.closing(sqlite3.connect(workspace.store_path)) as connection:
        for migration in shipped():
            if migration.number <= version:
                connection.executescript(migration.sql)
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()


JOB = (
    "INSERT INTO jobs (id, tag, kind, role, provider, model, state, reason, provider_state,"
    " provider_job_id, depends_on, params, step, total_steps, estimate_usd, cost_usd,"
    " cancel_requested, created_at, updated_at, error, result_model, agent) VALUES"
    " ('k3f-conv', 'k3f-conv', 'train', 'conversation', 'embedded', 'base', 'running', '', '', '',"
    " '[]', '{}', 3, 60, 0, 0, 0, '2026-11-30T10:00:00.000Z', '2026-11-30T10:00:00.000Z', '', '',"
    " '')"
)


async def test_metrics_by_column_become_named_series(workspace: Workspace) -> None:
    insert = (
        "INSERT INTO metrics (job_id, step, at, epoch, loss, valid_loss, learning_rate,"
        " tokens_per_second, tokens, memory_bytes, eta_seconds) VALUES "
    )
    old_store(
        workspace,
        6,
        JOB,
        f"{insert} ('k3f-conv', 1, 'then', 0.1, 2.5, NULL, 1e-4, 120.5, 90, 1099511627776, 9.0)",
        f"{insert} ('k3f-conv', 3, 'then', 0.3, NULL, 1.5, NULL, NULL, 270, NULL, NULL)",
        f"{insert} ('k3f-conv', 2, 'then', 0.2, 2.0, NULL, 1e-4, 120.5, 180, NULL, NULL)",
    )
    async with await Store.open(workspace) as store:
        first, second, third = await store.jobs.metrics("k3f-conv")
        written, cursor = await store.jobs.metrics_written("k3f-conv")
        assert [metric.step for metric in written] == [1, 3, 2]
        assert await store.jobs.metrics_written("k3f-conv", cursor) == ([], cursor)
    assert (first.step, first.at, first.get("loss")) == (1, "then", 2.5)
    assert first.values.keys() >= {"epoch", "tokens_per_second", "memory_bytes", "eta_seconds"}
    assert first.values["memory_bytes"] == 1 << 40
    assert second.get("valid_loss") is None
    assert third.values == {"epoch": 0.3, "valid_loss": 1.5, "tokens": 270}
