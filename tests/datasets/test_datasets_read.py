"""Reading: which fields are taken, which lines are bad and why, and that none is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.reading import read
from waltzrl_tui.datasets.reading.read import iter_rows, open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.errors import DatasetError


def write(path: Path, *lines: Any) -> Path:
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    )
    return path


SHAPES: list[tuple[dict[str, Any], str, Row]] = [
    (
        {"prompt": "p", "harm": "harmful", "category": "c", "reply": "r", "id": 7},
        "rows",
        Row(1, "p", "r", "harmful", "c", {"id": 7}),
    ),
    (
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "r"}]},
        "messages",
        Row(1, "p", "r"),
    ),
    (
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "p"},
                {"role": "assistant", "content": "r"},
            ]
        },
        "messages",
        Row(
            1,
            "p",
            "r",
            extra={
                "history": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "b"},
                ]
            },
        ),
    ),
    (
        {"conversations": [{"from": "human", "value": "p"}, {"from": "gpt", "value": "r"}]},
        "messages",
        Row(1, "p", "r"),
    ),
    ({"prompt": "p", "response": "r"}, "pairs", Row(1, "p", "r")),
    ({"prompt": "p", "completion": "r"}, "pairs", Row(1, "p", "r")),
    ({"question": "p", "answer": "r"}, "pairs", Row(1, "p", "r")),
    ({"instruction": "p", "input": "", "output": "r"}, "instruction", Row(1, "p", "r")),
    ({"instruction": "p", "input": "x", "output": "r"}, "instruction", Row(1, "p\n\nx", "r")),
    (
        {
            "prompt": "p",
            "expected_category": "unsafe",
            "safety_category": "weapons",
            "severity": 3,
            "suggested_response": "r",
            "reasoning": "why",
        },
        "waltzrl",
        Row(1, "p", "r", "harmful", "weapons", {"severity": 3, "reasoning": "why"}),
    ),
    ({"prompt": "p", "label": "safe", "type": "t"}, "prompts", Row(1, "p", "", "benign", "t")),
    ({"forbidden_prompt": "p", "is_safe": False}, "prompts", Row(1, "p", "", "harmful")),
]


@pytest.mark.parametrize(("line", "shape", "row"), SHAPES)
def test_known_shapes_are_guessed(
    line: dict[str, Any], shape: str, row: Row, tmp_path: Path
) -> None:
    dataset = open_dataset(write(tmp_path / "d.jsonl", line))
    assert dataset.mapping.shape == shape
    assert list(dataset) == [row]


GOOD = {"prompt": "p", "harm": "benign", "category": "c", "reply": "r"}
BAD: list[tuple[bytes | dict[str, Any] | list[int], str]] = [
    (b'{"prompt": "p", "reply" "r"}', "broken JSON at column 25"),
    ([1, 2], "not a JSON object but a list"),
    ({**GOOD, "prompt": 7}, 'field "prompt" is a number, not text'),
    ({**GOOD, "reply": None}, 'field "reply" is null, not text'),
    ({**GOOD, "prompt": " \n"}, 'empty prompt in field "prompt"'),
    ({**GOOD, "reply": ""}, 'empty reply in field "reply"'),
    ({"prompt": "p", "harm": "benign"}, 'no reply: field "reply" is missing'),
    (b'{"prompt": "\xff\xfe", "reply": "r"}', "not UTF-8 at byte 13"),
    (b'{"prompt": "\\ud800", "reply": "r"}', 'field "prompt" holds half of a surrogate pair'),
    (b'{"prompt": "p", "reply": ' + b"[" * 100_000, "JSON nested too deeply"),
    (b'{"prompt": "p", "reply": "r", "x": ' + b"9" * 5000 + b"}", "broken JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD)
def test_a_bad_line_is_named_with_its_reason(
    line: bytes | dict[str, Any] | list[int], reason: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "d.jsonl", GOOD, b"", line, GOOD)
    good, bad, last = list(open_dataset(path))
    assert isinstance(bad, BadRow)
    assert bad.line == 3
    assert bad.reason.startswith(reason)
    assert (good.line, last.line) == (1, 4)


def test_a_runaway_line_is_bad_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "MAX_LINE", 2**20)
    longest = {**GOOD, "prompt": "x" * (2**20 - len(json.dumps({**GOOD, "prompt": ""})))}
    path = write(tmp_path / "d.jsonl", {**GOOD, "prompt": "x" * 3 * 2**20}, longest, GOOD)
    rows = list(iter_rows(path))
    assert rows[0] == BadRow(1, "line longer than 1 MB")
    assert [row.line for row in rows if isinstance(row, Row)] == [2, 3]


def test_a_byte_order_mark_and_carriage_returns_are_no_part_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n")
    assert [row.line for row in open_dataset(path)] == [1]


def test_the_users_mapping_wins(tmp_path: Path) -> None:
    path = write(tmp_path / "d.jsonl", {"prompt": "a", "reply": "b", "other": "c"})
    [row] = iter_rows(path, Mapping(shape="pairs", prompts=("other",), reply="prompt"))
    assert isinstance(row, Row)
    assert (row.prompt, row.reply) == ("c", "a")


REFUSED: list[tuple[str, bytes, str]] = [
    ("e.jsonl", b"", "is empty"),
    ("e.jsonl", b"\n \n", "only blank lines"),
    ("e.jsonl", b"\x00\x01\x02" * 50, "is binary"),
    ("e.jsonl", "schön\n".encode("latin-1") * 9, "not UTF-8"),
    ("e.jsonl", '{"prompt": "a"}\n'.encode("utf-16"), "UTF-16"),
    ("e.jsonl", b"\x1f\x8b\x08rest", "damaged gzip"),
    ("e.parquet", b"PAR1rest", "cannot be read as Parquet"),
    ("e.csv", b"PK\x03\x04rest", "zip"),
    ("e.csv", b"colour,size\nred,3\n", "fields: colour, size"),
    ("e.csv", "prompt\nschön\n".encode("latin-1"), "not UTF-8: byte 0xF6 .line 2"),
    ("e.json", b'{"a": {"b": 1},\n "c": 2}\n', "no field holds a prompt|no list"),
    ("e.jsonl", b"hello\n", "line 1: broken JSON"),
    ("e.jsonl", b'{"colour": "red", "size": 3}\n', "fields: colour, size"),
]


@pytest.mark.parametrize(("name", "content", "said"), REFUSED)
def test_what_is_no_dataset_is_refused_in_words(
    name: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=said) as raised:
        open_dataset(tmp_path / name)
    assert raised.value.hint
    assert "UTF" not in said or "iconv" in raised.value.hint


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        open_dataset(tmp_path / "no.jsonl")
    with pytest.raises(DatasetError, match="is a folder"):
        open_dataset(tmp_path)


json_lines = st.dictionaries(
    st.sampled_from(["prompt", "reply", "harm", "messages", "x"]),
    st.one_of(st.text(max_size=9), st.integers(), st.none(), st.lists(st.text(max_size=3))),
).map(lambda fields: json.dumps(fields).encode())
any_lines = st.binary(max_size=30).map(lambda raw: raw.replace(b"\n", b" "))


# The first line says that it is JSONL.
@given(st.lists(st.one_of(json_lines, any_lines, st.just(json.dumps(GOOD).encode()))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_line_is_lost(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "d.jsonl"
    lines = [json.dumps(GOOD).encode(), *lines]
    path.write_bytes(b"\n".join(lines))
    rows = list(iter_rows(path))
    solid = [number for number, line in enumerate(lines, 1) if line.strip()]
    assert [row.line for row in rows] == solid
