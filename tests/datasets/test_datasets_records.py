"""Reading by blocks gives what reading line by line does, to searches and queries as well."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.query import query as query_module
from waltzrl_tui.datasets.query import search
from waltzrl_tui.datasets.query.query import column_values, matching_lines
from waltzrl_tui.datasets.reading import read
from waltzrl_tui.datasets.reading.blocks import blocks, parse_block
from waltzrl_tui.datasets.reading.parse import BadLine, parse_object, parse_row
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row

ROWS = Mapping(shape="rows", prompts=("prompt",), reply="reply", harm="harm", category="category")
LIMIT = 200
"""Bytes of a line that is not too long, here."""

GOOD = b'{"prompt":"p","reply":"r","harm":"benign","category":"c"'
# What stands behind them decides; programs that read JSON do not agree on most of these.
TAILS = [
    b"}",
    b"} \t\r",
    b" }",
    b',"x":"\xc3\xbc\xe6\xbc\xa2"}',
    b',"x":NaN}',
    b',"x":[-Infinity]}',
    b',"x":nan}',
    b',"x":1,}',
    b',"x":[1,]}',
    b',"prompt":"q"}',
    b',"x":{"a":1,"b":{"c":1,"c":2}}}',
    b',"\\u0070rompt":"q"}',
    b',"x":"\\ud800"}',
    b',"x":"\\ud83d\\ude00"}',
    b',"x":"\xff"}',
    b',"x":"\xed\xa0\x80"}',
    b',"x":"a\tb"}',
    b',"x":"\0"}',
    b',"x":01}',
    b',"x":1e999}',
    b',"x":' + b"9" * 99 + b"}",
    b',"x":"' + b"y" * 300 + b'"}',
    b"}{}",
    b"}\x0b",
    b"",
]
LINES = st.one_of(
    st.sampled_from(TAILS).map(lambda tail: GOOD + tail),
    st.sampled_from(
        [b"", b" ", b"\r", b"{}", b"{", b"[1]", b"7", b"null", b'!{"bad": "why"}', b"!"]
    ),
    # A value that goes on over the end of its line is none.
    st.sampled_from([b'{"prompt":', b'"p"}', b'{"prompt":"p', b'"}', b"[{", b"}]"]),
    st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")),
)
FILES = st.tuples(st.lists(LINES, max_size=14), st.booleans(), st.booleans(), st.integers(1, 400))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def write(path: Path, lines: list[bytes], mark: bool, ended: bool) -> None:
    path.write_bytes(b"\xef\xbb\xbf" * mark + b"\n".join(lines) + b"\n" * ended)


def one_by_one(lines: list[bytes]) -> dict[int, dict[str, Any] | str]:
    found: dict[int, dict[str, Any] | str] = {}
    for number, line in enumerate(lines):
        if len(line) > LIMIT:
            found[number] = "line longer than 0 MB"
        elif line.strip():
            try:
                found[number] = parse_object(line)
            except BadLine as reason:
                found[number] = str(reason)
    return found


@given(FILES)
def test_every_line_gives_its_object_or_its_reason(
    folder: Path, file: tuple[list[bytes], bool, bool, int]
) -> None:
    lines, mark, ended, size = file
    path = folder / "any"
    write(path, lines, mark, ended)
    found = {}
    with path.open("rb") as opened:
        for block in blocks(opened, size, limit=LIMIT):
            for place, value in parse_block(block):
                assert block.line(place) == lines[block.first + place][: LIMIT + 1]
                number = block.first + place
                found[number] = str(value) if isinstance(value, BadLine) else value
    wanted = one_by_one(lines)
    assert found == wanted


@settings(max_examples=40, deadline=None)
@given(FILES)
def test_rows_searches_and_queries_agree_on_every_line(
    folder: Path, file: tuple[list[bytes], bool, bool, int]
) -> None:
    lines, mark, ended, size = file
    lines = [GOOD + b"}", *lines]
    path = folder / "rows.jsonl"
    write(path, lines, mark, ended)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(read, "blocks", lambda file, limit: blocks(file, size))
        patch.setattr(search, "blocks", lambda file: blocks(file, size))
        patch.setattr(query_module, "_BLOCK", size)
        rows = list(read.iter_rows(path, ROWS))
        good, bad = array("Q"), array("Q")
        search.bad_lines(path, ROWS, bad)
        good = matching_lines(path, ROWS, "true")
        holding = matching_lines(path, ROWS, "contains(row::varchar, 'x')")
        values = column_values(path, ROWS, "row ->> 'x'")
    assert rows == [
        parse_row(number, line, ROWS) for number, line in enumerate(lines, 1) if line.strip()
    ]
    assert list(good) == [row.line - 1 for row in rows if isinstance(row, Row)]
    assert list(bad) == [row.line - 1 for row in rows if isinstance(row, BadRow)]
    assert list(holding) == [line for line in good if b'"x"' in lines[line]]
    assert values is not None
    last = len(lines) - (not ended and lines[-1] == b"")
    assert sorted(values.order()) == list(range(last))
    values.close()


@pytest.mark.parametrize("text", ["ss", "naïve", 'a "b"', "tab\there", "line\nend", "p", "É"])
def test_a_search_finds_what_the_rows_hold_however_the_file_writes_it(
    folder: Path, text: str
) -> None:
    rows = [
        {"prompt": f"{text} in a prompt", "reply": "r"},
        {"prompt": "q", "reply": f"in a reply: {text.upper()}"},
        {"prompt": "q", "reply": "neither", "note": text},
        {"prompt": "q", "reply": "rr"},
    ]
    for ascii_only in (True, False):
        path = folder / "found.jsonl"
        lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
        path.write_text("\n\n".join(lines), encoding="utf-8")
        found = array("Q")
        search.search(path, Mapping(shape="pairs", prompts=("prompt",), reply="reply"), text, found)
        wanted = [0, 2, 4, 6] if text == "q" else [0, 2]
        assert list(found) == wanted


def test_a_query_leaves_no_temporary_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(query_module._CONFIG, "memory_limit", "16MB")
    path = folder / "long.jsonl"
    with path.open("w") as out:
        for number in range(60_000):
            row = {"prompt": f"{number * 7919 % 60_000:06d} {'é' * 80}", "reply": "r"}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    values = column_values(
        path, Mapping(shape="pairs", prompts=("prompt",), reply="reply"), "prompt"
    )
    assert values is not None
    assert any(folder.iterdir() for folder in tmp_path.iterdir())
    order = list(values.order())
    values.close()
    assert order == sorted(range(60_000), key=lambda number: number * 7919 % 60_000)
    assert not list(tmp_path.iterdir())
