"""A worker that keeps to the rules of one, but only counts steps: `params` says how many."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

from waltzrl_tui.jobs.launch import lock_path
from waltzrl_tui.jobs.locks import try_hold
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import Store, now
from waltzrl_tui.workspace import Workspace


async def work(home: str, job_id: str) -> None:
    workspace = Workspace.find(home)
    (Path(home) / "pids" / str(os.getpid())).touch()
    print(f"cwd={Path.cwd()} policy={os.environ.get('OMP_WAIT_POLICY')} sid={os.getsid(0)}")
    print(f"stdin={sys.stdin.read()!r}", flush=True)
    with try_hold(lock_path(workspace, job_id)) or sys.exit("locked"):
        async with await Store.open(workspace) as store:
            job = await store.jobs.get(job_id)
            if not await store.jobs.move(job_id, "running", from_states={"queued"}):
                return
            # Its checkpoint lies a little behind the last step, as a real one's does.
            step = max(0, job.step - 2)
            while step < int(job.params.get("steps", 1_000_000)):
                step += 1
                await store.jobs.metric(job_id, Metric(step, {"loss": 1.0}, now()))
                if (await store.jobs.get(job_id)).cancel_requested:
                    await store.jobs.move(job_id, "cancelled")
                    return
                await asyncio.sleep(0.01)
            await store.jobs.event(job_id, "done")
            await store.jobs.move(job_id, "succeeded")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--home")
    parser.add_argument("--job")
    options = parser.parse_args()
    asyncio.run(work(options.home, options.job))
