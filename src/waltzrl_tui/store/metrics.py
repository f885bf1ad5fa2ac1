"""Metrics between Python and SQL: a row a step, its values as one JSON object."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from waltzrl_tui.records.metrics import Metric, measured

METRIC_COLUMNS: Final = "step, at, series"


def read_metric(row: sqlite3.Row) -> Metric:
    """A row of `METRIC_COLUMNS`."""
    return Metric(row[0], json.loads(row[2]), row[1])


def write_metric(connection: sqlite3.Connection, job_id: str, metric: Metric) -> None:
    """Write a step; one that was written before is replaced."""
    connection.execute(
        "INSERT OR REPLACE INTO metrics (job_id, step, at, series) VALUES (?, ?, ?, ?)",
        (job_id, metric.step, metric.at, json.dumps(measured(metric.values))),
    )


def merge_metric(connection: sqlite3.Connection, job_id: str, metric: Metric) -> None:
    """Write what a later answer about a step adds; nothing is written when it adds nothing."""
    row = connection.execute(
        f"SELECT {METRIC_COLUMNS} FROM metrics WHERE job_id = ? AND step = ?",
        (job_id, metric.step),
    ).fetchone()
    values = measured(metric.values)
    if row is not None:
        before = json.loads(row[2])
        values = before | values
        if values == before:
            return
    write_metric(connection, job_id, Metric(metric.step, values, metric.at))
