from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.cli import Cli
from waltzrl_tui.training_data.training_file import read_training


def test_the_profile_document(cli: Cli, dataset: Path) -> None:
    dataset.write_text(dataset.read_text() + '{"prompt": "half wri')
    ended = cli("data", "profile", dataset, "--json")
    assert ended.code == 0
    assert ended.document.keys() >= {
        "path",
        "format",
        "rows",
        "bad_row_count",
        "bad_rows",
        "mapping",
        "unique",
        "near_unique",
        "labels",
        "tokens",
    }
    assert (ended.document["rows"], ended.document["bad_row_count"]) == (40, 1)
    assert ended.document["bad_rows"][0]["line"] == 41
    assert not (cli.home / "state").exists()

    shown = cli("data", "profile", dataset)
    assert "40 unique of 40" in shown.out
    assert "41  " in shown.out


def test_waste_is_priced_at_a_provider(cli: Cli, dataset: Path) -> None:
    once = dataset.read_text()
    dataset.write_text(once * 3)
    ended = cli("data", "profile", dataset, "--provider", "together", "--json")
    assert ended.document["waste"]["exact"]["rows"] == 80
    priced = ended.document["waste_usd"]
    assert (priced["provider"], priced["epochs"]) == ("together", 3.0)
    assert priced["usd"]["exact"] > 0 == priced["usd"]["contaminated"]
    more = cli("data", "profile", dataset, "--provider", "together", "--epochs", "6", "--json")
    assert more.document["waste_usd"]["usd"]["exact"] == pytest.approx(
        2 * priced["usd"]["exact"], rel=1e-3
    )
    closed = cli("data", "profile", dataset, "--provider", "mistral")
    assert "mistral has no price for these rows" in closed.out
    unknown = cli("data", "profile", dataset, "--provider", "togehter")
    assert unknown.code == 2
    assert "Did you mean together?" in unknown.err


@pytest.mark.parametrize("provider", ["fireworks", "bedrock", "bedrock_llama"])
def test_a_sample_for_a_provider_holds_chats_alone(
    cli: Cli, dataset: Path, tmp_path: Path, provider: str
) -> None:
    out = tmp_path / "out"
    assert cli("data", "sample", dataset, "--for", provider, "--out", out).code == 0
    for path in sorted(out.iterdir()):
        for line in path.read_text().splitlines():
            fields = json.loads(line)
            if provider == "bedrock_llama":
                assert fields.keys() == {"prompt", "completion"}
                continue
            roles = [turn["role"] for turn in fields["messages"]]
            if provider == "bedrock":
                assert fields.keys() == {"schemaVersion", "system", "messages"}
                assert roles == ["user", "assistant"]
            else:
                assert fields.keys() == {"messages"}
                assert roles == ["system", "user", "assistant"]


def test_sample_files_read_back_and_are_recorded(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    ended = cli(
        "data",
        "sample",
        dataset,
        "-n",
        "20",
        "--seed",
        "7",
        "--out",
        tmp_path / "out",
        "--valid",
        "0.2",
        "--json",
    )
    assert ended.code == 0
    document = ended.document
    assert document["recipe"].keys() >= {"n", "seed", "dedupe", "balance", "valid", "sha256"}
    assert document["dropped"].keys() >= {"exact", "near", "bad", "contaminated"}
    files = document["files"] + document["valid_files"]
    assert [file["role"] for file in files] == ["conversation", "feedback"] * 2
    prompts: dict[str, set[str]] = {}
    for file in files:
        rows = read_training(Path(file["path"]))
        assert len(rows) == file["rows"]
        prompts[Path(file["path"]).stem] = {row.messages[1]["content"] for row in rows}
    assert len(prompts["conversation-train"]) == 16
    assert prompts["conversation-train"].isdisjoint(prompts["conversation-valid"])

    sample, recorded = cli.store(_last_sample)
    assert sample.sha256 == document["recipe"]["sha256"]
    assert {file.path for file in recorded} == {file["path"] for file in files}


async def _last_sample(store):  # type: ignore[no-untyped-def]
    sample = (await store.samples.list())[0]
    return sample, await store.samples.files(sample.id)


def test_one_seed_gives_one_sample_whatever_the_order(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    lines = dataset.read_text().splitlines(keepends=True)
    random.Random(3).shuffle(lines)
    other = tmp_path / "shuffled.jsonl"
    other.write_text("".join(lines))
    hashes = []
    for source, seed in ((dataset, "1"), (other, "1"), (dataset, "2")):
        ended = cli(
            "data", "sample", source, "-n", "9", "--seed", seed, "--out", tmp_path / "out", "--json"
        )
        files = [file["sha256"] for file in ended.document["files"]]
        hashes.append((ended.document["recipe"]["sha256"], files))
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_a_role_gets_only_rows_that_can_teach_it(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "mixed.jsonl"
    rows = [
        {"prompt": f"question {number}", "reply": f"answer {number}"}
        | ({"harm": "benign"} if number < 10 else {})
        for number in range(12)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    both = cli("data", "sample", source, "--out", tmp_path / "out", "--valid", "0", "--json")
    conversation, feedback = both.document["files"]
    assert conversation["rows"] == 12
    assert both.document["dropped"]["unlabelled"] == 2
    assert {row.case.partition("/")[0] for row in read_training(Path(feedback["path"]))} == {
        "benign"
    }
    assert both.document["valid_files"] == []

    source.write_text('{"prompt": "no reply and no label"}\n')
    for role in ("conversation", "feedback"):
        ended = cli("data", "sample", source, "--role", role, "--out", tmp_path / "out")
        assert ended.code == 1
        assert role in ended.err


def test_a_column_that_is_not_there_cannot_balance(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    ended = cli("data", "sample", dataset, "--balance", "langauge", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "'langauge'" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["profile", "sample"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "does not exist"),
        (b"", "empty"),
        (bytes(range(256)) * 40, "binary"),
        (b'{"prompt": "hello", "rep', "line 1: "),
        (b'{"text": 5}\n{"other": "x"}\n', "line 1: "),
    ],
    ids=["missing", "empty", "binary", "half-written", "no prompt"],
)
def test_a_bad_dataset_is_told_in_one_message(
    cli: Cli, tmp_path: Path, command: str, content: bytes | None, said: str
) -> None:
    path = tmp_path / "bad.jsonl"
    if content is not None:
        path.write_bytes(content)
    out = ["--out", tmp_path / "out"] if command == "sample" else []
    ended = cli("data", command, path, "--json", *out)
    assert ended.code == 1
    assert ended.out == ""
    assert said in ended.err
    assert "bad.jsonl" in ended.err
    assert len(ended.err.splitlines()) == 2


def test_text_of_a_dataset_cannot_steer_the_terminal(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"prompt": "p", "reply": "r", "category": "\x1b]0;owned\x07\u202e\x9b31m"}
    path.write_text(json.dumps(row) + "\n")
    for arguments in (["--json"], []):
        printed = cli("data", "profile", path, *arguments).out
        assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(printed)


def test_a_sample_grows_and_keeps_what_it_had(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    def sampled(*options: object) -> dict[str, object]:
        ended = cli("data", "sample", dataset, "--json", *options)
        assert ended.code == 0, ended.err
        return ended.document

    first = sampled("-n", 12, "--seed", 5, "--where", "line > 4", "--out", tmp_path / "a")
    grown = sampled("-n", 30, "--extend", first["id"], "--out", tmp_path / "b")
    again = sampled("-n", 34, "--extend", grown["id"], "--out", tmp_path / "c")
    assert again["recipe"]["grown"] == [12, 30]
    assert (again["recipe"]["seed"], again["dropped"]["filtered"]) == (5, 4)
    for small, large in ((first, grown), (grown, again)):
        for split in ("files", "valid_files"):
            for one, two in zip(small[split], large[split], strict=True):
                short, long = (Path(each["path"]).read_text() for each in (one, two))
                assert long.startswith(short)

    wrong = ["data", "sample", dataset, "--out", tmp_path / "d", "--extend", first["id"]]
    assert "cannot grow" in cli(*wrong, "-n", 12).err
    other = cli(*wrong, "-n", 20, "--seed", 6)
    assert (other.code, "another --seed" in other.err) == (2, True)
    assert "no sample 99" in cli(*wrong[:-1], 99, "-n", 20).err
    with dataset.open("a") as out:
        out.write(json.dumps({"prompt": "new", "harm": "benign", "reply": "yes"}) + "\n")
    assert "or it changed" in cli(*wrong, "-n", 20).err


def test_bad_rows_are_exported_and_nothing_is_overwritten(
    cli: Cli, dataset: Path, tmp_path: Path
) -> None:
    dataset.write_text(dataset.read_text() + "broken\n" * 120)
    target = tmp_path / "bad.jsonl"
    assert cli("data", "profile", dataset, "--bad-rows", target).code == 0
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    assert [row["line"] for row in rows] == list(range(41, 161))
    assert all("broken JSON" in row["reason"] for row in rows)
    assert "exists already" in cli("data", "profile", dataset, "--bad-rows", target).err
    unused = tmp_path / "unused.jsonl"
    assert cli("data", "profile", tmp_path / "none", "--bad-rows", unused).code == 1
    assert not unused.exists()


def test_waste_leaks_and_personal_data_are_printed(cli: Cli, dataset: Path, tmp_path: Path) -> None:
    lines = dataset.read_text().splitlines()
    leak = {"prompt": "my number is +1 212 456 7890", "harm": "benign", "reply": "I won't call."}
    dataset.write_text("\n".join([*lines, lines[0], json.dumps(leak)]))
    suite = tmp_path / "suite.jsonl"
    suite.write_text(lines[2])
    shown = cli("data", "profile", dataset, "--suite", suite).out
    assert "duplicates                 1" in shown
    assert "in an evaluation suite     1" in shown
    assert "suite.jsonl:1 " in shown
    assert "in 1 row: phone in 1" in shown
    assert "212" not in shown
    document = cli("data", "profile", dataset, "--suite", suite, "--json").document
    assert document["contaminated"]["found"][0]["line"] == 3
    sample = cli("data", "sample", dataset, "--suite", suite, "--out", tmp_path / "o", "--json")
    assert sample.document["dropped"]["contaminated"] == 1
