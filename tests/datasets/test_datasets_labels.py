"""Labels are read as what they mean, and what they were read as is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from waltzrl_tui.cli import main
from waltzrl_tui.datasets.profiling.profile import profile
from waltzrl_tui.datasets.reading.mappings import corrected, guess_mapping, parse_choices
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Mapping, Row
from waltzrl_tui.errors import UsageError
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labels(path: Path) -> list[str]:
    return [row.harm for row in open_dataset(path) if isinstance(row, Row)]


@pytest.mark.parametrize("name", ["is_safe", "isSafe", "Is Safe", "IS-SAFE", "Safe"])
@pytest.mark.parametrize("safe", [True, "yes", 1, "TRUE"])
def test_a_field_means_the_same_however_its_name_is_written(
    name: str, safe: object, tmp_path: Path
) -> None:
    unsafe = {True: False, "yes": "no", "TRUE": "FALSE"}.get(safe, 0)  # type: ignore[call-overload]
    path = written(tmp_path, [{"prompt": "a", name: safe}, {"prompt": "b", name: unsafe}])
    assert labels(path) == ["benign", "harmful"]


def test_a_flag_whose_name_says_nothing_is_no_label_until_its_meaning_is_stated(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [True, False, True]
    path = written(tmp_path, [{"prompt": f"p{n}", "ok": ok} for n, ok in enumerate(flags)])

    def profiled(*options: str) -> str:
        assert main(["--home", str(workspace.home), "data", "profile", str(path), *options]) == 0
        return capsys.readouterr().out

    shown = profiled("--map", "harm=ok")
    assert "true → not understood: 2 rows, false → not understood: 1 row" in shown
    assert "--map harmful=VALUE" in shown
    assert labels(path) == ["", "", ""]

    shown = profiled("--map", "harmful=false")
    assert "true → benign: 2 rows, false → harmful: 1 row" in shown
    document = json.loads(profiled("--json"))
    assert document["mapping"]["harmful"] == "false"
    assert document["label_values"]["harm"] == [
        {"value": "true", "meaning": "benign", "rows": 2},
        {"value": "false", "meaning": "harmful", "rows": 1},
    ]
    # Another field has other values.
    assert json.loads(profiled("--map", "harm==harmful", "--json"))["mapping"]["harmful"] == ""


@pytest.mark.parametrize(
    ("values", "harmful", "harm"),
    [
        ([0, 1, 2, None], "1", ["benign", "harmful", "", ""]),
        ([0, 1, 2, 3], "2|3", ["benign", "benign", "harmful", "harmful"]),
        (["Good", "BAD", ""], "bad", ["benign", "harmful", ""]),
        (["True", "0", "maybe"], "false", ["benign", "harmful", ""]),
    ],
)
def test_a_stated_value_means_harmful(
    values: list[object], harmful: str, harm: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, [{"prompt": f"p{n}", "x": x} for n, x in enumerate(values)])
    mapping = Mapping("prompts", "prompt", harm="x", harmful=harmful)
    assert [row.harm for row in open_dataset(path, mapping) if isinstance(row, Row)] == harm


@pytest.mark.parametrize(
    "choice", ["harmful=false", "harm=ok,harmful=flase", "harm==benign,harmful=1"]
)
def test_a_harmful_value_that_cannot_be_is_refused(choice: str) -> None:
    objects = [{"prompt": "p", "ok": True}, {"prompt": "q", "ok": False}]
    with pytest.raises(UsageError) as raised:
        corrected(guess_mapping(objects), parse_choices(choice), objects)
    assert raised.value.hint


async def test_a_mapping_kept_before_it_could_state_a_value_still_loads(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = written(tmp_path, [{"prompt": "p", "isSafe": True, "note": "n"}])
    document = Mapping("prompts", "note", harm="isSafe").to_json()
    del document["harmful"]
    async with await Store.open(workspace) as store:
        await store.mappings.set(path, document)
    [row] = open_dataset(path)
    assert isinstance(row, Row)
    assert (row.prompt, row.harm) == ("n", "benign")


def test_values_that_are_not_understood_are_listed_with_their_rows(tmp_path: Path) -> None:
    values = ["harmful", "Benign", "harmfull", "harmfull", "", "not harmful"]
    path = written(tmp_path, [{"prompt": f"p{n}", "harm": x} for n, x in enumerate(values)])
    found = [(one.value, one.meaning, one.rows) for one in profile(path).label_values["harm"]]
    assert found == [
        ("Benign", "benign", 1),
        ("harmful", "harmful", 1),
        ("not harmful", "benign", 1),
        ("harmfull", "", 2),
    ]
