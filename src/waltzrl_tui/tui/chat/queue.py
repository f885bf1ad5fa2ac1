"""Prompts of a dataset file, asked one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.workspace import Workspace

_AHEAD: Final = 100


class PromptQueue:
    """The prompts of a file, read ahead a hundred at a time.

    Attributes:
        path: The file.
        bad_lines: Lines without a prompt.
        voted: Prompts that were skipped because there is a vote on them already.
    """

    def __init__(self, path: Path, rows: Iterator[Row | BadRow], voted: frozenset[int]) -> None:
        self.path = path
        self.bad_lines = 0
        self.voted = 0
        self._rows = rows
        self._voted_lines = voted
        self._ahead: deque[Row] = deque()

    @classmethod
    async def open(
        cls, path: Path, workspace: Workspace, voted: frozenset[int] = frozenset()
    ) -> PromptQueue:
        """The prompts of the file at `path`, whatever its format.

        Args:
            voted: Lines that are not asked again.

        Raises:
            DatasetError: It cannot be read, or holds no prompt.
        """
        dataset = await asyncio.to_thread(open_dataset, path, workspace=workspace)
        return cls(path, iter(dataset), voted)

    async def next(self) -> Row | None:
        """The next prompt, or None at the end of the file.

        Raises:
            DatasetError: The file can no longer be read.
        """
        if not self._ahead:
            await asyncio.to_thread(self._read)
        return self._ahead.popleft() if self._ahead else None

    def _read(self) -> None:
        while not self._ahead:
            block = list(islice(self._rows, _AHEAD))
            if not block:
                return
            for row in block:
                if isinstance(row, BadRow):
                    self.bad_lines += 1
                elif row.line in self._voted_lines:
                    self.voted += 1
                else:
                    self._ahead.append(row)
