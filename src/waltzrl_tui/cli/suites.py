"""Evaluation prompts: the bundled ones or a file's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from waltzrl_tui.datasets.read import open_dataset
from waltzrl_tui.datasets.rows import BadRow, Row
from waltzrl_tui.datasets.sampling import SampleRecipe, draw
from waltzrl_tui.datasets.starter import STARTER_EVAL, bundled
from waltzrl_tui.local.weights import file_sha256


@dataclass(frozen=True)
class Suite:
    """Prompts with labels.

    Attributes:
        sha256: Of the file.
        rows: The chosen prompts.
        bad: Lines of the file that give no prompt.
    """

    path: Path
    sha256: str
    rows: Sequence[Row]
    bad: Sequence[BadRow]


def load_suite(path: str | None, n: int | None = None, seed: int = 0) -> Suite:
    """The prompts of the file at `path` (the bundled ones without), or a stratified `n` of them.

    Blocks while it reads, so not on the event loop.

    Raises:
        DatasetError: The file cannot be read, or has no usable row.
    """
    chosen = Path(path).expanduser().absolute() if path else bundled(STARTER_EVAL)
    found = list(open_dataset(chosen))
    rows: Sequence[Row] = [row for row in found if isinstance(row, Row)]
    bad = [row for row in found if isinstance(row, BadRow)]
    if n is not None and n < len(rows):
        recipe = SampleRecipe(str(chosen), n=n, seed=seed, dedupe="off", valid=0)
        rows = draw(rows, recipe).train
    return Suite(chosen, file_sha256(chosen), rows, bad)
