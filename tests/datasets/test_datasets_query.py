from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.query.query import column_values, matching_lines
from waltzrl_tui.datasets.query.values import bin_edges
from waltzrl_tui.datasets.reading.blocks import blocks
from waltzrl_tui.datasets.reading.line_index import LineIndex
from waltzrl_tui.datasets.reading.parse import MAX_LINE, parse_row
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.tokenizers.estimate import estimate_tokens

ROWS = Mapping(shape="rows", prompts=("prompt",), reply="reply", harm="harm", category="category")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("query")


def write(path: Path, lines: list[Any]) -> Path:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw) + b"\n")
    return path


def row(prompt: str, reply: str = "yes", harm: str = "benign", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "reply": reply, "harm": harm, "category": "c", **more}


def found(path: Path, where: str, mapping: Mapping = ROWS) -> list[int]:
    return list(matching_lines(path, mapping, where))


def test_it_names_columns_of_the_project_and_fields_of_the_file(folder: Path) -> None:
    path = write(
        folder / "fields.jsonl",
        [
            row("one", score=3, good=True, **{"my field": "x", "Ünï": "é", "a/b~c": "z"}),
            row("two two", "", harm="harmful", score=0.5),
            row("two two", "no", harm="harmful", score=0.5, good=False, meta={"lang": "de"}),
            row("it's", harm="unsafe", score="many"),
            {"prompt": "five", "reply": "r", "score": None},
        ],
    )
    for where, lines in {
        "harm = 'harmful'": [2, 3],
        "harm = ''": [4],
        "length(prompt) > 4 and reply <> 'yes'": [2],
        "score >= 0.5": [0, 2],
        "score > 0.5 -- a comment": [0],
        "good": [0],
        "not good": [2],
        "\"my field\" = 'x'": [0],
        "\"Ünï\" = 'é' and \"a/b~c\" = 'z'": [0],
        "line between 3 and 4": [2, 3],
        "prompt like '%''s'": [3],
        "meta ->> 'lang' = 'de'": [2],
        "row ->> '$.meta.lang' = 'de'": [2],
        "tokens > 0 and category is not null": [0, 2, 3, 4],
        "reply::int > 0": [],
        "random() >= 0": [0, 2, 3, 4],
        "score = (select 3)": [0],
    }.items():
        assert found(path, where) == lines, where


_TEXT = st.text(st.sampled_from("aZ9 \n\t.é漢ß'\"\\/{}😀"), max_size=9)
_VALUE = st.one_of(_TEXT, st.none(), st.integers(-3, 3), st.booleans(), st.just([1]))
_PLAIN = st.one_of(_TEXT, st.none(), st.integers(-3, 3))
_HARM = st.sampled_from(["harmful", "BENIGN", "adversarial benign", "?", "", None, 0, 1, True])
_TURN = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "human", "nobody"]),
        "from": st.sampled_from(["human", "gpt"]),
        "content": st.one_of(_TEXT, _TEXT, st.integers(0, 1)),
        "value": _TEXT,
    },
)
_LINE = st.fixed_dictionaries(
    {},
    optional={
        "prompt": _VALUE,
        "reply": _VALUE,
        "harm": _HARM,
        "category": _PLAIN,
        "context": _TEXT,
        "messages": st.one_of(st.lists(_TURN, max_size=4), _VALUE),
    },
)
_RAW = st.sampled_from(
    [b"", b"  \r", b'{"prompt": "x', b"\xff", b'{"prompt": "\xfe"}', b"[1]", b"7"]
)
_MAPPINGS = st.sampled_from(
    [
        ROWS,
        Mapping(shape="prompts", prompts=("prompt",)),
        Mapping(
            shape="instruction", prompts=("prompt",), reply="reply", harm="harm", context="context"
        ),
        Mapping(
            shape="messages",
            prompts=("messages",),
            reply="messages",
            harm="harm",
            category="category",
        ),
        Mapping(shape="messages", prompts=("messages",)),
        Mapping(shape="unknown"),
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(_LINE, _LINE, _LINE, _RAW), max_size=9), _MAPPINGS)
def test_its_columns_are_those_of_the_rows_as_they_are_read(
    folder: Path, lines: list[Any], mapping: Mapping
) -> None:
    path = write(folder / "any.jsonl", [{"prompt": "a"}, *lines])
    with LineIndex(path) as index:
        raw = index.page(0, 99)
    rows = [
        parse_row(number + 1, line, mapping) if line.strip() else None
        for number, line in enumerate(raw)
    ]
    good = {number: row for number, row in enumerate(rows) if isinstance(row, Row)}
    asked = "prompt || '|' || reply || '|' || harm || '|' || category || '|' || tokens"
    values = column_values(path, mapping, asked)
    assert values is not None
    got = values._connection.execute("SELECT line, value FROM line_values WHERE good").fetchall()
    values.close()
    assert dict(got) == {
        number: (
            f"{row.prompt}|{row.reply}|{row.harm}|{row.category}|"
            f"{estimate_tokens(row.prompt) + estimate_tokens(row.reply)}"
        )[:80]
        for number, row in good.items()
    }
    assert found(path, "true", mapping) == list(good)


def test_broken_lines_keep_their_numbers_and_fail_nothing(folder: Path) -> None:
    lines: list[Any] = [b"\xef\xbb\xbf" + json.dumps(row("first")).encode(), b"", b"{", b"\xff\xfe"]
    lines += [b'{"prompt": "x", "reply": "\0"}', row("x" * 100), b"null", b'"' + b"y" * MAX_LINE]
    lines += [json.dumps(row("z" * MAX_LINE)).encode(), row("last\r"), b"[" * 5000]
    path = write(folder / "broken.jsonl", lines)
    assert found(path, "true") == [0, 5, 9]
    assert found(path, "length(prompt) = 100") == [5]


@given(
    st.lists(st.sampled_from([b"a", b"bcd", b"", b"\xff", "é".encode()]), max_size=9),
    st.integers(1, 7),
)
def test_blocks_hold_every_line_once_whatever_their_size(
    folder: Path, lines: list[bytes], size: int
) -> None:
    path = folder / "blocks"
    path.write_bytes(b"\n".join(lines))
    with path.open("rb") as file:
        got = list(blocks(file, size))
    numbered = [
        (block.first + place, line)
        for block in got
        for place, line in enumerate(block.text.split("\n"))
    ]
    wanted = [(number, line.decode(errors="ignore")) for number, line in enumerate(lines)]
    assert [line for line in numbered if line[1]] == [line for line in wanted if line[1]]
    assert [number for number, _ in numbered] == list(range(len(numbered)))


@pytest.mark.parametrize(
    ("where", "said", "hint"),
    [
        (
            "hram = 'benign'",
            "No column “hram”. Did you mean harm?",
            "prompt, reply, harm, category, line",
        ),
        ('harm = "benign"', "“benign”", "'benign'"),
        ("harm = 'benign' and", "not finished", "Columns"),
        ("harm == = 'x'", "wrong at “=”", "Columns"),
        ("lenght(prompt) > 3", "no function “lenght”", "length"),
        ("prompt", "is text, not a condition", "Compare it"),
        ("tokens + 1", "is a number, not a condition", "Compare it"),
        ("count(*) > 3", "aggregates over rows", "one row"),
        ("true; drop table harms", "wrong at “;”", "Columns"),
        ("(select count(*) from read_text('/etc/hostname')) > 0", "", ""),
        ("getenv('HOME') <> ''", "", ""),
        ("  ", "is empty", "For example"),
    ],
)
def test_a_wrong_expression_is_told_by_its_word(
    folder: Path, where: str, said: str, hint: str
) -> None:
    path = write(folder / "wrong.jsonl", [row("one")])
    with pytest.raises(UsageError) as told:
        matching_lines(path, ROWS, where)
    assert said in told.value.message
    assert hint in told.value.message + told.value.hint


def test_it_stops_when_it_is_told_to_and_grows_what_is_shown(folder: Path) -> None:
    path = write(folder / "long.jsonl", [row("x" * 1000)] * 20000)
    lines, seen = array("Q"), list[int]()
    answer = matching_lines(
        path, ROWS, "true", lines=lines, on_progress=seen.append, stop=lambda: len(seen) >= 2
    )
    assert answer is lines
    assert 0 < len(lines) < 20000
    assert len(seen) == 2
    assert 0 < seen[0] < seen[1] < path.stat().st_size
    assert column_values(path, ROWS, "line", stop=lambda: True) is None
    with pytest.raises(DatasetError, match="does not exist"):
        matching_lines(folder / "none.jsonl", ROWS, "true")


def test_an_expression_that_takes_for_ever_can_be_given_up(folder: Path) -> None:
    path = write(folder / "slow.jsonl", [row("x")])
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    slow = "(select sum(sin(a.range * b.range)) from range(1000000) a, range(1000000) b) <> line"
    assert not matching_lines(path, ROWS, slow, stop=stop)


def test_orders_and_counts_a_column(folder: Path) -> None:
    lines: list[Any] = [
        row(f"p{n}", harm="harmful" if n % 3 else "benign", size=n % 7) for n in range(50)
    ]
    lines[7] = b"broken"
    lines[9]["reply"] = ""
    del lines[11]["size"]
    path = write(folder / "values.jsonl", lines)
    size = column_values(path, ROWS, "size")
    assert size is not None
    bad = {7, 9, 11}  # The last one only has no size.
    wanted = sorted(set(range(50)) - bad, key=lambda n: (n % 7, n))
    assert list(size.order()) == [*wanted, *sorted(bad)]
    down = sorted(set(range(50)) - bad, key=lambda n: (-(n % 7), n))
    assert list(size.order(descending=True)) == [*down, *sorted(bad)]
    histogram = size.histogram()
    assert (histogram.rows, histogram.different) == (48, 7)
    assert sum(bar.rows for bar in histogram.bars) == 48
    for bar in histogram.bars:
        assert len(found(path, bar.where)) == bar.rows, bar
    size.close()
    harm = column_values(path, ROWS, "harm")
    assert harm is not None
    assert [(bar.label, bar.rows) for bar in harm.histogram().bars] == [
        ("harmful", 32),
        ("benign", 16),
    ]
    harm.close()


@pytest.mark.parametrize("value", ["tokens", "length(prompt)", "line", "prompt", "score"])
def test_each_bar_finds_the_rows_that_it_counts(folder: Path, value: str) -> None:
    rows = [row("it's " * (n % 40) + str(n), score=n / 7 - 3) for n in range(300)]
    path = write(folder / "bars.jsonl", rows)
    values = column_values(path, ROWS, value)
    assert values is not None
    histogram = values.histogram()
    values.close()
    assert sum(bar.rows for bar in histogram.bars) == 300
    for bar in histogram.bars[:20]:
        if bar.where:
            assert len(found(path, bar.where)) == bar.rows, bar


@given(st.floats(-1e9, 1e9), st.floats(0, 1e9))
@example(1.0, 0.0005)
def test_bins_cover_all_values_with_a_number_of_bars_that_can_be_seen(
    low: float, span: float
) -> None:
    edges = bin_edges(low, low + span)
    assert edges[0] <= low
    assert low + span < edges[-1]
    assert edges == sorted(edges)
    assert 2 <= len(edges) <= 35


def test_guessed_columns_of_the_bundled_set(folder: Path) -> None:
    from waltzrl_tui.datasets.starter import bundled

    path = bundled("starter.jsonl")
    mapping = ROWS
    harmless = found(path, "harm = 'benign'", mapping)
    assert len(harmless) == 312
    with LineIndex(path) as index:
        lines = index.page(0, 624)
        for number in harmless[:20]:
            read = parse_row(number + 1, lines[number], mapping)
            assert not isinstance(read, BadRow) and read.harm == "benign"
