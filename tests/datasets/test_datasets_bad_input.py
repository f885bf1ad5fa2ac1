"""Input that breaks naive readers: each record of it is a row or a named bad one, nothing else."""

from __future__ import annotations

import json
import tracemalloc
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

from waltzrl_tui.datasets.profiling.profile import profile
from waltzrl_tui.datasets.query.query import column_values, matching_lines
from waltzrl_tui.datasets.query.search import bad_lines, search
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe, counts, draw, lines_where, survey
from waltzrl_tui.errors import DatasetError

PAIRS = Mapping(shape="pairs", prompts=("prompt",), reply="reply")


def row(prompt: str, reply: str = "r", **more: object) -> bytes:
    return json.dumps({"prompt": prompt, "reply": reply, **more}).encode() + b"\n"


def test_lines_of_50_mb_are_bad_rows_and_fill_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    with path.open("wb") as out:
        for number in range(3):
            out.write(row(f"before {number}"))
            out.write(b'{"prompt": "needle ')
            for _ in range(50):
                out.write(b"x" * 2**20)
            out.write(b'"}\n')
        out.write(row("after"))
    tracemalloc.start()
    rows = list(open_dataset(path))
    found, bad = array("Q"), array("Q")
    search(path, PAIRS, "needle", found)
    bad_lines(path, PAIRS, bad)
    good = matching_lines(path, PAIRS, "true")
    figures = profile(path, suites=())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 * 2**20
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [row.reason for row in rows if isinstance(row, BadRow)] == ["line longer than 8 MB"] * 3
    assert list(found) == list(bad) == [1, 3, 5]
    assert list(good) == [0, 2, 4, 6]
    assert (figures.rows, figures.bad_row_count) == (4, 3)


def test_columns_without_a_name_or_a_value_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("prompt,,harm,harm,note,\na,,benign,x,,1\nb,,harmful,y,,2\n")
    first = next(iter(open_dataset(path)))
    assert first == Row(
        1,
        "a",
        harm="benign",
        extra={"column 2": "", "harm (2)": "x", "note": "", "column 6": "1"},
    )
    mapping = open_dataset(path).mapping
    for where, lines in {
        "\"column 2\" = ''": [0, 1],
        "note <> ''": [],
        '"column 6" > 1': [1],
        "\"harm (2)\" = 'y'": [1],
    }.items():
        assert list(matching_lines(path, mapping, where)) == lines, where


def test_a_quote_that_is_never_closed_says_which_lines_it_took(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text('prompt,reply\nfine,"over\ntwo lines"\n"open,r\nlost,r\nlost too,r\n')
    good, bad = open_dataset(path)
    assert isinstance(good, Row) and good.reply == "over\ntwo lines"
    assert isinstance(bad, BadRow)
    assert "(lines 4 to 6 of the file; is a quote not closed?)" in bad.reason
    # What it took can be looked at.
    with open_dataset(path).source.open() as lines:
        assert b"lost too" in lines.read()


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_a_file_without_records_says_so(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"d.{kind}"
    if kind == "parquet":
        import duckdb

        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT 'p' AS prompt WHERE false) TO '{path}'")
    else:
        path.write_text("prompt,reply\n" if kind == "csv" else "[]")
    with pytest.raises(DatasetError, match=r"no records|only a header"):
        open_dataset(path)


def test_lines_in_three_encodings_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    text = '{"prompt": "schön", "reply": "r"}\n'
    path.write_bytes(text.encode() + text.encode("cp1252") + text.encode("utf-16-le") + row("end"))
    rows = list(open_dataset(path))
    assert [row.line for row in rows if isinstance(row, Row)] == [1]
    bad = [row for row in rows if isinstance(row, BadRow)]
    reasons = [row.reason for row in bad]
    assert bad[0].kind == "encoding"
    # In UTF-16 the line ends in the middle of a character, and the next one begins there.
    assert reasons[0] == "not UTF-8 at byte 16"
    assert len(reasons) == 3 and all("broken JSON" in each or "UTF-8" in each for each in reasons)


def test_half_a_surrogate_pair_in_a_label_breaks_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"".join(row(f"p{n}", lang="\ud800" if n % 2 else "de") for n in range(20)))
    sample = draw(open_dataset(path), SampleRecipe(str(path), n=10, balance="lang", valid=0))
    languages = [each.extra["lang"] for each in sample.train]
    assert (languages.count("de"), languages.count("\ud800")) == (5, 5)
    assert len(matching_lines(path, PAIRS, "lang = 'de' and row ->> 'lang' = 'de'")) == 10
    assert len(matching_lines(path, PAIRS, "length(row ->> 'lang') = 1")) == 10


def test_no_row_is_left_after_a_filter(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(row("a") + row("b"))
    dataset = open_dataset(path)
    recipe = SampleRecipe(str(path), where="prompt = 'c'")
    lines = lines_where(dataset, recipe.where)
    assert lines == frozenset()
    told = counts(survey(dataset, recipe, lines=lines), recipe)
    assert (told.train, told.valid, told.available) == (0, 0, 0)
    assert told.dropped["filtered"] == 2
    for dedupe in ("near", "off"):
        other = replace(recipe, dedupe=dedupe)  # type: ignore[arg-type]
        with pytest.raises(DatasetError, match=r"No usable row .* matches “prompt = 'c'”"):
            draw(dataset, other)


def test_numbers_without_end_and_values_of_any_type_make_a_histogram(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [row("p", size=n / 7) for n in range(40)]
    lines[3] = b'{"prompt": "p", "reply": "r", "size": ' + b"9" * 400 + b"}\n"
    lines[5] = row("p", size=None)
    path.write_bytes(b"".join(lines))
    for value, missing in {
        "size": 2,
        "1 / (size - 0)": 2,
        "[line]": 0,
        "date '2026-01-01'": 0,
    }.items():
        values = column_values(path, PAIRS, value)
        assert values is not None
        histogram = values.histogram()
        assert sorted(values.order()) == list(range(40))
        values.close()
        assert sum(bar.rows for bar in histogram.bars) == 40
        none = [bar for bar in histogram.bars if bar.label == "(no value)"]
        assert sum(bar.rows for bar in none) == missing, value
        for bar in none:
            assert len(matching_lines(path, PAIRS, bar.where)) == missing


def test_a_field_with_quotes_in_its_name_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(row("p", **{'a"b': 1, "_line": 2, "line": 3, "$v0": 4}) + row("q"))
    assert list(matching_lines(path, PAIRS, '"a""b" = 1 and "$v0" = 4 and line = 1')) == [0]
