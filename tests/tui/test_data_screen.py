from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from tests.support.screens import screen_text, shows, until
from waltzrl_tui.datasets.starter import bundled
from waltzrl_tui.errors import EngineError
from waltzrl_tui.local.params import PairNames, PrepareParams, TrainParams
from waltzrl_tui.local.recipe import QUICK
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.training import launch as stage1
from waltzrl_tui.tui.data.detail import RowDetail
from waltzrl_tui.tui.data.train import TrainDialog
from waltzrl_tui.tui.dialogs.fields import Choice, NumberField
from waltzrl_tui.tui.shell.app import WaltzApp
from waltzrl_tui.tui.tables.rows import RowTable
from waltzrl_tui.workspace import Workspace

READY = " train  62 valid"


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"question {number}",
            "harm": ("harmful", "benign")[number % 2],
            "category": f"c{number % 3}",
            "reply": f"answer {number}",
            **more,
        }
        for number in range(count)
    ]


def put(workspace: Workspace, name: str, lines: list[Any]) -> Path:
    path = workspace.data / name
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


async def test_first_run_opens_the_bundled_dataset_and_offers_training(
    workspace: Workspace,
) -> None:
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "starter.jsonl · 624 rows", "562" + READY, "t train both")
        first = json.loads(bundled("starter.jsonl").read_text().splitlines()[0])
        await shows(pilot, first["prompt"][:20], f"Row 1 · {first['harm']}")
    assert (workspace.data / "starter.jsonl").read_bytes() == bundled("starter.jsonl").read_bytes()


async def test_the_users_own_data_is_opened_and_nothing_is_put_beside_it(
    workspace: Workspace,
) -> None:
    put(workspace, "mine.jsonl", rows(20))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 20 rows", "18 train  2 valid")
    assert [path.name for path in workspace.data.iterdir()] == ["mine.jsonl"]


async def test_bad_rows_are_shown_alone_with_their_reasons_and_exported(
    workspace: Workspace,
) -> None:
    bad = [b'{"prompt": ', {"prompt": "", "reply": "x", "harm": "benign", "category": "c"}]
    put(workspace, "mixed.jsonl", [*rows(60), bad[0], *rows(60), bad[1], *rows(3)])
    async with WaltzApp(workspace).run_test(size=(160, 40), notifications=True) as pilot:
        await shows(pilot, "b bad rows", "✗ bad rows", "123")
        await pilot.press("b")
        await shows(pilot, "· 2 bad", "61  ✗ broken JSON at column 12", "122  ✗ empty prompt")
        await shows(pilot, "Row 61 · ✗ bad", "1 of 2")
        await pilot.press("x")
        await shows(pilot, "2 bad rows written with reasons to")
        await pilot.press("down")
        await shows(pilot, "Row 122 · ✗ bad")
        await pilot.press("b")
        await shows(pilot, "mixed.jsonl · 125 rows ─", "122 of 125")
    told = (workspace.home / "mixed.jsonl.bad.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in told] == [61, 122]
    assert json.loads(told[0])["raw"] == '{"prompt": \n'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", bytes(range(256)) * 400, "is binary"),
        ("a.jsonl", b"\n\n\n", "contains only blank lines"),
        ("a.jsonl", b'{"id": 1}\n', "has no usable row"),
    ],
    ids=["empty", "binary", "blank", "no prompts"],
)
async def test_a_file_that_cannot_be_shown_says_why_and_what_is_read(
    workspace: Workspace, name: str, content: bytes, said: str
) -> None:
    put(workspace, "good.jsonl", rows(4))
    (workspace.data / name).write_bytes(content)
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: pilot.app.focused is not None)
        await pilot.press("f", "home", "enter")
        await shows(pilot, said, "→")
        assert "t train both" not in screen_text(pilot)
        await pilot.press("t")
        assert not isinstance(pilot.app.screen, TrainDialog)
        await pilot.press("f", "end", "enter")
        await shows(pilot, "good.jsonl · 4 rows", "t train both")


async def test_a_file_that_was_deleted_or_changed_is_noticed(workspace: Workspace) -> None:
    path = put(workspace, "mine.jsonl", rows(20))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 20 rows")
        put(workspace, "mine.jsonl", rows(33))
        await pilot.press("r")
        await shows(pilot, "mine.jsonl · 33 rows")
        path.unlink()
        await pilot.press("r")
        await shows(pilot, "does not exist")


async def test_a_dataset_without_labels_or_replies_cannot_be_trained_on(
    workspace: Workspace,
) -> None:
    put(workspace, "prompts.jsonl", [{"prompt": f"question {n}"} for n in range(9)])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "prompts.jsonl · 9 rows", "✗ no labels or replies")
        await pilot.press("t")
        await pilot.pause()
        assert "train both" not in screen_text(pilot)
        assert not isinstance(pilot.app.screen, TrainDialog)


async def test_filter_counts_while_typing_and_leaves_the_cursor_on_its_row(
    workspace: Workspace,
) -> None:
    put(workspace, "mine.jsonl", rows(300))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 300 rows")
        await pilot.press("slash", *"ANSWER 27")
        await shows(pilot, "11 with “ANSWER 27”", "answer 27 ")
        await pilot.press("enter", "down", "down")
        await shows(pilot, "3 of 11", "Row 272 ·")
        await pilot.press("escape")
        await shows(pilot, "mine.jsonl · 300 rows ──", "272 of 300")
        await pilot.press("slash", *"nowhere")
        await shows(pilot, "0 with “nowhere”", "No row contains that text. Press esc")


async def test_an_expression_filters_and_a_wrong_one_is_told_by_its_word(
    workspace: Workspace,
) -> None:
    put(workspace, "mine.jsonl", rows(300, score=3))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 300 rows")
        await pilot.press("w", *"harm = 'benign' and line > 290")
        await shows(pilot, "5 where harm = 'benign' and line > 290", "question 291", "1 of 5")
        await pilot.press("enter", "end")
        await shows(pilot, "5 of 5", "Row 300 ·")
        await pilot.press("escape")
        await shows(pilot, "300 of 300", "mine.jsonl · 300 rows ─")
        await pilot.press("slash", *"where hram = 1")
        await shows(pilot, "✗ No column “hram”. Did you mean harm?")
        await pilot.press("enter")
        await shows(pilot, "→ Columns: prompt, reply, harm, category, line, tokens, row,")
        assert isinstance(pilot.app.focused, Input)
        await pilot.press(*["backspace"] * 8, *"score > 3", "enter")
        await shows(pilot, "0 where score > 3", "No row matches. Press w")
        assert isinstance(pilot.app.focused, RowTable)


async def test_rows_are_sorted_up_down_and_not_with_the_filter_kept(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", [row | {"size": n * 7 % 50} for n, row in enumerate(rows(50))])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 50 rows")
        await pilot.press("o")
        await shows(pilot, "Sort the rows by", "length of prompt", "size")
        await pilot.press("end", "enter")
        await shows(pilot, "by size ▲", "1 of 50")
        assert shown_rows(pilot)[:3] == [1, 44, 37]
        await pilot.press("o")
        await shows(pilot, "size", " ▲")
        await pilot.press("enter")
        await shows(pilot, "by size ▼")
        assert shown_rows(pilot)[:3] == [8, 15, 22]
        await pilot.press("slash", *"where harm = 'harmful'", "enter")
        await shows(pilot, "25 where harm = 'harmful' · by size ▼")
        await until(pilot, lambda: shown_rows(pilot)[:3] == [15, 29, 43])
        await pilot.press("o", "u")
        await until(pilot, lambda: shown_rows(pilot)[:3] == [1, 3, 5])
        await pilot.press("g", *"21", "enter")
        await shows(pilot, "11 of 25", "Row 21 ·")


def shown_rows(pilot: Pilot[None]) -> list[int]:
    """The numbers of the rows in the table."""
    return [int(number) for number in re.findall(r"│[▸ ] +(\d+)  ", screen_text(pilot))]


async def test_a_bar_of_a_histogram_opens_its_rows(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", [*rows(90), {"prompt": "x y", "reply": "z", "category": "it's"}])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 91 rows")
        await pilot.press("h")
        await shows(pilot, "Columns of mine.jsonl", "harmful", "(empty)", "91 rows · 3 different")
        await pilot.press("down")
        await shows(pilot, "c0", "it's", "4 different")
        await pilot.press("right", "end", "enter")
        await shows(pilot, "1 where category = 'it''s'", "Row 91 ·")
        await pilot.press("h", "down", "down")
        await shows(pilot, "median", "sum", "tokens")


async def test_duplicates_are_listed_with_what_they_waste_and_opened(workspace: Workspace) -> None:
    again = {"prompt": "Again and again", "harm": "benign", "category": "c", "reply": "Yes."}
    put(workspace, "mine.jsonl", [*rows(40), again, *rows(3), again, again])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 46 rows", "exact duplicates")
        await pilot.press("d")
        await shows(pilot, "Check these rows before paying", "3 × the same pair", "Again and")
        await pilot.press("enter")
        await shows(pilot, "3 the same pair", "1 of 3", "Row 41 ·")
        assert shown_rows(pilot) == [41, 45, 46]


async def test_prompts_with_both_labels_are_told_and_opened(workspace: Workspace) -> None:
    both = [{"prompt": "Again", "harm": harm, "reply": harm} for harm in ("harmful", "benign")]
    put(workspace, "mine.jsonl", [*both, *[{**row, "category": ""} for row in rows(9)]])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "✗ both labels", "Profile")
        await pilot.press("p")
        await shows(pilot, "1 prompt is labelled harmful in one row and benign in another")
        await pilot.press("d")
        await shows(pilot, "2 × both harmful and benign")
        await pilot.press("enter")
        await shows(pilot, "2 both harmful and benign")
        assert shown_rows(pilot) == [1, 2]


async def test_a_mapping_is_corrected_with_its_rows_in_sight_and_kept(workspace: Workspace) -> None:
    lines = [
        {"prompt": f"p{n}", "reply": f"r{n}", "better": f"good answer {n}", "kind": "toxic"}
        for n in range(5)
    ]
    put(workspace, "mine.jsonl", lines)
    for _ in range(2):
        async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
            await shows(pilot, "mine.jsonl · 5 rows")
            if "good answer" in screen_text(pilot):
                break
            await pilot.press("m")
            await shows(pilot, "Fields of mine.jsonl", "✓ 5 of the first 5 lines are rows", "r0")
            await pilot.press("down", "right")
            await shows(pilot, "good answer 2")
            await pilot.press("enter")
            await shows(pilot, "mine.jsonl · 5 rows", "good answer 4")
    else:
        raise AssertionError("the mapping was not kept")


async def test_the_value_that_means_harmful_is_chosen_beside_its_field(
    workspace: Workspace,
) -> None:
    lines = [{"prompt": f"p{n}", "reply": f"r{n}", "ok": n > 0} for n in range(5)]
    put(workspace, "mine.jsonl", lines)
    async with WaltzApp(workspace).run_test(size=(120, 50)) as pilot:
        await shows(pilot, "mine.jsonl · 5 rows")
        await pilot.press("m")
        await shows(pilot, "Fields of mine.jsonl")
        pilot.app.screen.query_one("#map-harm", Choice).value = "ok"
        await shows(pilot, "false is not understood", "as its values say")
        choice = pilot.app.screen.query_one("#map-harmful", Choice)
        choice.focus()
        await pilot.press("right")
        await shows(pilot, "labels  harmful", "labels  benign")
        await pilot.press("enter")
        await shows(pilot, "true → benign", "false → harmful")
        await pilot.press("p")
        await shows(pilot, "true → benign: 4 rows, false → harmful: 1 row")


async def test_keys_that_come_in_one_burst_are_typed_into_the_filter(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", rows(30))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "27 train  3 valid")
        for key, character in [("slash", "/"), ("t", "t"), ("i", "i"), ("o", "o"), ("n", "n")]:
            pilot.app.post_message(events.Key(key, character))
        await shows(pilot, "30 with “tion”")


async def test_a_row_number_is_jumped_to(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", rows(5000))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 5,000 rows")
        await pilot.press("g", *"4321", "enter")
        await shows(pilot, "question 4320", "4,321 of 5,000", "Row 4,321 ·")
        await pilot.press("g", *"99999", "enter")
        await shows(pilot, "5,000 of 5,000")


async def test_a_long_file_is_shown_by_page_and_only_a_few_pages_are_kept(
    workspace: Workspace,
) -> None:
    put(workspace, "long.jsonl", rows(40_000))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "long.jsonl · 40,000 rows")
        await pilot.press("end")
        await shows(pilot, "question 39999")
        table = pilot.app.screen.query_one(RowTable)
        for number in range(0, 40_000, 1000):
            table.cursor = number
            await pilot.pause()
        await shows(pilot, "question 39000")
        assert sum(len(lines) for lines, _ in table._pages.values()) <= 32 * 64


async def test_text_of_a_row_stays_text(workspace: Workspace) -> None:
    hostile = "[bold red]x[/] [@click=app.quit]y[/] \x1b[31m \u202e\u200b \x9b2J"
    line = {"prompt": hostile, "harm": "benign", "category": "[b]c[/b]", "reply": hostile}
    put(workspace, "mine.jsonl", [line])
    async with WaltzApp(workspace).run_test(size=(160, 40)) as pilot:
        await shows(pilot, "mine.jsonl · 1 row", "Row 1 · benign · [b]c[/b]")
        text = screen_text(pilot)
        assert text.count("[bold red]x[/] [@click=app.quit]y[/] ␛[31m �� �2J") >= 2
        assert not set(text) & set("\x1b\u202e\u200b\x9b")


async def test_reading_a_row_goes_to_the_next_one_and_back(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", rows(30))
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "27 train  3 valid")
        await pilot.press("enter", "right", "right", "left")
        await shows(pilot, "Row 2 ·", "question 1", "✓ answers")
        assert pilot.app.focused is pilot.app.screen.query_one(RowDetail)
        assert "mine.jsonl · 30 rows" not in screen_text(pilot)
        await pilot.press("escape")
        await shows(pilot, "mine.jsonl · 30 rows")


async def test_the_sample_is_counted_as_the_form_changes(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", [*rows(100), *rows(50)])
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "90 train  10 valid")
        await pilot.press("s", *"40")
        await shows(pilot, "36 train  4 valid")
        await pilot.press("tab", "right", "right")  # Duplicates are kept.
        await pilot.press("shift+tab", "backspace", "backspace")
        await shows(pilot, "rows    all", "train  1")
        await until(pilot, lambda: _sampled(pilot) == 150)
        field = pilot.app.screen.query_one("#sample-valid", NumberField)
        field.value = "60"
        await shows(pilot, "✗ rows ≥ 1, valid ≤ 50")
        # Letters are no numbers: in the form they are keys still.
        await pilot.press("f")
        assert field.value == "60"
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "files"


def _sampled(pilot: Pilot[None]) -> int:
    """The rows of the sample, for training and validation together."""
    found = re.search(r"→ (\d+) train  (\d+) valid", screen_text(pilot))
    return int(found[1]) + int(found[2]) if found else 0


async def test_at_60_columns_the_panes_take_turns(workspace: Workspace) -> None:
    put(workspace, "mine.jsonl", rows(30))
    async with WaltzApp(workspace).run_test(size=(60, 15)) as pilot:
        await shows(pilot, "mine.jsonl · 30 rows", "question 0")
        assert "Sample" not in screen_text(pilot)
        await pilot.press("s")
        await shows(pilot, "Sample", "27 train  3 valid")
        assert pilot.app.focused is pilot.app.screen.query_one("#sample-rows")
        await pilot.press("escape", "enter")
        await shows(pilot, "Row 1 ·", "answer 0")
        await pilot.resize_terminal(80, 24)
        await pilot.press("escape")
        await shows(pilot, "Files", "Profile", "Sample", "mine.jsonl · 30 rows", "Row 1 ·")


Launched = list[stage1.Stage1]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Launched:
    """The plans that were launched; no worker is started."""
    found: Launched = []

    async def launch(store: Store, workspace: Workspace, plan: stage1.Stage1) -> list[JobRow]:
        found.append(plan)
        job = await store.jobs.add("k3f-prep", kind="rollouts", role="both", model="m")
        return [job]

    monkeypatch.setattr(stage1, "launch", launch)
    return found


async def test_training_asks_first_and_tells_what_it_costs(
    workspace: Workspace, launched: Launched
) -> None:
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "562" + READY)
        await pilot.press("s", *"100")
        await shows(pilot, "90 train  10 valid")
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await shows(pilot, "starter.jsonl", "90 rows to train on, 10 for validation", "cost     $0")
        await shows(pilot, "not measured yet on this machine", "SmolLM2-135M-Instruct")
        await pilot.press("escape")
        await pilot.pause()
        assert not launched
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await pilot.press("enter")
        await until(pilot, lambda: pilot.app.current_mode == "jobs")
    (plan,) = launched
    assert (plan.recipe.n, plan.recipe.seed, plan.recipe.balance) == (100, 7, "harm")
    assert Path(plan.recipe.source) == workspace.data / "starter.jsonl"
    assert not plan.quick


async def test_the_time_is_that_of_the_last_launch_with_these_settings(
    workspace: Workspace, launched: Launched
) -> None:
    await _trained_before(workspace, rows=200, minutes={"both": 2, "conversation": 4})
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "562" + READY)
        await pilot.press("t")
        await shows(pilot, "not measured yet on this machine")
    await _trained_before(workspace, rows=200, minutes={"feedback": 6}, prefix="old")
    async with WaltzApp(workspace).run_test(size=(120, 40)) as pilot:
        await shows(pilot, "562" + READY)
        await pilot.press("t")
        # 12 minutes for 200 rows are 37 for 624.
        await shows(pilot, "624 rows · ~37m", "estimated from job old")
        await pilot.press("k")
        await until(pilot, lambda: bool(launched))
    assert launched[0].quick
    assert launched[0].recipe.n == QUICK.rows


async def test_a_launch_that_fails_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def launch(*_: object) -> list[JobRow]:
        raise EngineError("The engine is not [installed].", hint="Install it.")

    monkeypatch.setattr(stage1, "launch", launch)
    app = WaltzApp(workspace)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await shows(pilot, "562" + READY)
        await pilot.press("t")
        await until(pilot, lambda: isinstance(pilot.app.screen, TrainDialog))
        await pilot.press("enter")
        await shows(pilot, "The engine is not [installed].", "Install it.", "starter.jsonl · 624")
        assert pilot.app.current_mode == "data"


async def _trained_before(
    workspace: Workspace, *, rows: int, minutes: dict[str, int], prefix: str = "k3f"
) -> None:
    settings = stage1.Stage1(stage1.SampleRecipe("x")).settings

    def params(role: str) -> dict[str, Any]:
        if role != "both":
            return TrainParams(
                train_file="x",
                valid_file="",
                settings=settings.settings(cast("Role", role)),
                prompt="p",
                agent="a",
                pair=PairNames(name="a", conversation="a", feedback="b"),
            ).to_json()
        return PrepareParams(
            train_rows="x",
            valid_rows="",
            judged=settings.judged,
            rollout_tokens=settings.rollout_tokens,
            revisions=0.3,
            prompts={},
        ).to_json()

    async with await Store.open(workspace) as store:
        sample = await store.samples.add(
            source="x", source_sha256="", recipe={}, sha256="", rows=rows
        )
        for role, took in minutes.items():
            id = f"{prefix}-{role[:4]}"
            kind = "rollouts" if role == "both" else "train"
            await store.jobs.add(
                id, kind=kind, role=role, model="m", sample_id=sample.id, params=params(role)
            )
            await store.jobs.move(id, "running")
            await store.jobs.move(id, "succeeded")

            def set_times(connection: Any, id: str = id, took: int = took) -> None:
                connection.execute(
                    "UPDATE jobs SET started_at = '2026-01-01T00:00:00.000Z', ended_at ="
                    f" '2026-01-01T00:{took:02}:00.000Z' WHERE id = '{id}'"
                )

            await store._database.write(set_times)
