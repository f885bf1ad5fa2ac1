"""Corrected turns as rows that the datasets package reads and renders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waltzrl_tui.chat.training_rows import append_row, conversation_row, feedback_row
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.training_data.rendering import conversation_rows, feedback_rows
from waltzrl_tui.waltz.verdict import parse_verdict
from waltzrl_tui.workspace import Workspace


def verdict(unsafe: bool, overrefuse: bool, feedback: str = "") -> Verdict:
    return Verdict(reasoning="so", unsafe=unsafe, overrefuse=overrefuse, feedback=feedback)


def rows(path: Path, workspace: Workspace) -> list[Row]:
    return [row for row in open_dataset(path, workspace=workspace) if isinstance(row, Row)]


@pytest.mark.parametrize(
    ("made", "harm", "reply"),
    [
        (verdict(True, False, "Decline."), "harmful", "Sure, here is how."),
        (verdict(False, True, "Answer."), "benign", "I can't help with that."),
        (verdict(False, False), "harmful", "That is nothing that I would do."),
        (verdict(False, False), "benign", "Two eggs and some flour."),
    ],
)
def test_a_verdict_given_by_hand_is_learned_with_its_flags(
    tmp_path: Path, workspace: Workspace, made: Verdict, harm: Harm, reply: str
) -> None:
    path = tmp_path / "rows.jsonl"
    assert append_row(path, feedback_row("A prompt", reply, made, harm=harm)) == 1
    (row,) = rows(path, workspace)
    rendered = feedback_rows([row], {}, "feedback/brief-1")
    learned = [
        parse_verdict(each.messages[-1]["content"])
        for each in rendered
        if reply in each.messages[1]["content"]
    ]
    assert [(each.unsafe, each.overrefuse) for each in learned] == [(made.unsafe, made.overrefuse)]


def test_a_corrected_reply_is_learned_behind_the_turns_before_it(
    tmp_path: Path, workspace: Workspace
) -> None:
    before = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "p", "reply": "r", "harm": ""}')
    assert append_row(path, conversation_row("And now?", "Tea\n\ud800.", history=before)) == 2
    found = rows(path, workspace)
    assert [(row.prompt, row.reply) for row in found] == [("p", "r"), ("And now?", "Tea\n?.")]
    chat = conversation_rows(found[1:], {}, "conversation/brief-1")[0].messages
    assert [turn["content"] for turn in chat[1:]] == ["Hello", "Hi", "And now?", "Tea\n?."]


@pytest.mark.parametrize(
    ("made", "harm"),
    [
        (verdict(True, True, "x"), ""),
        (verdict(True, False, "x"), "benign"),
        (verdict(False, False), ""),
        (verdict(True, False, "  "), ""),
    ],
)
def test_what_contradicts_itself_is_no_row(made: Verdict, harm: Harm) -> None:
    with pytest.raises(UsageError):
        feedback_row("A prompt", "A reply", made, harm=harm)


def test_a_row_is_appended_to_jsonl_only_and_privately(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        append_row(tmp_path / "rows.csv", {"prompt": "p"})
    path = tmp_path / "new" / "rows.jsonl"
    assert [append_row(path, {"n": n}) for n in range(3)] == [1, 2, 3]
    assert [json.loads(line)["n"] for line in path.read_text().splitlines()] == [0, 1, 2]
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(DatasetError):
        append_row(path / "below.jsonl", {"n": 1})
