"""The worker as it runs on a rented machine: its rows, its settings, what it refuses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from waltzrl_tui.errors import EngineError, UsageError
from waltzrl_tui.local import remote_worker as shipped
from waltzrl_tui.local.recipe import FULL
from waltzrl_tui.local.remote_worker import Rows, settings_of
from waltzrl_tui.local.training import Note, TrainingStep
from waltzrl_tui.providers.worker_code import REQUIREMENTS
from waltzrl_tui.providers.worker_rows import read

_JOB = {"role": "feedback", "epochs": 2, "settings": {"rank": 8}, "gpu": False}


def test_rows_are_numbered_and_steps_that_follow_at_once_are_left_out() -> None:
    said: list[str] = []
    rows = Rows(said.append)
    rows(Note("begins\nhere @waltzrl {"))
    for number in range(1, 6):
        rows(TrainingStep(number, 5, {"loss": 2.0} | ({"valid_loss": 1.5} if number == 3 else {})))
    found = [row for line in said if (row := read(f"2026 {line}"))]
    assert [row.number for row in found] == [1, 2, 3, 4]
    assert found[0].text("text") == "begins\nhere @waltzrl {"
    assert [row.whole("step") for row in found[1:]] == [1, 3, 5]
    assert found[2].real("valid_loss") == 1.5
    assert all("\n" not in line for line in said)


@pytest.mark.parametrize(
    "line", ["@waltzrl [1]", '@waltzrl {"row": true, "kind": "note"}', "@waltzrl"]
)
def test_lines_of_others_are_no_rows(line: str) -> None:
    assert read(line) is None


def test_it_trains_by_the_recipe_and_as_much_at_once_as_the_gpu_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipped, "_gpu_bytes", lambda: 24_000_000_000)
    chosen = settings_of(_JOB | {"gpu": True})
    recipe = FULL.settings("feedback")
    assert (chosen.epochs, chosen.rank, chosen.learning_rate) == (2, 8, recipe.learning_rate)
    small = chosen.micro_tokens
    monkeypatch.setattr(shipped, "_gpu_bytes", lambda: 80_000_000_000)
    assert settings_of(_JOB | {"gpu": True}).micro_tokens > small > recipe.micro_tokens
    with pytest.raises(UsageError, match="charm"):
        settings_of(_JOB | {"settings": {"charm": 1}})


def test_a_gpu_that_is_paid_for_and_cannot_be_used_ends_the_job(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shipped, "_gpu_bytes", lambda: 0)
    assert settings_of(_JOB).micro_tokens == FULL.settings("feedback").micro_tokens
    with pytest.raises(EngineError, match="GPU"):
        settings_of(_JOB | {"gpu": True})


def test_the_machine_installs_what_the_project_declares() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    extra = declared["project"]["optional-dependencies"]["local"]
    assert set(REQUIREMENTS) <= {*declared["project"]["dependencies"], *extra}
