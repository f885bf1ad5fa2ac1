"""Watching 1,000 jobs: event-loop lag and CPU of the Jobs screen next to an empty Textual app.

Another process commits a metric row a second for each of 20 of the jobs meanwhile. Both apps run
headless, 120 by 40 cells, each in a process of its own with the same probe in it.

Run: python benchmarks/bench_watch.py [SECONDS] [--waiting]

With --waiting the other 980 jobs have not ended, so that all are read after every commit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import NewJob, Store, now
from waltzrl_tui.workspace import Workspace

JOBS, BUSY, STEPS = 1000, 20, 2000
PROBE_SECONDS = 0.02
SETTLE_SECONDS = 5.0


def metric(step: int) -> Metric:
    values = {"loss": 0.5 + 2 / (1 + step / 100), "epoch": step / 500, "learning_rate": 5e-4}
    if step % 50 == 0:
        values["valid_loss"] = values["loss"] + 0.1
    values |= {"tokens_per_second": 150.0, "tokens": step * 512}
    values |= {"memory_bytes": 3 << 30, "eta_seconds": float(STEPS - step)}
    return Metric(step, values, now())


async def fill(home: Path, waiting: bool) -> None:
    """JOBS jobs, of which BUSY run and have 200 steps behind them."""
    jobs = []
    for number in range(JOBS):
        busy = number >= JOBS - BUSY
        jobs.append(
            NewJob(
                f"j{number // 2:03d}-{'conv' if number % 2 else 'feed'}",
                "train",
                "conversation" if number % 2 else "feedback",
                "base",
                # A hosted job has no worker here that could be missed.
                provider="embedded" if busy else "hosted",
                state="running" if busy else "queued" if waiting else "succeeded",
                reason="training" if busy else "",
                step=200 if busy else 0,
                total_steps=STEPS,
                params={"settings": {"epochs": 2.0, "rank": 16}},
            )
        )
    async with await Store.open(Workspace.find(home)) as store:
        await store.jobs.add_all(jobs)
        async with store.transaction():
            for job in jobs[-BUSY:]:
                for step in range(1, 201):
                    await store.jobs.metric(job.id, metric(step))


async def write(home: Path) -> None:
    """A metric row a second for each busy job, evenly spread, until this process is ended."""
    async with await Store.open(Workspace.find(home)) as store:
        ids = [job.id for job in await store.jobs.list(limit=BUSY)]
        start = time.monotonic()
        for number in range(BUSY * (STEPS - 200)):
            await asyncio.sleep(max(0.0, start + number / BUSY - time.monotonic()))
            await store.jobs.metric(ids[number % BUSY], metric(201 + number // BUSY))


async def measure(home: Path, seconds: float, empty: bool) -> dict[str, float]:
    """Lag of the event loop in ms and CPU seconds a second, once the app has settled."""
    if empty:
        from textual.app import App

        app: App[Any] = App()
    else:
        from waltzrl_tui.tui.shell.app import WaltzApp

        app = WaltzApp(Workspace.find(home), screen="jobs")
    async with app.run_test(size=(120, 40)):
        await asyncio.sleep(SETTLE_SECONDS)
        lags = []
        wall, cpu = time.monotonic(), time.process_time()
        while (before := time.monotonic()) < wall + seconds:
            await asyncio.sleep(PROBE_SECONDS)
            lags.append((time.monotonic() - before - PROBE_SECONDS) * 1000)
        share = (time.process_time() - cpu) / (time.monotonic() - wall)
    return {"p95": statistics.quantiles(lags, n=20)[-1], "max": max(lags), "cpu": share}


def child(home: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--home", str(home), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("seconds", nargs="?", type=float, default=20.0)
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=("write", "empty", "jobs"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part == "write":
        asyncio.run(write(args.home))
        return
    if args.part:
        print(json.dumps(asyncio.run(measure(args.home, args.seconds, args.part == "empty"))))
        return
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        asyncio.run(fill(home, args.waiting))
        writer = child(home, "--part", "write")
        try:
            for part in ("empty", "jobs"):
                said = child(home, str(args.seconds), "--part", part).communicate()[0]
                found = json.loads(said)
                print(
                    f"{part:5}  event-loop lag p95 {found['p95']:6.1f} ms  max"
                    f" {found['max']:6.1f} ms  CPU {found['cpu'] * 100:5.1f} % of a core"
                )
        finally:
            writer.terminate()
            writer.wait()


if __name__ == "__main__":
    main()
