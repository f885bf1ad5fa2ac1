"""How much heavy work (training, sampling) this machine does at once, over all workspaces."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from waltzrl_tui.errors import StoreError
from waltzrl_tui.jobs.locks import Lock, try_hold


def slot_count(cores: int, memory_bytes: int, need_bytes: int) -> int:
    """How many heavy jobs fit on `cores` cores and in `memory_bytes`, each using `need_bytes`.

    One on up to three cores; else one for each two cores, as far as memory reaches; never none.
    """
    if cores <= 3:
        return 1
    fitting = memory_bytes // need_bytes if need_bytes > 0 else cores
    return max(1, min(cores // 2, fitting))


def slots_dir() -> Path:
    """The folder of the slots, made if need be: `$WALTZRL_SLOTS`, else one of this user's own.

    Raises:
        StoreError: It cannot be made, or somebody else could write to it.
    """
    chosen = os.environ.get("WALTZRL_SLOTS")
    # The session's runtime folder would be another one, or none, for a job that outlives the
    # login; the temporary folder is the same for all of them.
    path = Path(chosen or Path(tempfile.gettempdir()) / f"waltzrl-slots-{os.getuid()}")
    hint = "Set WALTZRL_SLOTS to a folder that you own."
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat() if not chosen else path.stat()
    except OSError as error:
        raise StoreError(
            f"{path} cannot be used for slots: {error.strerror or error}.", hint=hint
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise StoreError(f"{path} is not a folder of this user.", hint=hint)
    if status.st_mode & 0o077 and not chosen:
        path.chmod(0o700)
    return path


def try_take_slot(folder: Path, count: int) -> Lock | None:
    """Take one of the `count` slots in `folder` without waiting; None when all are taken.

    The slot is free again when the lock is released or the process ends, however it ends.

    Raises:
        StoreError: The slot files cannot be made or locked.
    """
    for number in range(count):
        lock = try_hold(folder / f"slot-{number}", timeout=0)
        if lock is not None:
            return lock
    return None
