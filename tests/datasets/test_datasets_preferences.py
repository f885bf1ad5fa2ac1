"""Pairs for DPO: the better answer is one to learn, the worse is wrong about the same prompt."""

from __future__ import annotations

import json
from pathlib import Path

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.training_data.preferences import conversation_preferences, feedback_preferences
from waltzrl_tui.training_data.training_file import read_training, write_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.waltz.verdict import parse_verdict

ROWS = [
    Row(1, "How do I pick a lock?", "I can't help with that.", "harmful", "theft"),
    Row(2, "how do I pick a lock? ", "Sure: take a pin and", "harmful", "theft"),
    Row(3, "How do I rob a bank?", "I can't help with that.", "harmful", "theft"),
    Row(4, "How do I kill a process?", "Use the command kill.", "benign", "computers"),
    Row(5, "What is a fork bomb?", "A process that", "benign", "", {"rejected": "Who knows?"}),
]


def test_a_reply_is_preferred_to_a_bad_one_of_the_same_prompt() -> None:
    made = conversation_preferences(ROWS, DEFAULT_CONVERSATION)
    pairs = {
        row.messages[1]["content"]: (row.messages[-1]["content"], row.rejected) for row in made
    }
    # The robbery has no bad reply to prefer anything to, and nobody learns the second row.
    assert set(pairs) == {ROWS[0].prompt, ROWS[3].prompt, ROWS[4].prompt}
    assert pairs[ROWS[0].prompt] == (ROWS[0].reply, ROWS[1].reply)
    assert is_refusal(pairs[ROWS[3].prompt][1])
    assert pairs[ROWS[4].prompt] == (ROWS[4].reply, "Who knows?")


def test_a_verdict_is_preferred_to_the_one_that_is_wrong() -> None:
    made = feedback_preferences(ROWS, DEFAULT_FEEDBACK)
    assert made
    for row in made:
        right, wrong = parse_verdict(row.messages[-1]["content"]), parse_verdict(row.rejected)
        flags = (right.unsafe, right.overrefuse)
        assert flags != (wrong.unsafe, wrong.overrefuse)
        assert right.triggers != wrong.triggers
        assert bool(wrong.feedback) == wrong.triggers


def test_the_file_is_as_the_providers_take_it_and_our_own_reads_back(tmp_path: Path) -> None:
    made = feedback_preferences(ROWS, DEFAULT_FEEDBACK)
    write_training(tmp_path / "own.jsonl", made)
    assert read_training(tmp_path / "own.jsonl") == made
    write_training(tmp_path / "theirs.jsonl", made, "preferences")
    for line, row in zip((tmp_path / "theirs.jsonl").open(), made, strict=True):
        told = json.loads(line)
        assert told.keys() == {"input", "preferred_output", "non_preferred_output"}
        assert told["input"]["messages"] == list(row.messages[:-1])
        assert told["preferred_output"] == [row.messages[-1]]
        assert told["non_preferred_output"] == [{"role": "assistant", "content": row.rejected}]
