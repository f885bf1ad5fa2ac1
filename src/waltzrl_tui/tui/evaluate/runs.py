"""The list of evaluation runs to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from textual.content import Content
from textual.widgets.option_list import Option

from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.pick import Picker, when


def run_picker(runs: Sequence[RunRow], chosen: int | None) -> Picker:
    """The runs with their pairs, suites and judges, the newest first."""
    now = datetime.now(UTC)
    options = [Option(_line(run, now), str(run.id)) for run in runs]
    return Picker("Runs", options, "" if chosen is None else str(chosen))


def _line(run: RunRow, now: datetime) -> Content:
    spec = RunSpec.model_validate(run.spec)
    pairs = ", ".join(one_line(subject.name, 30) for subject in spec.subjects)
    suites = ", ".join(one_line(suite.name, 30) for suite in spec.suites)
    judges = ", ".join(one_line(judge, 30) for judge in spec.judges)
    return Content.assemble(
        (f"{run.id:>3}  ", "$accent"),
        (f"{one_line(pairs, 100)}\n", "bold"),
        (f"     {run.state} · {when(run.created_at, now)} · {suites} · {judges}", "$faint"),
    )
