"""Several processes on one store, and processes that are killed while they write."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import waltzrl_tui
from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.workspace import Workspace

JOB = "k3f-conv"

_PRELUDE = """
import asyncio, sys
from waltzrl_tui.store import Store, now
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.workspace import Workspace

async def main(store):
{body}

async def run():
    async with await Store.open(Workspace.find(sys.argv[1])) as store:
        await main(store)

asyncio.run(run())
"""

# Three writes that belong together, again and again, each time announced once committed.
WRITER = """
    number = (await store.jobs.get("k3f-conv")).step
    while True:
        number += 1
        async with store.transaction():
            await store.jobs.event("k3f-conv", str(number))
            await store.jobs.metric("k3f-conv", Metric(number, {"loss": 1.0}, now()))
            await store.jobs.update("k3f-conv", total_steps=number)
        print(number, flush=True)
"""

STUCK = """
    async with store.transaction():
        await store.jobs.update("k3f-conv", reason="half")
        print("inside", flush=True)
        await asyncio.sleep(60)
"""

TAKER = """
    won = 0
    for number in range(60):
        won += await store.jobs.move(f"j{number}", "running", from_states={"queued"})
    print(won)
"""

OPENER = """
    await store.transcripts.create("pair")
    print("made")
"""


def start(workspace: Workspace, body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _PRELUDE.format(body=body), str(workspace.home)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(waltzrl_tui.__file__).parents[1])},
    )


def integrity(workspace: Workspace) -> str:
    with contextlib.closing(sqlite3.connect(workspace.store_path)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])


async def add(workspace: Workspace, *ids: str) -> None:
    async with await Store.open(workspace) as store:
        await store.jobs.add_all(
            [NewJob(id, "train", "conversation", "base", state="queued") for id in ids]
        )


async def test_a_writer_killed_at_any_moment_leaves_a_whole_store(workspace: Workspace) -> None:
    await add(workspace, JOB)
    for _ in range(4):
        writer = start(workspace, WRITER)
        assert writer.stdout is not None
        writer.stdout.readline()
        await asyncio.sleep(random.uniform(0.02, 0.3))
        writer.send_signal(signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().split()]
        writer.stdout.close()
        assert writer.wait() == -signal.SIGKILL
        assert said, "it was killed before it wrote anything"
        async with await Store.open(workspace) as store:
            job = await store.jobs.get(JOB)
            steps = list(range(1, job.step + 1))
            assert job.total_steps == job.step >= said[-1]
            assert [row.step for row in await store.jobs.metrics(JOB)] == steps
            events = await store.jobs.events(JOB, limit=-1)
            assert [event.text for event in events] == [str(step) for step in steps]
        assert integrity(workspace) == "ok"


async def test_a_transaction_dies_with_its_process(workspace: Workspace) -> None:
    await add(workspace, JOB)
    stuck = start(workspace, STUCK)
    assert stuck.stdout is not None
    assert stuck.stdout.readline() == "inside\n"
    stuck.kill()
    stuck.communicate()
    async with await Store.open(workspace) as store:
        await store.jobs.event(JOB, "free")
        assert (await store.jobs.get(JOB)).reason == ""
    assert integrity(workspace) == "ok"


async def test_a_locked_store_says_so(workspace: Workspace) -> None:
    await add(workspace, JOB)
    async with await Store.open(workspace) as store:
        await store._database.read(lambda c: c.execute("PRAGMA busy_timeout = 50").fetchone())
        stuck = start(workspace, STUCK)
        assert stuck.stdout is not None
        stuck.stdout.readline()
        try:
            # Readers do not wait for a writer, and see what was there before.
            assert (await store.jobs.get(JOB)).reason == ""
            with pytest.raises(StoreError, match=r"locked by another process.*Wait for it"):
                await store.jobs.event(JOB, "x")
        finally:
            stuck.kill()
            stuck.communicate()
        await store.jobs.event(JOB, "after")


async def test_processes_racing_for_jobs_win_each_of_them_once(workspace: Workspace) -> None:
    await add(workspace, *(f"j{number}" for number in range(60)))
    takers = [start(workspace, TAKER) for _ in range(3)]
    won = [int(taker.communicate(timeout=60)[0]) for taker in takers]
    assert sum(won) == 60


async def test_processes_may_create_the_store_at_the_same_time(workspace: Workspace) -> None:
    openers = [start(workspace, OPENER) for _ in range(4)]
    assert [opener.communicate(timeout=60)[0] for opener in openers] == ["made\n"] * 4
    async with await Store.open(workspace) as store:
        assert len(await store.transcripts.list()) == 4
    assert not list(workspace.state.glob("*.bak"))


def test_a_process_that_never_closes_the_store_still_ends(workspace: Workspace) -> None:
    program = (
        "import asyncio, sys\n"
        "from waltzrl_tui.store import Store\n"
        "from waltzrl_tui.workspace import Workspace\n"
        "store = asyncio.run(Store.open(Workspace.find(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(workspace.home)],
        env=os.environ | {"PYTHONPATH": str(Path(waltzrl_tui.__file__).parents[1])},
        timeout=30,
    )
    assert done.returncode == 0
