"""Streams a training file, with progress; it is never in memory as a whole."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Final

from waltzrl_tui.providers.protocol import Progress

_PIECE_BYTES: Final = 1 << 18


def sent_file(path: Path, progress: Progress) -> io.BufferedReader:
    """The file opened for an SDK; `progress` is called on the running loop as it is read.

    Raises:
        OSError: It cannot be opened.
    """
    raw = _Told(path, progress, asyncio.get_running_loop())
    return io.BufferedReader(raw, _PIECE_BYTES)


class _Told(io.FileIO):
    def __init__(self, path: Path, progress: Progress, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(path)
        self._progress, self._loop = progress, loop
        self._whole = path.stat().st_size

    def readinto(self, buffer: object, /) -> int | None:
        got = super().readinto(buffer)  # type: ignore[arg-type]
        self._tell()
        return got

    def readall(self) -> bytes:
        # The buffer above asks for this when its reader wants everything at once.
        content = super().readall()
        self._tell()
        return content

    def _tell(self) -> None:
        # An SDK may read in a thread of its own.
        asyncio.run_coroutine_threadsafe(self._say(self.tell()), self._loop)

    async def _say(self, sent: int) -> None:
        await self._progress(sent, self._whole)
