"""Evaluation prompts: the bundled ones, a file's, or a stratified sample of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe, draw
from waltzrl_tui.datasets.starter import STARTER_EVAL, bundled
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import one_line

BUNDLED: Final = "bundled"
"""The name of the bundled prompts."""

_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Suite:
    """Prompts with labels.

    Attributes:
        name: Shown in reports: the file name without its extension.
        sha256: Of the file.
        rows: The chosen prompts.
        bad: Bad rows of the file.
    """

    path: Path
    name: str
    sha256: str
    rows: Sequence[Row]
    bad: Sequence[BadRow]


def load_suite(path: str | None, n: int | None = None, seed: int = 0) -> Suite:
    """The prompts of the file at `path`, by default the bundled ones, or a stratified `n` of them.

    Blocks while it reads.

    Raises:
        DatasetError: The file cannot be read, has no usable row, or one without a label.
    """
    is_bundled = not path or path == BUNDLED
    chosen = bundled(STARTER_EVAL) if is_bundled else Path(str(path)).expanduser().absolute()
    records = list(open_dataset(chosen))
    rows: Sequence[Row] = [row for row in records if isinstance(row, Row)]
    bad = [row for row in records if isinstance(row, BadRow)]
    _check(chosen, rows)
    if n is not None and n < len(rows):
        recipe = SampleRecipe(str(chosen), n=n, seed=seed, dedupe="off", valid=0)
        rows = draw(rows, recipe).train
    with chosen.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Suite(
        path=chosen,
        name=BUNDLED if is_bundled else _name(chosen),
        sha256=sha256,
        rows=rows,
        bad=bad,
    )


def _name(path: Path) -> str:
    return _NAME.sub("-", path.name.partition(".")[0])[:40] or "suite"


def _check(path: Path, rows: Sequence[Row]) -> None:
    unlabelled = [row for row in rows if not row.harm]
    if unlabelled:
        raise DatasetError(
            f"Prompts of {one_line(path.name)} without a label, harmful or benign: "
            f"{len(unlabelled):,} of {len(rows):,}, the first on line {unlabelled[0].line}: "
            f"“{one_line(unlabelled[0].prompt, 60)}”.",
            hint='Give every prompt a field "harm" with "harmful" or "benign". If all have the '
            f"same label: waltzrl-tui data profile {one_line(str(path))} --map harm==harmful",
        )
