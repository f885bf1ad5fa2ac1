"""JSONL copies of datasets in other formats: made once per workspace, readable as they grow.

A thread writes a copy into a hidden file and renames it when it is complete, so that a file with
its final name is always whole. The name is derived from the source (path, size, time), so that a
changed dataset gets a new copy.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from waltzrl_tui.datasets.reading.formats import Format
from waltzrl_tui.datasets.reading.to_jsonl import jsonl_lines
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

_VERSION = "3"
"""Raise it when `to_jsonl` writes something else than before."""
_FIRST_WRITE, _LARGEST_WRITE = 4 * 1024, 256 * 1024
_WAIT_SECONDS = 0.02
_YOUNG_SECONDS = 60
_UNUSED_SECONDS = 30 * 24 * 3600

# Process-wide on purpose: whoever opens a dataset while its copy grows must share that copy.
_lock = threading.Lock()
_growing: dict[Path, Copy] = {}


class Copy:
    """The JSONL copy of one dataset. Safe to use from several threads."""

    def __init__(self, source: Path, form: Format, target: Path) -> None:
        self.path = target
        """Its path once it is complete."""
        self.error: DatasetError | None = None
        self._source = source
        self._form = form
        self._part = target.with_name(f".{target.stem}.{os.getpid()}.{time.monotonic_ns()}.part")
        self._size = max(1, source.stat().st_size)
        self._read = 0
        self._done = threading.Event()
        self._begun = threading.Event()

    @classmethod
    def complete(cls, source: Path, form: Format, target: Path) -> Self:
        """A copy that exists already."""
        copy = cls(source, form, target)
        copy._begun.set()
        copy._done.set()
        with suppress(OSError):
            os.utime(target)  # `_tidy` deletes by this time
        return copy

    @property
    def done(self) -> bool:
        """Whether it is complete or failed."""
        return self._done.is_set()

    @property
    def progress(self) -> float:
        """Share of the source that was read, 0 to 1."""
        return 1.0 if self.done else min(1.0, self._read / self._size)

    def pause(self) -> None:
        """Wait a moment for it to grow; return at once when it is done."""
        self._done.wait(_WAIT_SECONDS)

    def wait(self) -> Path:
        """Wait until it is complete and return its path.

        Raises:
            DatasetError: It could not be completed.
        """
        self._done.wait()
        if self.error:
            raise self.error
        return self.path

    def open(self) -> io.FileIO:
        """The bytes written so far; for `follow` and the index.

        Raises:
            DatasetError: It could not be started, or was deleted.
        """
        self._begun.wait()
        for path in (self._part, self.path):
            with suppress(FileNotFoundError):
                return io.FileIO(path)
        raise self.error or DatasetError(
            f"The copy of {one_line(str(self._source))} no longer exists.",
            hint="Open the dataset again.",
        )

    def start(self) -> None:
        threading.Thread(target=self._make, name="dataset-copy", daemon=True).start()

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _tidy(self.path)
            self._write()
            self._part.replace(self.path)
        except DatasetError as error:
            self.error = error
        except OSError as error:
            self.error = self._failure(error)
        except Exception as error:
            # Whatever fails here, readers must not wait forever.
            self.error = DatasetError(
                f"{one_line(str(self._source))} cannot be read: "
                f"{type(error).__name__}: {one_line(str(error), 120)}."
            )
        finally:
            with _lock:
                _growing.pop(self.path, None)
            self._done.set()
            self._begun.set()
            self._part.unlink(missing_ok=True)

    def _write(self) -> None:
        private = os.open(self._part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(private, "wb") as out:
            fcntl.flock(out, fcntl.LOCK_EX)  # marks a copy whose process is alive
            self._begun.set()
            pending: list[bytes] = []
            size, enough = 0, _FIRST_WRITE
            for line in jsonl_lines(self._source, self._form, self._on_progress, self.path.parent):
                pending.append(line)
                size += len(line)
                if size >= enough:
                    out.write(b"\n".join([*pending, b""]))
                    out.flush()
                    pending.clear()
                    size, enough = 0, min(_LARGEST_WRITE, enough * 2)
            out.write(b"\n".join([*pending, b""]))

    def _on_progress(self, read: int) -> None:
        self._read = read

    def _failure(self, error: OSError) -> DatasetError:
        name = one_line(str(self._source))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return DatasetError(
                f"Not enough space for a readable copy of {name} in {self.path.parent}.",
                hint="Free some space, or choose another workspace with --home DIR.",
            )
        return DatasetError(
            f"{name} cannot be read or copied to {self.path.parent}: "
            f"{error.strerror or one_line(str(error), 120)}.",
            hint="Check the permissions of both, or choose another workspace with --home DIR.",
        )


class _Followed(io.RawIOBase):
    def __init__(self, copy: Copy) -> None:
        self._copy = copy
        self._file = copy.open()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            done = self._copy.done
            read = self._file.readinto(buffer)
            if read or done:
                if not read and self._copy.error:
                    raise self._copy.error
                return read or 0
            self._copy.pause()

    def close(self) -> None:
        self._file.close()
        super().close()


def follow(copy: Copy) -> io.BufferedReader:
    """The bytes of a copy from its start; reading waits for it to grow.

    Reading raises DatasetError at the end of a copy that could not be completed.
    """
    return io.BufferedReader(_Followed(copy), 64 * 1024)


def copy_of(source: Path, form: Format, folder: Path) -> Copy:
    """The copy of `source` in `folder`, started when there is none. Blocks only for a moment.

    Raises:
        OSError: `source` cannot be inspected.
    """
    target = folder / _name(source, form)
    with _lock:
        if copy := _growing.get(target):
            return copy
        if target.is_file():
            return Copy.complete(source, form, target)
        copy = _growing[target] = Copy(source, form, target)
        copy.start()
        return copy


def has_copy(source: Path, form: Format, folder: Path) -> bool:
    """Whether a complete copy is there already."""
    return (folder / _name(source, form)).is_file()


def _name(source: Path, form: Format) -> str:
    state = source.stat()
    parts = (str(state.st_size), str(state.st_mtime_ns), form.name, form.delimiter, _VERSION)
    return f"{_hash(os.path.realpath(source))}-{_hash(*parts)}.jsonl"


def _hash(*parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:20]


def _tidy(target: Path) -> None:
    """Delete copies of earlier versions of the file, unused ones, and those of dead processes."""
    same = target.name.partition("-")[0]
    for path in target.parent.iterdir():
        with suppress(OSError):
            age = time.time() - path.stat().st_mtime
            if path.suffix == ".part" and age > _YOUNG_SECONDS:
                with path.open("rb") as part:
                    fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            elif path.suffix == ".jsonl" and (
                path.name.startswith(f"{same}-") or age > _UNUSED_SECONDS
            ):
                path.unlink()
