"""The process that works on an evaluation run: whether it is active, starting it, its log."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from waltzrl_tui.errors import EngineError
from waltzrl_tui.evaluation.service import lock_path
from waltzrl_tui.jobs.children import child_environment
from waltzrl_tui.jobs.locks import held
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace


def is_active(workspace: Workspace, run_id: int) -> bool:
    """Whether a process is working on the run. Blocks for a moment."""
    return held(lock_path(workspace, run_id))


def start_process(
    workspace: Workspace, run_id: int, keys: Collection[str], on_end: Callable[[int], None]
) -> None:
    """Work on a run in its own process, which outlives the caller. Blocks for a moment.

    Args:
        keys: The variables with its agents' keys; it gets no others.
        on_end: Called in another thread with the exit status of the process.

    Raises:
        EngineError: The process cannot be started.
    """
    log = _log_path(workspace, run_id)
    # -P: files in the workspace must not be taken for Python's modules.
    command = [sys.executable, "-P", "-m", "waltzrl_tui", "--home", str(workspace.home)]
    try:
        output = os.open(log, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                [*command, "evaluate", "--run", str(run_id), "--yes", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=workspace.home,
                env=child_environment(workspace, keys),
                start_new_session=True,
            )
        finally:
            os.close(output)
    except OSError as error:
        raise EngineError(
            f"The evaluation could not be started: {error.strerror or error}.",
            hint="Check the free space on the disk and the free memory.",
        ) from error
    # Something must wait for the process, or it stays in the process table as a zombie.
    threading.Thread(target=lambda: on_end(process.wait()), daemon=True).start()


def last_log_lines(workspace: Workspace, run_id: int) -> str:
    """The end of what the process wrote to its log, on one line. Blocks."""
    try:
        text = _log_path(workspace, run_id).read_text("utf-8", "replace")
    except OSError:
        return ""
    return one_line(text[-600:], 500)


def _log_path(workspace: Workspace, run_id: int) -> Path:
    return workspace.state / "logs" / f"evaluation-{run_id}.log"
