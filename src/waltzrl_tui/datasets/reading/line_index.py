"""An index of a file's lines, so that any page can be shown at once.

Only the number of line ends in each chunk of 64 KiB is kept: 8 bytes per chunk. Counting runs at
memory speed, and a page costs one chunk more than its bytes. The first page needs no count.
"""

from __future__ import annotations

import codecs
import os
import stat
import threading
from array import array
from bisect import bisect_left
from pathlib import Path

from waltzrl_tui.datasets.reading.formats import unreadable
from waltzrl_tui.datasets.reading.jsonl_cache import Copy
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

CHUNK = 64 * 1024
_BLOCK = 16 * CHUNK
SHOWN = 64 * 1024
"""The most bytes of a line that `page` returns."""


class LineIndex:
    """The lines of one file by number, from 0; usable while it is being built.

    Lines end with "\\n" (a "\\r" before it is removed too); blank lines count. `start` counts in
    its own thread; meanwhile `rows` grows, and pages of known lines can be read. Safe to use from
    several threads.

    Args:
        path: As the user gave it.
        copy: Its JSONL copy, whose lines are indexed instead; it may still be growing.

    Raises:
        DatasetError: The file cannot be opened.
    """

    def __init__(self, path: str | Path, copy: Copy | None = None) -> None:
        self.path = Path(path)
        self._copy = copy
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._ends = array("Q")  # line ends up to and including each chunk
        self._scanned = 0
        self._tail = False  # bytes after the last line end
        self._done = False
        self.error = ""  # Why counting ended early, for the user.
        try:
            if copy is not None:
                with copy.open() as lines:
                    self._file = os.dup(lines.fileno())
                self._opened = self.path.stat()
            else:
                # Without blocking: opening a pipe would wait for its writer.
                self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                self._opened = os.fstat(self._file)
        except OSError as error:
            raise unreadable(self.path, error) from error

        if not stat.S_ISREG(self._opened.st_mode):
            os.close(self._file)
            raise DatasetError(
                f"{one_line(str(self.path))} is not a regular file.", hint="Name one JSONL file."
            )

    @property
    def rows(self) -> int:
        """Lines known so far; all of them once `done`."""
        with self._lock:
            return self._known()

    @property
    def done(self) -> bool:
        return self._done

    @property
    def progress(self) -> float:
        """Share of the file that was counted, 0 to 1."""
        if self._done:
            return 1.0
        if self._copy is not None and not self._copy.done:
            return self._copy.progress
        return min(1.0, self._scanned / max(1, os.fstat(self._file).st_size))

    def start(self) -> None:
        """Count the lines in a thread; `wait` for it, or watch `rows` and `done`."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self.build, name="line-index", daemon=True)
            self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all lines are counted, at most `timeout` seconds; whether they are."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._done

    def build(self) -> None:
        """Count all lines, in the calling thread. `close` ends it early."""
        buffer = bytearray(_BLOCK)
        view = memoryview(buffer)
        while not self._closed.is_set():
            whole = self._copy is None or self._copy.done
            try:
                read = os.preadv(self._file, [view], self._scanned)
            except OSError as error:
                self.error = f"counting stopped: {error.strerror or error}"
                self._done = True
                return
            # Every chunk but the last one must be whole, also after a short read.
            used = read if read < CHUNK and whole else read - read % CHUNK
            if not used and not whole and self._copy is not None:
                self._copy.pause()
                continue
            counts = [
                buffer.count(b"\n", begin, min(begin + CHUNK, used))
                for begin in range(0, used, CHUNK)
            ]
            with self._lock:
                for count in counts:
                    self._ends.append((self._ends[-1] if self._ends else 0) + count)
                self._scanned += used
                if used:
                    self._tail = buffer[used - 1] != 0x0A
                if whole and (used % CHUNK or not used):
                    if self._copy is not None and self._copy.error is not None:
                        self.error = self._copy.error.message
                    self._done = True
                    return

    def changed(self) -> bool:
        """Whether the file differs from what was counted, so that it needs a new index.

        A file that was replaced or deleted stays readable here in its old state.
        """
        try:
            now = self.path.stat()
        except OSError:
            return True
        old = self._opened
        return (now.st_ino, now.st_dev, now.st_mtime_ns) != (
            old.st_ino,
            old.st_dev,
            old.st_mtime_ns,
        ) or (self._done and self._copy is None and now.st_size != self._scanned)

    def page(self, first: int, count: int, *, limit: int = SHOWN) -> list[bytes]:
        """Lines `first` to `first + count - 1` without their ends, fewer at the end of the file.

        Args:
            limit: Bytes; a longer line is cut to it.
        """
        with self._lock:
            if self._closed.is_set() or first < 0:
                return []
            begin = self._begin(first)
            if begin is None:
                return []
            return self._read(first, begin, count, limit)

    def line(self, number: int, *, limit: int = 8 * 1024 * 1024) -> bytes | None:
        """One line, cut to `limit` bytes; None when it does not exist or is not known yet."""
        lines = self.page(number, 1, limit=limit)
        return lines[0] if lines else None

    def close(self) -> None:
        """Stop counting and close the file."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            os.close(self._file)

    def __enter__(self) -> LineIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _known(self) -> int:
        ends = self._ends[-1] if self._ends else 0
        return ends + (1 if self._done and self._tail else 0)

    def _begin(self, number: int) -> int | None:
        """Offset of the first byte of a line, or None when it is not known (yet)."""
        if number == 0:
            return 0
        chunk = bisect_left(self._ends, number)
        if chunk == len(self._ends):
            return None
        before = self._ends[chunk - 1] if chunk else 0
        block = os.pread(self._file, CHUNK, chunk * CHUNK)
        pieces = block.split(b"\n", number - before)
        if len(pieces) <= number - before:
            return None  # The file was truncated meanwhile.
        return chunk * CHUNK + len(block) - len(pieces[-1])

    def _read(self, first: int, begin: int, count: int, limit: int) -> list[bytes]:
        lines: list[bytes] = []
        window, base = b"", begin
        at = begin
        while len(lines) < count:
            end = window.find(b"\n", at - base)
            if end < 0:
                window, base = os.pread(self._file, max(CHUNK, limit + 1), at), at
                if not window:
                    break
                end = window.find(b"\n")
            if end >= 0:
                line = window[at - base : end]
                at = base + end + 1
            else:
                line = window
                after = self._after(first + len(lines), at + len(window))
                at = after if after is not None else -1
            if not lines and first == 0:
                line = line.removeprefix(codecs.BOM_UTF8)
            lines.append(line[:limit].removesuffix(b"\r"))
            if at < 0:
                break
        return lines

    def _after(self, number: int, searched: int) -> int | None:
        """Where the line after the long line `number` begins; None when it is the last one."""
        known = self._begin(number + 1)
        if known is not None:
            return known
        while block := os.pread(self._file, _BLOCK, searched):
            end = block.find(b"\n")
            if end >= 0:
                return searched + end + 1
            searched += len(block)
        return None
