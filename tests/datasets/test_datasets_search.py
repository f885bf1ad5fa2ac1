from __future__ import annotations

import json
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.query.search import search
from waltzrl_tui.datasets.reading.mappings import guess_mapping
from waltzrl_tui.datasets.reading.read import first_objects
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.datasets.starter import copy_bundled
from waltzrl_tui.errors import DatasetError

MAPPING = Mapping(
    shape="rows", prompts=("prompt",), reply="reply", harm="harm", category="category"
)
_WORD = st.text(st.sampled_from('aAbé"\\/\n ß漢'), max_size=6)
_PART = st.text(st.sampled_from('aAbé"\\/ 漢'), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("search")


@given(st.lists(st.tuples(_WORD, _WORD), max_size=8), _PART, st.booleans())
def test_it_finds_the_lines_that_a_plain_look_at_the_rows_finds(
    folder: Path, pairs: list[tuple[str, str]], text: str, escaped: bool
) -> None:
    path = folder / "rows.jsonl"
    rows = [{"prompt": f"q{prompt}", "reply": f"r{reply}"} for prompt, reply in pairs]
    lines = [json.dumps(row, ensure_ascii=escaped) for row in rows]
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    found = array("Q")
    search(path, MAPPING, text, found)
    wanted = text.casefold()
    assert list(found) == [
        number * 2
        for number, row in enumerate(rows)
        if wanted in row["prompt"].casefold() or wanted in row["reply"].casefold()
    ]


def test_names_of_fields_do_not_count_but_labels_and_bad_lines_do(folder: Path) -> None:
    path = folder / "labels.jsonl"
    good = {"prompt": "x", "reply": "y", "harm": "benign", "category": "weapons"}
    path.write_text(json.dumps(good) + '\n{"prompt": "weap\n')
    for text, lines in [("prompt", [1]), ("weap", [0, 1]), ("BENIGN", [0]), ("nothing", [])]:
        found = array("Q")
        search(path, guess_mapping(first_objects(path)), text, found)
        assert list(found) == lines


def test_it_stops_when_it_is_told_to_and_says_how_far_it_is(folder: Path) -> None:
    path = folder / "long.jsonl"
    line = json.dumps({"prompt": "x" * 1000, "reply": "y"}) + "\n"
    path.write_text(line * 5000)
    found, seen = array("Q"), list[int]()
    search(path, MAPPING, "x", found, on_progress=seen.append, stop=lambda: len(seen) >= 2)
    assert len(seen) == 2
    assert 1024 * 1024 <= seen[0] < seen[1] < path.stat().st_size
    assert 0 < len(found) < 5000


def test_a_file_that_is_gone_is_told(folder: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        search(folder / "none.jsonl", MAPPING, "x", array("Q"))


def test_the_bundled_dataset_never_replaces_a_file(folder: Path) -> None:
    mine = folder / "starter.jsonl"
    mine.write_text("mine")
    assert copy_bundled(folder) == mine
    assert mine.read_text() == "mine"
