"""Commit of one metric row: our store next to SQLite as it comes (rollback journal, FULL).

Run: python benchmarks/bench_commit.py [ROWS] [FOLDER]
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import Store, now
from waltzrl_tui.workspace import Workspace

JOB = "k3f-conv"


def metric(step: int) -> Metric:
    values = {"epoch": 0.5, "loss": 1.25, "learning_rate": 1e-4, "tokens_per_second": 118.0}
    values |= {"tokens": step * 512, "memory_bytes": 1 << 30, "eta_seconds": 60.0}
    return Metric(step, values, now())


async def ours(folder: Path, rows: int) -> list[float]:
    """Seconds of each `JobStore.metric`: the row, the job's progress, and the commit."""
    times = []
    async with await Store.open(Workspace.find(folder)) as store:
        await store.jobs.add(JOB, kind="train", role="conversation", model="base")
        for step in range(rows):
            row = metric(step)
            start = time.perf_counter()
            await store.jobs.metric(JOB, row)
            times.append(time.perf_counter() - start)
    return times


def peer(folder: Path, rows: int) -> list[float]:
    """Seconds of each insert of the same row with a commit, without the job's progress."""
    names = ["job_id", "step", "at", *metric(0).values]
    marks = ", ".join("?" for _ in names)
    times = []
    with contextlib.closing(sqlite3.connect(folder / "peer.db")) as connection:
        connection.execute(f"CREATE TABLE metrics ({', '.join(names)}, PRIMARY KEY (job_id, step))")
        for step in range(rows):
            measured = metric(step)
            row = (JOB, step, measured.at, *measured.values.values())
            start = time.perf_counter()
            connection.execute(f"INSERT OR REPLACE INTO metrics VALUES ({marks})", row)
            connection.commit()
            times.append(time.perf_counter() - start)
    return times


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    parent = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=parent) as made:
        folder = Path(made)
        mine = statistics.median(asyncio.run(ours(folder, rows))) * 1000
        theirs = statistics.median(peer(folder, rows)) * 1000
    print(
        f"commit of a metric row, median of {rows}: ours {mine:.3f} ms, "
        f"sqlite default journal {theirs:.3f} ms, ratio {mine / theirs:.3f}"
    )


if __name__ == "__main__":
    main()
