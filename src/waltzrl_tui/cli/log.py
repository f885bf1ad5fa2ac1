"""The log file, for what does not belong on the terminal."""

from __future__ import annotations

import logging
import os
import traceback
from datetime import UTC, datetime
from pathlib import Path

from waltzrl_tui.workspace import Workspace


def note_crash(home: str | None) -> Path | None:
    """Write the current exception to the log and return its path; None if that fails."""
    workspace = Workspace.find(home)
    return workspace.log_path if _append(workspace, traceback.format_exc()) else None


class LogFile(logging.Handler):
    """Sends what libraries log (warnings and worse) to the workspace's log file.

    Without a handler, Python prints it on stderr, between the lines meant for the user.
    """

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(logging.WARNING)
        self._workspace = workspace

    def emit(self, record: logging.LogRecord) -> None:
        _append(self._workspace, self.format(record))


def _append(workspace: Workspace, text: str) -> bool:
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    path = workspace.log_path
    try:
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{at} {text.rstrip()}\n")
    except OSError:
        return False
    return True
