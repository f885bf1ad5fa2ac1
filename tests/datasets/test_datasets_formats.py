"""Every format gives the rows that its records hold; what is broken is named, nothing is lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from waltzrl_tui.cli import main
from waltzrl_tui.datasets.reading import jsonl_cache as copies
from waltzrl_tui.datasets.reading import to_jsonl
from waltzrl_tui.datasets.reading.json_split import JsonSplitter
from waltzrl_tui.datasets.reading.mappings import correct_mapping, guess_mapping, parse_choices
from waltzrl_tui.datasets.reading.read import DatasetFile, iter_rows, open_dataset, open_lines
from waltzrl_tui.datasets.reading.rows import BadRow, Mapping, Row
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

SHARED = Path(__file__).parents[3] / "shared" / "data"
ROWS = [{"prompt": 'a "b",\nc', "harm": "benign"}, {"prompt": "ü\u2028", "harm": "harmful"}]
WANTED = [Row(1, 'a "b",\nc', harm="benign"), Row(2, "ü\u2028", harm="harmful")]


def table(delimiter: str, rows: list[dict[str, str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


LINES = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
PRETTY = json.dumps(ROWS, indent=2, ensure_ascii=False).encode()
HOLDER = json.dumps({"about": {"x": [{"no": 1}]}, "tags": ["t"], "data": ROWS, "n": 2}).encode()
FORMATS: list[tuple[str, bytes, str]] = [
    ("d.json", PRETTY, "json"),
    ("d.json", json.dumps(ROWS).encode(), "json"),
    ("d.jsonl", PRETTY, "json"),
    ("d.json", LINES, "jsonl"),
    ("d.csv", LINES, "jsonl"),
    ("d.json", HOLDER, "json"),
    ("d.jsonl", HOLDER, "json"),
    ("d", json.dumps(json.loads(HOLDER), indent=1).encode(), "json"),
    ("d.json", b"\n".join(json.dumps(row, indent=1).encode() for row in ROWS), "json"),
    ("d.csv", table(",", ROWS), "csv"),
    ("d.csv", b"\xef\xbb\xbf" + table(";", ROWS), "csv"),
    ("d.tsv", table("\t", ROWS), "tsv"),
    ("d.txt", table("\t", ROWS), "tsv"),
    ("d.jsonl", table(",", ROWS), "csv"),
]


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(("name", "content", "form"), FORMATS)
def test_the_content_decides_and_the_rows_are_the_same(
    name: str, content: bytes, form: str, pack: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if pack else content)
    dataset = open_dataset(path)
    assert dataset.format == (f"{form}.gz" if pack else form)
    assert list(dataset) == WANTED


@pytest.mark.parametrize("pack", [False, True])
def test_parquet_with_nested_columns(pack: bool, tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "d[1]*.bin"
    with duckdb.connect() as connection:
        connection.execute(
            "COPY (SELECT [{'role': 'user', 'content': 'p' || i},"
            " {'role': 'assistant', 'content': 'r'}] AS messages, {'a': {'b': i}} AS meta,"
            " CASE WHEN i = 1 THEN 'nan'::DOUBLE END AS score, NULL::INTEGER AS empty"
            f" FROM range(3) AS t(i)) TO '{tmp_path}/made.parquet'"
        )
    content = (tmp_path / "made.parquet").read_bytes()
    path.write_bytes(gzip.compress(content) if pack else content)
    dataset = open_dataset(path)
    assert dataset.mapping.shape == "messages"
    extra = {"meta": {"a": {"b": 1}}, "score": None, "empty": None}
    assert list(dataset)[1] == Row(2, "p1", "r", extra=extra)
    path.write_bytes(content[:-20])
    with pytest.raises(DatasetError, match="cannot be read as Parquet"):
        open_dataset(path)


def bad(path: Path) -> dict[int, str]:
    return {row.line: row.reason for row in open_dataset(path) if isinstance(row, BadRow)}


def test_broken_records_of_a_table_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_bytes(
        b'prompt,harm\n"two\nlines",benign\nshort\n\na,b,c\ncaf\xe9,benign\n"last",harmful\n'
    )
    assert bad(path) == {
        2: "1 field where the header has 2 (line 4 of the file)",
        3: "3 fields where the header has 2 (line 6 of the file)",
        4: "not UTF-8: byte 0xE9 (line 7 of the file); is the file Windows-1252 or Latin-1?",
    }
    # The record itself can still be looked at.
    assert b"a,b,c" in DatasetFile.of(path).jsonl().read_bytes()


def test_broken_records_of_json_are_named_and_the_next_ones_read(tmp_path: Path) -> None:
    good = '{"prompt": "p"}'
    path = tmp_path / "d.json"
    path.write_text(
        f'[{good},\n{{"prompt": "p", "x": NaN}},\n{{"prompt": "p",\n "prompt": "q"}},\n'
        f'{{"prompt" "p"}}, 7, {good}, {{"prompt": "\\ud800"}}, {{"prompt": "cut'
    )
    found = bad(path)
    assert found[2] == "NaN is not a JSON value (line 2 of the file)"
    assert found[3] == 'field "prompt" appears twice (line 3 of the file)'
    assert found[4].startswith("broken JSON at column 11")
    assert found[5].startswith("not a JSON object but a number")
    assert "surrogate" in found[7]
    assert found[8].startswith("the file ends inside this record (line 5")
    assert "not closed" in found[9]


def test_nan_and_doubled_fields_are_bad_in_jsonl_too(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text(
        '{"prompt": "p"}\n{"prompt": "p", "x": Infinity}\n{"prompt": "a", "prompt": "b"}'
    )
    assert bad(path) == {
        2: "Infinity is not a JSON value",
        3: 'field "prompt" appears twice',
    }


def test_a_second_list_and_a_cut_archive_are_told(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps({"train": [{"prompt": "a"}], "test": [{"prompt": "b"}]}))
    assert "a second list, “test”, is not read" in bad(path)[2]
    lines = b"".join(b'{"prompt": "%d"}\n' % (number * 7919**3) for number in range(30_000))
    packed = tmp_path / "d.jsonl.gz"
    packed.write_bytes(gzip.compress(lines)[:-2000])
    [(line, reason)] = bad(packed).items()
    assert line > 1000
    assert "gzip file is damaged from here on" in reason


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl.gz"])
def test_a_runaway_record_is_bad_and_fills_no_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tracemalloc

    monkeypatch.setattr(to_jsonl, "MAX_LINE", 2**20)
    splitter = "waltzrl_tui.datasets.reading.json_split.JsonSplitter"
    monkeypatch.setattr(f"{splitter}.__init__.__kwdefaults__", {"limit": 2**20})
    long = "x" * 30 * 2**20
    rows = [
        {"prompt": "a", "harm": "benign"},
        {"prompt": long, "harm": "benign"},
        {"prompt": "z", "harm": "benign"},
    ]
    path = tmp_path / f"d.{kind}"
    if kind == "csv":
        path.write_bytes(table(",", rows))
    elif kind == "json":
        path.write_bytes(json.dumps(rows).encode())
    else:
        lines = b"\n".join(json.dumps(row).encode() for row in rows)
        path.write_bytes(gzip.compress(lines, 1))
        del lines
    del rows, long
    tracemalloc.start()
    first, second, third = list(open_dataset(path))
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()
    assert isinstance(second, BadRow) and "longer than" in second.reason
    assert [row.prompt for row in (first, third) if isinstance(row, Row)] == ["a", "z"]


def test_a_copy_can_be_read_and_indexed_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    gate = threading.Event()
    real = to_jsonl.jsonl_lines

    def slow(*given: Any) -> Any:
        for number, line in enumerate(real(*given)):
            if number == 1000:
                assert gate.wait(30)
            yield line

    monkeypatch.setattr(copies, "jsonl_lines", slow)
    path = tmp_path / "d.csv"
    path.write_bytes(table(",", [{"prompt": f"p{n}" * 20, "harm": "benign"} for n in range(3000)]))
    dataset = open_dataset(path, workspace=workspace)
    with dataset.source.index() as index:
        index.start()
        assert b"p0p0" in index.page(0, 2)[0]
        assert not index.done
        rows = iter(dataset)
        assert isinstance(next(rows), Row)
        gate.set()
        assert len(list(rows)) == 2999
        assert index.wait(30)
        assert (index.rows, index.progress, index.changed()) == (3000, 1.0, False)
    [copy] = (workspace.state / "cache" / "datasets").iterdir()
    assert copy.stat().st_mode & 0o777 == 0o600
    # Made once; made anew, and the old one deleted, when the file changes.
    before = copy.stat().st_ino
    assert DatasetFile.of(path, workspace).jsonl().stat().st_ino == before
    path.write_bytes(b"prompt\nnew\n")
    assert list(open_dataset(path, workspace=workspace)) == [Row(1, "new")]
    assert len(list((workspace.state / "cache" / "datasets").iterdir())) == 1


def test_a_copy_that_cannot_be_made_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: Any) -> Any:
        yield b'{"prompt": "p"}'
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies, "jsonl_lines", full)
    path = tmp_path / "d.csv"
    path.write_bytes(b"prompt\np\n")
    with pytest.raises(DatasetError, match="Not enough space") as raised:
        list(iter_rows(path))
    assert "--home" in raised.value.hint


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
records = st.lists(st.fixed_dictionaries({"prompt": texts, "note": texts}), min_size=1, max_size=8)


@given(records, st.sampled_from([",", "\t", ";"]))
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
def test_what_is_written_is_read_back(
    tmp_path: Path, rows: list[dict[str, str]], delimiter: str
) -> None:
    for number, (name, content) in enumerate(
        [("d.csv", table(delimiter, rows)), ("d.json", json.dumps(rows, indent=1).encode())]
    ):
        path = tmp_path / f"{number}{name}"
        path.write_bytes(content)
        with open_lines(path) as lines:
            assert [json.loads(line) for line in lines] == rows


values = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(max_size=3), inner)),
    max_leaves=8,
)


@given(st.lists(values, max_size=6), st.integers(1, 9), st.sampled_from([None, 1]))
@settings(deadline=None)
def test_a_list_is_cut_into_its_values(values: list[Any], chunk: int, indent: int | None) -> None:
    document = io.BytesIO(json.dumps(values, indent=indent).encode() + b" ")
    splitter = JsonSplitter(lambda _: document.read(chunk))
    assert splitter.peek() == b"["
    splitter.skip()
    raw = [record.raw for record in splitter.elements(separated=True)]
    assert [json.loads(each or b"") for each in raw] == values
    assert splitter.ended


GUESSES: list[tuple[dict[str, Any], Mapping]] = [
    (
        {"category": "c", "source": "s", "forbidden_prompt": "p"},
        Mapping(
            shape="prompts",
            prompts=("forbidden_prompt",),
            every_harm="harmful",
            category="category",
        ),
    ),
    (
        {"Behavior": "b", "SemanticCategory": "c", "ContextString": "", "BehaviorID": "i"},
        Mapping(
            shape="prompts",
            prompts=("Behavior",),
            every_harm="harmful",
            category="SemanticCategory",
            context="ContextString",
        ),
    ),
    (
        {"goal": "g", "behavior": "b", "category": "c", "target": "Sure, here is"},
        Mapping(shape="prompts", prompts=("goal",), category="category"),
    ),
    (
        {"goal": "g", "prompt": "p", "response": "r", "category": "c", "jailbroken": True},
        Mapping(
            shape="pairs",
            prompts=("prompt",),
            reply="response",
            every_harm="harmful",
            category="category",
        ),
    ),
    (
        {"type": "contrast_homonyms", "prompt": "p", "completion": "r", "final_label": "2"},
        Mapping(shape="pairs", prompts=("prompt",), reply="completion", harm="type"),
    ),
    (
        {"vanilla": "v", "adversarial": "", "completion": "r", "data_type": "vanilla_benign"},
        Mapping(
            shape="pairs", prompts=("adversarial", "vanilla"), reply="completion", harm="data_type"
        ),
    ),
]


@pytest.mark.parametrize(("record", "mapping"), GUESSES)
def test_public_sets_are_known(record: dict[str, Any], mapping: Mapping) -> None:
    assert guess_mapping([record]) == mapping


KNOWN: list[tuple[str, str, int, dict[str, int], str]] = [
    ("xstest/xstest_prompts.csv", "csv", 450, {"benign": 250, "harmful": 200}, "type"),
    ("xstest/xstest_v2_completions_gpt4.csv", "csv", 450, {"benign": 250, "harmful": 200}, "type"),
    ("strongreject/strongreject_dataset.csv", "csv", 313, {"harmful": 313}, "category"),
    ("harmbench/harmbench_behaviors_text_val.csv", "csv", 80, {"harmful": 80}, "SemanticCategory"),
    ("jailbreakbench/behaviors_100.json", "json", 100, {"": 100}, "category"),
    ("jailbreakbench/JBC_manual_vicuna-13b-v1.5.json", "json", 100, {"harmful": 100}, "category"),
    ("jailbreakbench/PAIR_black_box_vicuna-13b-v1.5.json", "json", 82, {"harmful": 82}, "category"),
]


@pytest.mark.parametrize(("name", "form", "count", "harm", "category"), KNOWN)
def test_the_real_files_are_read_right(
    name: str, form: str, count: int, harm: dict[str, int], category: str
) -> None:
    if not (SHARED / name).is_file():
        pytest.skip("the shared data is not here")
    dataset = open_dataset(SHARED / name)
    rows = [row for row in dataset if isinstance(row, Row)]
    labels = [row.harm for row in rows]
    assert (dataset.format, len(rows), dataset.mapping.category) == (form, count, category)
    assert {label: labels.count(label) for label in sorted(set(labels))} == harm
    if "vicuna" in name:
        assert all("jailbroken" in row.extra and row.reply for row in rows)


def test_labels_written_as_words_or_digits_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("prompt,is_safe\na,True\nb,false\nc,0\n")
    labels = [row.harm for row in open_dataset(path) if isinstance(row, Row)]
    assert labels == ["benign", "harmful", "harmful"]


OBJECTS = [{"q": "a", "text": "b", "kind": "x", "turns": [{"role": "user", "content": "c"}]}]
WRONG = ["", "prompt", "colour=q", "prompt=nothing", "harm==purple", "prompt==q", "prompt=,reply=q"]


@pytest.mark.parametrize("choice", WRONG)
def test_a_wrong_mapping_is_refused_with_the_fields(choice: str) -> None:
    with pytest.raises(UsageError) as raised:
        correct_mapping(guess_mapping(OBJECTS), parse_choices(choice), OBJECTS)
    assert raised.value.hint


def test_a_mapping_is_corrected_part_by_part() -> None:
    choices = parse_choices("prompt=q,reply=text,harm==benign,category==all of it")
    mapping = correct_mapping(guess_mapping(OBJECTS), choices, OBJECTS)
    assert mapping == Mapping(
        shape="pairs", prompts=("q",), reply="text", every_harm="benign", every_category="all of it"
    )
    chat = correct_mapping(guess_mapping(OBJECTS), {"prompt": "turns"}, OBJECTS)
    assert (chat.shape, chat.prompts, chat.reply) == ("messages", ("turns",), "")


async def test_a_kept_mapping_is_used_while_the_file_has_its_fields(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a", "other": "b"}\n')
    async with await Store.open(workspace) as store:
        await store.mappings.set(
            path, Mapping(shape="prompts", prompts=("other",), every_harm="harmful").to_json()
        )
        dataset = open_dataset(path)
        assert dataset.mapping.prompts == ("other",)
        assert list(dataset) == [Row(1, "b", harm="harmful", extra={"prompt": "a"})]
        path.write_text('{"prompt": "a"}\n')
        assert open_dataset(path).mapping.prompts == ("prompt",)
        assert await store.mappings.clear(path)
        assert await store.mappings.get(path) is None


def test_profile_keeps_the_mapping_that_it_is_given(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "d.csv"
    path.write_text("goal,other\na,b\n")

    def profiled(*options: str) -> Any:
        arguments = ["--home", str(workspace.home), "data", "profile", str(path), "--json"]
        assert main([*arguments, *options]) == 0
        return json.loads(capsys.readouterr().out)

    assert profiled("--map", "prompt=other,harm==harmful")["labels"]["harm"] == {"harmful": 1}
    document = profiled()
    assert (document["format"], document["mapping"]["prompt"]) == ("csv", "other")
    assert profiled("--map", "guess")["mapping"]["prompt"] == "goal"
