"""What SQLite says when it fails, as errors that tell the user what to do next."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from waltzrl_tui.errors import StoreError
from waltzrl_tui.text import one_line

_RESTORE = (
    "Move it away and start again; any backups (*.bak) are beside it, "
    "and the adapters and logs under jobs/ are untouched."
)
_FULL = "Free some space on that disk and try again; nothing that was saved before is lost."
_LOCKED = "Another process is writing to it. Wait for it to finish, or stop it, and try again."
_READ_ONLY = "Make the folder and the file writable, or choose another folder with --home DIR."
_CANNOT_OPEN = "Check that the folder exists and is yours, or choose another with --home DIR."
_DISK = "Check that the disk is healthy and not full, then try again."

# Primary result codes: extended ones carry them in their low byte.
_KNOWN: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("cannot be written: the disk is full", _FULL),
    sqlite3.SQLITE_BUSY: ("is locked by another process", _LOCKED),
    sqlite3.SQLITE_LOCKED: ("is locked by another process", _LOCKED),
    sqlite3.SQLITE_PROTOCOL: ("is locked by another process", _LOCKED),
    sqlite3.SQLITE_READONLY: ("is read-only", _READ_ONLY),
    sqlite3.SQLITE_PERM: ("is read-only", _READ_ONLY),
    sqlite3.SQLITE_CORRUPT: ("is damaged", _RESTORE),
    sqlite3.SQLITE_NOTADB: ("is not a database", _RESTORE),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened", _CANNOT_OPEN),
    sqlite3.SQLITE_IOERR: ("cannot be read or written", _DISK),
}


def store_error(error: sqlite3.Error, path: Path) -> StoreError:
    """`error`, which SQLite raised for the store at `path`, in words for the user."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    what, hint = _KNOWN.get(code & 0xFF, ("could not complete the request", ""))
    return StoreError(f"The store {path} {what} ({one_line(str(error))}).", hint=hint)


def closed_error(path: Path) -> StoreError:
    return StoreError(f"The store {path} has been closed.", hint="Open the workspace again.")
