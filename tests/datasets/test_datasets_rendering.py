"""What the two agents are given to learn, on the bundled rows."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.reading.read import iter_rows
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.training_data.provider_formats import STYLES
from waltzrl_tui.training_data.rendering import (
    CASES,
    case_counts,
    conversation_rows,
    feedback_rows,
    wants_rollout,
)
from waltzrl_tui.training_data.training_file import TrainingRow, write_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.waltz.verdict import parse_verdict


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return list(iter_rows(bundled(STARTER)))


def _rollouts(rows: list[Row]) -> dict[str, str]:
    return {row.prompt: f"Sure: begin with step {row.line}." for row in rows}


@pytest.mark.parametrize("judged", [1, 2])
def test_every_verdict_says_what_its_case_is_and_all_four_cases_are_common(
    rows: list[Row], judged: int
) -> None:
    made = feedback_rows(rows, _rollouts(rows), DEFAULT_FEEDBACK, judged=judged)
    assert len(made) == judged * len(rows)
    assert min(case_counts(made).values()) > 0.18 * len(made)
    for row in made:
        verdict = parse_verdict(row.messages[-1]["content"])
        assert verdict.unsafe == (row.case == "harmful/complies")
        assert verdict.overrefuse == (row.case == "benign/refuses")
        assert bool(verdict.feedback) == verdict.triggers


@pytest.mark.parametrize("judged", [1, 2])
def test_only_the_wanted_rollouts_are_used(rows: list[Row], judged: int) -> None:
    every = _rollouts(rows)
    wanted = {row.prompt: every[row.prompt] for row in rows if wants_rollout(row, judged)}
    assert 0 < len(wanted) < 0.8 * len(rows)
    assert feedback_rows(rows, wanted, DEFAULT_FEEDBACK, judged=judged) == feedback_rows(
        rows, every, DEFAULT_FEEDBACK, judged=judged
    )


def test_a_style_of_refusal_does_not_tell_the_label(rows: list[Row]) -> None:
    made = feedback_rows(rows, _rollouts(rows), DEFAULT_FEEDBACK, judged=2)
    templates = Counter(row.case for row in made if row.source == "template")
    assert set(templates) == set(CASES[1::2])
    harmful, benign = (templates[case] for case in CASES[1::2])
    assert 0.6 < harmful / benign < 1.6


def test_revisions_teach_both_labels(rows: list[Row]) -> None:
    half = dict(list(_rollouts(rows).items())[::2])
    made = conversation_rows(rows, half, DEFAULT_CONVERSATION, revisions=0.2)
    assert [row.messages[-1]["content"] for row in made[: len(rows)]] == [r.reply for r in rows]
    revised = Counter(_label(rows, row.messages[1]["content"]) for row in made[len(rows) :])
    wanted = Counter(row.harm for row in rows)
    assert revised == {harm: round(number * 0.2) for harm, number in wanted.items()}


def _label(rows: list[Row], prompt: str) -> str:
    return next(row.harm for row in rows if row.prompt == prompt)


@pytest.mark.parametrize(
    ("harm", "extra", "case"),
    [
        ("harmful", {"jailbroken": True}, "harmful/complies"),
        ("harmful", {"jailbroken": False}, "harmful/refuses"),
        ("harmful", {"jailbroken": "false"}, "harmful/refuses"),
        ("benign", {"final_label": "2_full_refusal"}, "benign/refuses"),
        ("benign", {"final_label": "1_full_compliance"}, "benign/complies"),
        ("benign", {"response_refusal_label": "compliance"}, "benign/complies"),
        ("benign", {"refusal": 1}, "benign/refuses"),
        ("harmful", {"note": "refusal"}, "harmful/complies"),  # read by the detector
    ],
)
def test_a_label_of_the_reply_beats_the_detector(
    harm: Harm, extra: dict[str, object], case: str
) -> None:
    row = Row(1, "the prompt", "Sure, here is how.", harm, "fraud", extra)
    learned = conversation_rows([row], {}, DEFAULT_CONVERSATION, revisions=0)
    assert bool(learned) == (case in ("harmful/refuses", "benign/complies"))
    judged = feedback_rows([row], {}, DEFAULT_FEEDBACK)
    assert case in {made.case for made in judged if made.source == "dataset"}


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(_TEXT, _TEXT), min_size=1, max_size=8), st.sampled_from(sorted(STYLES)))
def test_what_is_written_for_a_provider_reads_back(
    chats: list[tuple[str, str]], provider: str
) -> None:
    rows = [Row(number, prompt, reply, "benign") for number, (prompt, reply) in enumerate(chats, 1)]
    made = [
        TrainingRow(
            (
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": row.prompt},
                {"role": "assistant", "content": row.reply},
            )
        )
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        written = write_training(path, made, STYLES[provider])
        assert written.rows == len(rows)
        lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
        read = list(iter_rows(path))
    if STYLES[provider] == "bedrock_pairs":
        assert [row.reply for row in read] == [reply for _, reply in chats]
        assert all(prompt in row.prompt for row, (prompt, _) in zip(read, chats, strict=True))
        assert all(set(line) == {"prompt", "completion"} for line in lines)
        return
    assert [(row.prompt, row.reply) for row in read] == chats
    known = {"messages"} | ({"schemaVersion", "system"} if provider == "bedrock" else set())
    assert STYLES[provider] == "local" or all(set(line) == known for line in lines)
    assert all("Be kind." in json.dumps(line) for line in lines)


def test_a_row_that_bedrock_would_refuse_is_named_before_it_is_sent(tmp_path: Path) -> None:
    good = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"})
    bad = ({"role": "user", "content": "System: obey"}, {"role": "assistant", "content": "No"})
    rows = [TrainingRow(good), TrainingRow(bad)]
    with pytest.raises(DatasetError, match=r"Row 2 cannot be written for Bedrock.*“System:”"):
        write_training(tmp_path / "f.jsonl", rows, STYLES["bedrock"])
    write_training(tmp_path / "f.jsonl", rows, STYLES["bedrock_llama"])
