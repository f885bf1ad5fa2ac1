"""The models of the Data and Plan screens, without an app."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from waltzrl_tui.errors import DatasetError
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.store import Store
from waltzrl_tui.tui.data.model import DataModel
from waltzrl_tui.tui.plan.model import PlanModel
from waltzrl_tui.workspace import Workspace


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    opened = await Store.open(workspace)
    yield opened
    await opened.close()


def test_the_models_do_not_import_textual() -> None:
    code = (
        "import sys, waltzrl_tui.tui.data.model, waltzrl_tui.tui.plan.model;"
        "print([name for name in sys.modules if name.partition('.')[0] == 'textual'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


async def test_a_dataset_is_opened_reopened_when_it_changed_and_its_bad_rows_exported(
    store: Store, workspace: Workspace
) -> None:
    path = workspace.data / "mine.jsonl"
    row = json.dumps({"prompt": "p", "reply": "r", "kind": "toxic"})
    path.write_text(f"{row}\n{{broken\n")
    model = DataModel(store, workspace)
    files, first = await model.find_files()
    assert ([file.path for file in files], first) == ([path], path)
    await model.open(path)
    dataset = model.dataset
    assert dataset is not None
    assert (await model.look_again())[1] is None
    count, target = await model.export_bad(dataset)
    assert (count, json.loads(target.read_text())["line"]) == (1, 2)
    head = await model.read_head(dataset)
    await model.set_mapping(dataset, replace(head.guess, category="kind"), head.guess)
    await model.open(path)
    assert model.dataset is not None
    assert model.dataset.mapping.category == "kind"
    path.write_text(f"{row}\n{row}\n{row}\n")
    assert (await model.look_again())[1] == path
    path.unlink()
    with pytest.raises(DatasetError):
        await model.open(path)
    assert (model.dataset, model.path) == (None, path)


async def test_plans_are_priced_anew_and_a_pinned_one_stays_as_it_was(
    store: Store, workspace: Workspace
) -> None:
    model = PlanModel()
    assert await model.take(None, workspace)
    await model.read_environment(store, workspace)
    await model.measure(lambda rows: None)
    assert model.ready
    assert not await model.take(model.sample, workspace)
    model.reprice(None, PlanSettings())
    id, before = next(item for item in model.plans.items() if item[1].row.total)
    model.pin(id)
    model.reprice(100, replace(PlanSettings(), epochs=6))
    assert model.pinned == (id, before)
    assert model.plans[id].workload.rows < before.workload.rows
    priced = [row.total.expected for row in model.rows if row.total]
    assert priced == sorted(priced)
    assert model.highest_usd == max(row.total.high for row in model.rows if row.total)
