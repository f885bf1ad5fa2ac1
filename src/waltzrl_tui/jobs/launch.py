"""Starting a job's worker: a process of its own session, which outlives the one that starts it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

from waltzrl_tui.errors import EngineError
from waltzrl_tui.jobs.children import child_environment
from waltzrl_tui.jobs.locks import Lock, held, try_hold
from waltzrl_tui.workspace import Workspace

_WORKER = "waltzrl_tui.local.worker"
_STOPPING_SECONDS = 10.0


def lock_path(workspace: Workspace, job_id: str) -> Path:
    """The file that a job's worker locks as long as it works on the job."""
    return workspace.job_dir(job_id) / "lock"


def log_path(workspace: Workspace, job_id: str) -> Path:
    """Where the worker's output goes."""
    return workspace.job_dir(job_id) / "worker.log"


def worker_alive(workspace: Workspace, job_id: str) -> bool:
    """Whether a worker of the job runs, or is just starting.

    Raises:
        StoreError: The job's lock files cannot be read.
    """
    return held(_spawned_path(workspace, job_id)) or held(lock_path(workspace, job_id))


def spawn_worker(workspace: Workspace, job_id: str) -> None:
    """Start the worker of a job and return. A worker that is still ending is waited for, 10 s.

    Blocks the calling thread: from the event loop use `launch`.

    Raises:
        EngineError: The process cannot be started, or another worker has the job.
        StoreError: The job's folder cannot be written.
    """
    # The child inherits this lock: the job has a live worker from now until the child's end,
    # without a gap in which the worker starts and has not yet taken the lock of its own.
    spawned = try_hold(_spawned_path(workspace, job_id), timeout=_STOPPING_SECONDS)
    working = try_hold(lock_path(workspace, job_id), timeout=_STOPPING_SECONDS) if spawned else None
    if spawned is None or working is None:
        if spawned is not None:
            spawned.release()
        raise EngineError(
            f"A worker of the job {job_id} is already running.",
            hint="Wait for it to end, or cancel the job.",
        )
    working.release()
    try:
        process = _start(workspace, job_id, spawned)
    except OSError as error:
        spawned.release()
        raise EngineError(
            f"The worker of the job {job_id} could not be started: {error.strerror or error}.",
            hint="Free disk space or memory, then resume it.",
        ) from error
    spawned.hand_over()
    # Somebody has to take note of its end, or it stays in the process table as a zombie.
    threading.Thread(target=process.wait, name=f"reap {job_id}", daemon=True).start()


async def launch(workspace: Workspace, job_id: str) -> None:
    """`spawn_worker` off the event loop."""
    await asyncio.to_thread(spawn_worker, workspace, job_id)


def _start(workspace: Workspace, job_id: str, spawned: Lock) -> subprocess.Popen[bytes]:
    log = os.open(
        log_path(workspace, job_id),
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC,
        0o600,
    )
    try:
        return subprocess.Popen(
            # -P: files in the workspace must not be taken for Python's modules.
            [sys.executable, "-P", "-m", _WORKER, "--home", str(workspace.home), "--job", job_id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=workspace.home,
            env=_environment(workspace),
            start_new_session=True,
            pass_fds=(spawned.file,),
        )
    finally:
        os.close(log)


def _environment(workspace: Workspace) -> dict[str, str]:
    environment = child_environment(workspace)
    # Idle threads of the numeric libraries would spin on the cores that the app needs.
    environment["OMP_WAIT_POLICY"] = "PASSIVE"
    return environment


def _spawned_path(workspace: Workspace, job_id: str) -> Path:
    return workspace.job_dir(job_id) / "spawned"
