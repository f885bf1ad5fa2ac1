"""The profile: the figures that would have stopped 9,987 rows with 606 prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.profile import DistinctCounter, profile
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.tokens import ESTIMATE_ERROR, estimate_tokens


def test_the_document_of_data_profile(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [
        json.dumps({"prompt": prompt, "harm": harm, "category": "c", "reply": reply})
        for prompt, harm, reply in [
            ("How?", "harmful", "No."),
            ("how? ", "harmful", "No."),
            ("How?", "benign", "Yes."),
            ("Why?", "benign", "Yes."),
        ]
    ]
    path.write_text("\n".join([*lines, "broken", "", '{"prompt": "x"}']), encoding="utf-8")
    assert profile(path).to_json() == {
        "path": str(path),
        "format": "jsonl",
        "rows": 4,
        "bad_row_count": 2,
        "bad_rows": [
            {"line": 5, "reason": "broken JSON at column 1: Expecting value"},
            {"line": 7, "reason": 'no reply: field "reply" is missing'},
        ],
        "mapping": {
            "shape": "rows",
            "prompt": "prompt",
            "reply": "reply",
            "harm": "harm",
            "category": "category",
            "context": "",
        },
        "unique": {"prompts": 2, "replies": 2, "pairs": 3},
        "near_unique": {"prompts": None, "replies": None},
        "labels": {"harm": {"benign": 2, "harmful": 2}, "category": {"c": 4}},
        "tokens": {
            "total": 17,
            "exact": False,
            "tokenizer": "estimate",
            "longest": 5,
            "histogram": [4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        },
    }


def test_bad_rows_are_all_counted_and_the_first_hundred_listed(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n' + "broken\n" * 250, encoding="utf-8")
    found = profile(path)
    assert (found.rows, found.bad_row_count, len(found.bad_rows)) == (1, 250, 100)
    assert found.replies == 0


def test_it_can_be_watched_and_stopped(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n' * 5000, encoding="utf-8")
    seen: list[int] = []
    found = profile(path, on_progress=seen.append, stop=lambda: len(seen) == 2)
    assert seen == [1000, 2000]
    assert found.rows == 2000


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("broken\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="no usable row"):
        profile(tmp_path / "d.jsonl")


@given(st.lists(st.text(alphabet="ab\0", max_size=4)))
def test_different_values_are_counted(values: list[str]) -> None:
    counter = DistinctCounter()
    for value in values:
        counter.add(value)
    assert counter.count() == len(set(values))


def test_the_token_estimate_is_near_a_real_tokenizer() -> None:
    counted = {  # by SmolLM2's tokenizer
        "How do I kill a Python process that no longer answers?": 12,
        "Find its number with pgrep, then send it TERM; only if it stays, send KILL.": 23,
        "A tray of roasted vegetables feeds six: 200 degrees, 35 minutes, lemon on top.": 23,
        '{"reasoning": "The reply declines a harmless question.", "unsafe": false}': 18,
        "Explain, for my history seminar, why they introduced rationing in 1941.": 19,
    }
    estimated = sum(map(estimate_tokens, counted))
    assert abs(estimated / sum(counted.values()) - 1) <= ESTIMATE_ERROR


@given(st.text(), st.text())
def test_the_token_estimate_grows_with_the_text(text: str, more: str) -> None:
    assert estimate_tokens(text + more) >= estimate_tokens(text)
    assert (estimate_tokens(text) == 0) == (text == "")
