"""The worker of one job: `python -m waltzrl_tui.local.worker --home DIR --job ID`.

A process of its own session, so that it outlives the app and the connection that started it. It
waits for what its job depends on and for a free slot, works, and writes all that it does into
the store. What kills it loses at most the steps since the last checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import traceback

import psutil

from waltzrl_tui.errors import EngineError, WaltzError
from waltzrl_tui.jobs.launch import lock_path
from waltzrl_tui.jobs.locks import Lock, try_hold
from waltzrl_tui.jobs.training_slots import slot_count, slots_dir, try_take_slot
from waltzrl_tui.local.work import Cancelled, Work, prepare_files, train_agent
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.workspace import Workspace

_POLL_SECONDS = 0.25
_NEED_BYTES = 6_000_000_000  # peak of one training here, with the libraries
# A cancelled job ends within 3 s; a checkpoint that takes longer than this is given up for it.
_GIVE_UP_SECONDS = 2.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="waltzrl_tui.local.worker")
    parser.add_argument("--home", required=True)
    parser.add_argument("--job", required=True)
    args = parser.parse_args()
    workspace = Workspace.find(args.home)
    own = try_hold(lock_path(workspace, args.job), timeout=10.0)
    if own is None:
        return 0
    # The app and the shell go first where they want a core for a moment.
    os.nice(5)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with own:
        return asyncio.run(_work(workspace, args.job))


async def _work(workspace: Workspace, job_id: str) -> int:
    async with await Store.open(workspace) as store:
        job = await store.jobs.get(job_id)
        if job.ended:
            return 0
        work = Work(store, workspace, job)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, work.terminate)
        loop.add_signal_handler(signal.SIGINT, work.terminate)
        try:
            watching = asyncio.create_task(_watch_for_cancel(work))
            try:
                with await _slot(work):
                    await _run(work)
            finally:
                watching.cancel()
        except Cancelled:
            return await _stopped(work)
        except WaltzError as error:
            return await _failed(work, error)
        except OSError as error:
            reason = error.strerror or str(error)
            hint = "See the job's log; free space or rights, then resume it."
            return await _failed(work, EngineError(f"The worker stopped: {reason}.", hint=hint))
        except Exception as error:
            traceback.print_exc()
            hint = "See the job's log; resume the job to continue from its last checkpoint."
            message = f"The worker stopped on an unexpected error: {type(error).__name__}."
            return await _failed(work, EngineError(message, hint=hint))
    return 0


async def _run(work: Work) -> None:
    if not await work.store.jobs.move(
        work.job.id, "running", from_states={"queued"}, reason="loading"
    ):
        raise Cancelled
    await work.store.jobs.event(work.job.id, f"started, process {os.getpid()}")
    if work.job.kind == "rollouts":
        await prepare_files(work)
    else:
        await train_agent(work)


async def _slot(work: Work) -> Lock:
    """Wait until all that the job needs is done and the machine has room for it."""
    folder = await asyncio.to_thread(slots_dir)
    count = slot_count(
        psutil.cpu_count(logical=False) or 1, psutil.virtual_memory().available, _NEED_BYTES
    )
    shown_reason = ""
    while True:
        work.check()
        reason = await _waits_for(work)
        if not reason:
            lock = await asyncio.to_thread(try_take_slot, folder, count)
            if lock is not None:
                return lock
            reason = "waits for a free slot: this machine trains one agent at a time"
            if count > 1:
                reason = f"waits for a free slot: this machine has room for {count}"
        if reason != shown_reason:
            await work.store.jobs.update(work.job.id, reason=reason)
            shown_reason = reason
        await asyncio.sleep(_POLL_SECONDS * 2)


async def _waits_for(work: Work) -> str:
    job, store = work.job, work.store
    for needed in await store.jobs.some(job.depends_on):
        if needed.state in ("failed", "cancelled"):
            raise EngineError(
                f"{needed.id}, which this job needs, was {needed.state}.",
                hint=f"Resume it with `waltzrl-tui jobs resume {needed.id}`.",
            )
        if needed.state != "succeeded":
            return f"waits for {needed.id}"
    for other in await store.jobs.list(ended=False, limit=-1):
        earlier = (other.created_at, other.id) < (job.created_at, job.id)
        if earlier and other.embedded and await _could_run(store, other):
            return f"waits for {other.id}"
    return ""


async def _could_run(store: Store, job: JobRow) -> bool:
    """Whether an older job is in the way: it runs or waits for nothing but a slot itself."""
    if job.state != "queued":
        return False
    return all(needed.state == "succeeded" for needed in await store.jobs.some(job.depends_on))


async def _watch_for_cancel(work: Work) -> None:
    version = -1
    while True:
        latest = await work.store.version()
        if latest != version:
            version = latest
            job = await work.store.jobs.get(work.job.id)
            if job.cancel_requested or job.state == "cancelled":
                work.cancel()
                await asyncio.sleep(_GIVE_UP_SECONDS)
                await _stopped(work)
                sys.stdout.flush()
                os._exit(0)
        await asyncio.sleep(_POLL_SECONDS)


async def _stopped(work: Work) -> int:
    job = await work.store.jobs.get(work.job.id)
    where = f"at step {job.step}" if job.step else "before its first step"
    if work.terminated:
        error = f"The worker was stopped (SIGTERM) {where}. Resume it to continue."
        if await work.store.jobs.move(
            job.id, "failed", from_states={"queued", "running"}, reason="", error=error
        ):
            await work.store.jobs.event(job.id, error, "error")
    elif await work.store.jobs.move(
        job.id, "cancelled", from_states={"queued", "running"}, reason=""
    ):
        await work.store.jobs.event(job.id, f"cancelled {where}; resume continues from there")
    return 0


async def _failed(work: Work, error: WaltzError) -> int:
    if await work.store.jobs.move(
        work.job.id, "failed", from_states={"queued", "running"}, reason="", error=str(error)
    ):
        await work.store.jobs.event(work.job.id, str(error), "error")
    return 1


if __name__ == "__main__":
    sys.exit(main())
