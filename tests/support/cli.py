"""What the tests of the command line share."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

import waltzrl_tui
from waltzrl_tui.cli import main
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that stdout must hold, with nothing before or after it."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """The command line on a workspace, in this process or in one of its own."""

    home: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Ended:
        code = main(["--home", str(self.home), *map(str, arguments)])
        printed = self.capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "waltzrl_tui", *map(str, arguments)],
            env=environment(self.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def store(self, work: Callable[[Store], Awaitable[T]]) -> T:
        """What `work` does with the workspace's store."""

        async def run() -> T:
            async with await Store.open(Workspace.find(self.home)) as store:
                return await work(store)

        return asyncio.run(run())


def environment(home: Path) -> dict[str, str]:
    source = Path(waltzrl_tui.__file__).parents[1]
    return {**os.environ, "PYTHONPATH": str(source), "WALTZRL_HOME": str(home)}


def verdict(*, unsafe: bool = False, overrefuse: bool = False, feedback: str = "") -> str:
    return json.dumps(
        {"reasoning": "r", "unsafe": unsafe, "overrefuse": overrefuse, "feedback": feedback}
    )
