"""What would be trained on a dataset: both roles' files, rendered and counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from waltzrl_tui.datasets.reading.read import Dataset, open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.sampling import (
    GroupCache,
    SampleRecipe,
    draw,
    lines_where,
)
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.plans.model import RoleWorkload, TokenCount, Workload
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.counting import Estimate, TokenCounter
from waltzrl_tui.training_data.rendering import (
    conversation_rows,
    feedback_rows,
    teaches_feedback,
    worth_learning,
)
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.prompts import default_prompt

_PROGRESS_EVERY = 2000
"""Rows between two reports of progress."""


class MeasurementStopped(Exception):
    """The caller's `stop` ended the measurement."""


def measure_workload(
    path: str | Path,
    recipe: SampleRecipe,
    *,
    rows: Sequence[Row | BadRow] | None = None,
    counters: Sequence[TokenCounter] = (),
    cache: GroupCache | None = None,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Workload:
    """Draw the sample, render both roles' files as `data sample` does, and count their tokens.

    Blocks, so not on the event loop. Nothing is written.

    Args:
        recipe: Which rows; its source may differ from `path`, which is read.
        rows: Used in place of the dataset's rows; for recipes without `where`.
        counters: Tokenizers to count with, besides the estimate. The first one gives the figures
            of `RoleWorkload` itself.
        cache: Groups of near prompts of earlier samples of the same rows.
        on_progress: Called with the number of rows read so far.
        stop: Called now and then; once it returns true, the measurement ends.

    Raises:
        DatasetError: The dataset cannot be read, or no role can learn from it.
        UsageError: The recipe's `where` cannot be parsed.
        MeasurementStopped: `stop` returned true.
    """
    dataset = open_dataset(path) if rows is None else rows
    watched = _WatchedRows(dataset, on_progress, stop)
    # Only a dataset can look up which of its lines match a condition.
    lines = lines_where(dataset, recipe.where, stop=stop) if isinstance(dataset, Dataset) else None
    watched.check()
    sample = draw(watched, recipe, lines=lines, cache=cache)
    both = [*sample.train, *sample.valid]
    roles: dict[Role, RoleWorkload] = {}
    misordered = 0
    for role in ROLES:
        train, valid = (render_rows(role, rows) for rows in (sample.train, sample.valid))
        misordered += sum(not roles_alternate(row) for row in (*train, *valid))
        if train or valid:
            roles[role] = measure_role(train, valid, counters, watched.check)
    if not roles:
        raise DatasetError(
            f"No agent can learn from {one_line(Path(path).name)}: its rows have no replies.",
            hint='Give rows with "prompt", "reply" and "harm" ("harmful" or "benign").',
        )
    return Workload(
        roles,
        Path(path).name,
        rows=len(both),
        empty_replies=watched.empty_replies,
        unlabelled=sum(
            bool(row.reply) and worth_learning(row) and not teaches_feedback(row) for row in both
        ),
        misordered=misordered,
        contradicting=sample.contradicting,
    )


class _WatchedRows:
    """Rows that report progress, count empty replies, and end when the caller stops."""

    def __init__(
        self,
        rows: Iterable[Row | BadRow],
        on_progress: Callable[[int], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        self._rows = rows
        self._on_progress = on_progress
        self._stop = stop
        self._passes = 0
        self.empty_replies = 0

    def __iter__(self) -> Iterator[Row | BadRow]:
        self._passes += 1
        for number, row in enumerate(self._rows, 1):
            if self._passes == 1 and isinstance(row, BadRow):
                self.empty_replies += row.kind == "empty_reply"
            if number % _PROGRESS_EVERY == 0:
                self.check()
                if self._on_progress:
                    self._on_progress(number)
            yield row

    def check(self) -> None:
        if self._stop and self._stop():
            raise MeasurementStopped


def render_rows(role: Role, rows: Sequence[Row]) -> list[TrainingRow]:
    """The training rows of this role's agent, for supervised fine-tuning."""
    version = default_prompt(role)
    answered = [row for row in rows if row.reply]
    if role == "conversation":
        return conversation_rows(answered, {}, version, revisions=0.0)
    return feedback_rows([row for row in answered if teaches_feedback(row)], {}, version)


def measure_role(
    train: Sequence[TrainingRow],
    valid: Sequence[TrainingRow],
    counters: Sequence[TokenCounter],
    check: Callable[[], None] = lambda: None,
) -> RoleWorkload:
    """Measure one role's file; `check` is called before each pass over it."""
    counts = {}
    used: list[TokenCounter] = [*counters, Estimate()]
    for counter in used:
        check()
        lengths = counter.count([row.messages for row in train])
        held_out = counter.count([row.messages for row in valid])
        counts[counter.name] = TokenCount(
            sum(lengths), sum(held_out), max((*lengths, *held_out), default=0)
        )
    first = used[0]
    count = counts[first.name]
    return RoleWorkload(
        rows=len(train),
        valid_rows=len(valid),
        tokens=count.tokens,
        valid_tokens=count.valid_tokens,
        longest=count.longest,
        bytes=sum(len(json.dumps(asdict(row), ensure_ascii=False).encode()) + 1 for row in train),
        exact=first.exact,
        tokenizer=first.name,
        error=first.error,
        counts={name: count for name, count in counts.items() if name != "estimate"},
    )


def roles_alternate(row: TrainingRow) -> bool:
    """Whether turns are in the order that providers require: system, then user and assistant."""
    roles = [turn["role"] for turn in row.messages]
    if roles and roles[0] == "system":
        roles = roles[1:]
    pairs = ["user", "assistant"] * (len(roles) // 2)
    return bool(roles) and roles == pairs
