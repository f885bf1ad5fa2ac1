"""Where a workspace keeps its data and state, and how private those are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from waltzrl_tui.errors import StoreError


@dataclass(frozen=True)
class Workspace:
    """A folder with `data/` (the user's files) and `state/` (the store and all that it makes).

    Both are made when first needed. `state/` is 0700 and the files made in it are 0600, because
    datasets of harmful prompts and transcripts are nobody else's business on a shared host.
    """

    home: Path

    @classmethod
    def find(cls, home: str | Path | None = None) -> Workspace:
        """The workspace at `home`, else at `$WALTZRL_HOME`, else in the current folder."""
        chosen = home or os.environ.get("WALTZRL_HOME") or "."
        return cls(Path(chosen).expanduser().resolve())

    @classmethod
    def current(cls) -> Workspace:
        """The workspace that this process works in: the last one used, else `find()`."""
        return _current or cls.find()

    def use(self) -> None:
        """Make this the `current` one: copies and mappings of datasets belong to it."""
        global _current
        _current = self

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def store_path(self) -> Path:
        return self.state / "waltzrl.db"

    @property
    def cache(self) -> Path:
        """Converted weights: `$WALTZRL_CACHE` when set, so that workspaces can share them."""
        shared = os.environ.get("WALTZRL_CACHE")
        return Path(shared).expanduser() if shared else self.state / "cache"

    @property
    def log_path(self) -> Path:
        return self.state / "logs" / "waltzrl.log"

    def job_dir(self, job_id: str) -> Path:
        """The folder of one job: its files, checkpoints, adapter and log."""
        return self.state / "jobs" / job_id

    def to_store(self, path: str | os.PathLike[str]) -> str:
        """A path as the store keeps it: inside the workspace "./…", relative to it.

        So a workspace can be moved, copied and sent. Paths elsewhere, and what is not an absolute
        path, are kept as they are.
        """
        text = os.fspath(path)
        # Not resolved: a link in the workspace to a file elsewhere moves with it.
        place = Path(os.path.normpath(text))
        inside = place.is_relative_to(self.home)
        return f"./{place.relative_to(self.home).as_posix()}" if inside else text

    def from_store(self, text: str) -> str:
        """The path that `to_store` has made `text` of, where it is now."""
        return str(self.home / text[2:]) if text.startswith("./") else text

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            StoreError: The folder cannot be made or is not writable.
        """
        self.use()
        os.umask(0o077)
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.state.mkdir(mode=0o700, exist_ok=True)
            if self.state.stat().st_mode & 0o077:
                self.state.chmod(0o700)
            self.log_path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"{self.home} cannot be used as a workspace: {error.strerror or error}.",
                hint="Choose another folder with --home DIR or WALTZRL_HOME.",
            ) from error


_current: Workspace | None = None


def private_write(path: Path, text: str) -> None:
    """Write `text` to `path` at once (a reader sees the old file or the new one), mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as out:
            part.chmod(0o600)
            out.write(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
