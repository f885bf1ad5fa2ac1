"""Prompts that agents are evaluated on, to find the rows that leak them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.near.index import NearIndex, text_digest
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.starter import STARTER_EVAL, bundled
from waltzrl_tui.text import normalised

BUNDLED: Final = "starter-eval"
"""Stands for the bundled suite in recipes, because its path differs between machines."""


@dataclass(frozen=True, slots=True)
class SuitePrompt:
    """A normalised prompt of an evaluation suite, and its line there."""

    suite: str
    line: int
    prompt: str


@dataclass(frozen=True)
class References:
    """The distinct prompts of some suites.

    Attributes:
        suites: The number of prompts by name.
    """

    prompts: list[SuitePrompt] = field(default_factory=list)
    suites: dict[str, int] = field(default_factory=dict)

    def put_into(self, index: NearIndex) -> None:
        """Make them the first texts of `index`, in the order of `prompts`."""
        for each in self.prompts:
            index.add(text_digest(each.prompt), each.prompt)


def load_references(suites: Iterable[str | Path], dataset: str | Path = "") -> References:
    """The prompts of the suites `suites`: files, or `BUNDLED`. Reads them whole.

    Args:
        dataset: A suite that is this file is skipped: a file does not contaminate itself.

    Raises:
        DatasetError: A suite cannot be read.
    """
    references = References()
    known: set[str] = set()
    for suite in suites:
        path = suite_path(suite)
        if dataset and _same(path, Path(dataset)):
            continue
        count = 0
        for row in open_dataset(path):
            if isinstance(row, Row):
                count += 1
                prompt = normalised(row.prompt)
                if prompt not in known:
                    known.add(prompt)
                    references.prompts.append(SuitePrompt(path.name, row.line, prompt))
        references.suites[path.name] = count
    return references


def suite_path(suite: str | Path) -> Path:
    """The file of a suite as a recipe names it.

    Raises:
        DatasetError: The installation does not have the bundled suite.
    """
    return bundled(STARTER_EVAL) if suite == BUNDLED else Path(suite).expanduser()


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
