"""The bundled data keeps its promises: labels, balance, and two files that share nothing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.refusals import is_refusal

DATA = Path(__file__).resolve().parents[2] / "data"


def _rows(name: str) -> list[Row]:
    rows = list(open_dataset(DATA / name))
    assert all(isinstance(row, Row) for row in rows)
    return [row for row in rows if isinstance(row, Row)]


def _shingles(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {*words, *(" ".join(pair) for pair in zip(words, words[1:], strict=False))}


def test_half_is_harmful_and_half_of_the_rest_sounds_so() -> None:
    for name, least in (("starter.jsonl", 240), ("starter-eval.jsonl", 80)):
        rows = _rows(name)
        assert len(rows) >= least
        harms = Counter(row.harm for row in rows)
        assert harms["harmful"] == harms["benign"]
        categories = Counter(row.category for row in rows if row.harm == "benign")
        assert categories["sounds-alike"] == categories["everyday"]
        assert sum(categories.values()) == harms["benign"]


def test_replies_are_of_their_label_and_all_different() -> None:
    rows = [*_rows("starter.jsonl"), *_rows("starter-eval.jsonl")]
    assert len({row.reply for row in rows}) == len(rows)
    assert [row.line for row in rows if is_refusal(row.reply) != (row.harm == "harmful")] == []


def test_no_prompt_stands_near_another_one() -> None:
    train, held = _rows("starter.jsonl"), _rows("starter-eval.jsonl")
    shingles = [_shingles(row.prompt) for row in [*train, *held]]
    for index, one in enumerate(shingles):
        for other in shingles[:index]:
            assert len(one & other) < 0.4 * len(one | other), (one, other)
