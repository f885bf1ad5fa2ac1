"""Stores as earlier versions of the program left them."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping
from typing import Any

from waltzrl_tui.store.migrate import APPLICATION_ID, shipped
from waltzrl_tui.workspace import Workspace

_JOB: Mapping[str, Any] = {
    "kind": "train",
    "role": "conversation",
    "provider": "embedded",
    "model": "base",
    "state": "running",
    "reason": "",
    "provider_state": "",
    "provider_job_id": "",
    "depends_on": "[]",
    "params": "{}",
    "step": 3,
    "total_steps": 60,
    "estimate_usd": 0.0,
    "cost_usd": 0.0,
    "cancel_requested": 0,
    "created_at": "2026-11-30T10:00:00.000Z",
    "updated_at": "2026-11-30T10:00:00.000Z",
    "error": "",
    "result_model": "",
    "agent": "",
}


def job(id: str, **changes: Any) -> tuple[str, Mapping[str, Any]]:
    """A row of `jobs`, with what a test says of it."""
    return "jobs", {**_JOB, "id": id, "tag": id, **changes}


def old_store(workspace: Workspace, version: int, *rows: tuple[str, Mapping[str, Any]]) -> None:
    """A store of that version with rows, each a table's name and its columns."""
    workspace.prepare()
    with contextlib.closing(sqlite3.connect(workspace.store_path)) as connection:
        for migration in shipped():
            if migration.number <= version:
                connection.executescript(migration.sql)
        for table, columns in rows:
            marks = ", ".join("?" for _ in columns)
            connection.execute(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
                tuple(columns.values()),
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.commit()
