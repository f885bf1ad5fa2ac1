"""A child process in a pseudo-terminal that answers nothing, and what it costs."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
_TICKS = os.sysconf("SC_CLK_TCK")


def installed(cache: str) -> dict[str, str]:
    """An environment in which modules are compiled once (into `cache`), as after an install."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONDONTWRITEBYTECODE" and not name.startswith(("TEXTUAL", "SSH_"))
    }
    known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPYCACHEPREFIX": cache}
    return kept | known


class Terminal:
    """Runs a command in a terminal of that size; killed at the end of the `with` block."""

    def __init__(
        self, command: Sequence[str], *, columns: int, rows: int, environment: Mapping[str, str]
    ) -> None:
        self._began = time.monotonic()
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], list(command), dict(environment))
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._file)

    def write(self, keys: bytes) -> None:
        os.write(self._file, keys)

    def read_until(self, *texts: bytes, timeout: float = 60) -> float:
        """Read until all of `texts` were written; the seconds since the start of the child."""
        seen = b""
        while not all(text in seen for text in texts):
            if time.monotonic() - self._began > timeout:
                raise TimeoutError(f"{texts} not seen within {timeout} s; the end: {seen[-400:]!r}")
            seen += _ESCAPES.sub(b"", self._read(0.02))
        return time.monotonic() - self._began

    def read_for(self, seconds: float) -> int:
        """Read for so long; the bytes that came."""
        end = time.monotonic() + seconds
        count = 0
        while (left := end - time.monotonic()) > 0:
            count += len(self._read(min(left, 0.2)))
        return count

    def cpu_seconds(self) -> float:
        """User and system time of the child so far, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory_bytes(self) -> int:
        """The most memory that the child has held."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._file], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self._file, 1 << 16)
        except OSError:
            raise RuntimeError("the child ended") from None
