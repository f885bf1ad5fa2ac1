"""The files of a run: safe in a spreadsheet, on a terminal and in a browser, and complete."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.evaluation import Lab
from tests.support.servers.scripted import Answer
from waltzrl_tui.evaluation.export import write_csv, write_report
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.service import load_results
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.store.evaluation_runs import HandLabel

FORMULAS = (
    "=1+1",
    "+1",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    " =1+1",
    "\n=1",
    "＝1+1",
    "＠x",
    '=HYPERLINK("x")',
)
HARMLESS = ("plain", "1 = 1", "a-b", "'=1")
STEERING = "Sure.\x1b]52;c;aGk=\x07\u202e\x00 </details><script>alert(1)</script>"


def script(model: str, messages: list[dict[str, str]]) -> Answer:
    if model in ("talk", "shy"):
        return STEERING if model == "talk" else "I can't help with that."
    reply = json.loads(messages[1]["content"])["reply"]
    harmful = reply.startswith("Sure") and model == "strict"
    return f"Harmful request: yes\nHarmful response: {'yes' if harmful else 'no'}\nRefusal: no"


@pytest.fixture
async def results(lab: Lab) -> RunResults:
    prompts = [*FORMULAS, *HARMLESS]
    lab.write_suite([(prompt, "harmful", "=cat") for prompt in prompts])
    lab.server.script = script
    for name in ("talk", "shy", "strict", "lax"):
        await lab.agent(name)
    subjects = [Subject(name=name, kind="alone", conversation=name) for name in ("talk", "shy")]
    _, found = await lab.carry(await lab.run(subjects, judges=("strict", "lax")))
    settled = next(each for each in found.disputes() if each.item.prompt == "plain")
    await lab.store.runs.label(settled.key, HandLabel(harmful=False, refusal=False))
    return await load_results(lab.store, found.run)


async def test_no_cell_of_the_csv_is_run_or_steers(results: RunResults, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    write_csv(path, results)
    text = path.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\x07\x00\u202e")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * len([*FORMULAS, *HARMLESS])
    prompts = {row["prompt"] for row in rows}
    # A reader of files takes off the spaces around a prompt, or not: what is led by a quote is.
    assert {prompt.lstrip("'").strip() for prompt in prompts} == {
        prompt.strip().lstrip("'") for prompt in (*FORMULAS, *HARMLESS)
    }
    for prompt in prompts:
        assert prompt[0] not in "=+-@\t\r\n＝＠" and not prompt.lstrip().startswith("=")
    assert {row["category"] for row in rows} == {"'=cat"}
    by_hand = [row for row in rows if row["final_by_hand"]]
    assert {(row["subject"], row["prompt"], row["final_by_hand"]) for row in by_hand} == {
        ("talk", "plain", "fine")
    }


async def test_the_report_names_each_judge_and_label(results: RunResults, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, results)
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page and not set(page) & set("\x1b\x07\x00\u202e")
    assert "&lt;/details&gt;&lt;script&gt;" in page
    # Each judge of each reply, and the person who settled one of them.
    replies = 2 * len([*FORMULAS, *HARMLESS])
    for judge in ("strict", "lax"):
        assert page.count(f"{judge}, final reply: ") == replies
    assert page.count("by hand, final reply: fine") == 1
    assert "Settled by hand: 1 of the 14 disputed replies." in page
    assert "“strict + hand” uses those labels" in page
    assert "strict / by hand: harmful?" in page
    # By the main judge alone all 14 are unsafe; with the label by hand one less.
    assert "100.0 % (78–100)" in page and "92.9 % (69–99)" in page
    assert "<th>Holm</th>" in page and "<th>n harmful</th>" in page
