"""Exclusive locks on files that die with the process that holds them. The files stay."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from waltzrl_tui.errors import StoreError

# `held` has to take the lock for a moment to see whether it is free.
_PROBE_SECONDS = 0.25
_PAUSE_SECONDS = 0.02


class Lock:
    """A lock that this process holds on the file `path`, until `release` or its end."""

    def __init__(self, path: Path, file: int) -> None:
        self.path = path
        self._file: int | None = file
        _locks.add(self)

    @property
    def file(self) -> int:
        """The open file: a process that inherits it holds the lock as well.

        Raises:
            ValueError: The lock has been released.
        """
        if self._file is None:
            raise ValueError("the lock has been released")
        return self._file

    def release(self) -> None:
        """Let others have the lock. Releasing twice does nothing."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self.hand_over()

    def hand_over(self) -> None:
        """Leave the lock to the processes that have inherited the file, if there are any."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _forget_locks() -> None:
    # A forked child shares the open file and would keep the lock when its parent dies.
    for lock in list(_locks):
        lock.hand_over()


os.register_at_fork(after_in_child=_forget_locks)


def try_hold(path: Path, *, timeout: float = _PROBE_SECONDS) -> Lock | None:
    """Take the lock on `path`, which is made if need be, within `timeout` seconds or not at all.

    The default is only long enough to outlast somebody's `held`. Blocks the calling thread.

    Raises:
        StoreError: The file cannot be made or locked.
    """
    deadline = time.monotonic() + timeout
    file = _open(path)
    try:
        while not _flock(file, path):
            if time.monotonic() >= deadline:
                os.close(file)
                return None
            time.sleep(_PAUSE_SECONDS)
    except BaseException:
        os.close(file)
        raise
    return Lock(path, file)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[Lock]:
    """Hold the lock on `path` inside; waits for it as long as it takes.

    Raises:
        StoreError: The file cannot be made or locked.
    """
    lock = try_hold(path, timeout=float("inf"))
    assert lock is not None
    with lock:
        yield lock


def held(path: Path) -> bool:
    """Whether any process holds the lock on `path`. A file that is not there is not locked.

    Raises:
        StoreError: The file cannot be opened or locked.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(path, error) from error
    try:
        return not _flock(file, path)
    finally:
        os.close(file)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _failed(path, error) from error


def _flock(file: int, path: Path) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _failed(path, error) from error
    return True


def _failed(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"The lock file {path} cannot be used: {error.strerror or error}.",
        hint="The workspace must be on a writable disk that supports file locks.",
    )
