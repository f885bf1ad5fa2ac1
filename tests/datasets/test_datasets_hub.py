"""Pulling from the hub: the real client against an emulator of it on loopback."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulators.hub import HubEmulator, HubSet
from waltzrl_tui.cli import main
from waltzrl_tui.datasets.hub.files import choose, grouped
from waltzrl_tui.datasets.hub.pull import PARQUET_BRANCH, pull
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import DatasetError, UsageError, WaltzError
from waltzrl_tui.workspace import Workspace


def rows(*prompts: str) -> bytes:
    return b"".join(json.dumps({"prompt": each, "reply": "r"}).encode() + b"\n" for each in prompts)


def parquet(tmp_path: Path, *prompts: str) -> bytes:
    import duckdb

    path = tmp_path / "made.parquet"
    values = ", ".join(f"('{prompt}', 'r')" for prompt in prompts)
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM (VALUES {values}) AS t(prompt, reply)) TO '{path}'"
        )
    return path.read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubEmulator]:
    with HubEmulator({}) as emulator:
        monkeypatch.setenv("HF_ENDPOINT", emulator.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        yield emulator


def prompts(path: Path) -> list[str]:
    return [row.prompt for row in open_dataset(path) if isinstance(row, Row)]


def test_the_train_split_becomes_a_file_pinned_to_its_commit(
    hub: HubEmulator, workspace: Workspace
) -> None:
    train = rows("a", "b")
    held = hub.sets["o/set"] = HubSet(
        {"main": {"README.md": b"#", "train.jsonl": train, "test.jsonl": rows("c")}},
        card={"license": "mit"},
    )
    pulled = pull(workspace, f"{hub.url}/datasets/o/set")
    assert pulled.path == workspace.data / "set-train.jsonl"
    assert pulled.path.read_bytes() == train
    noted = json.loads((workspace.data / "set-train.jsonl.source.json").read_text())
    assert noted["revision"] == held.commit("main")
    assert (noted["licence"], noted["others"]) == ("mit", ["--split test"])
    assert noted["sha256"] == noted["files"][0]["sha256"] == hashlib.sha256(train).hexdigest()
    assert all(held.commit("main") in path for _, path, _ in hub.requests if "/resolve/" in path)


def test_shards_become_one_file(hub: HubEmulator, workspace: Workspace, tmp_path: Path) -> None:
    files = {
        "data/test-00000-of-00003.parquet": parquet(tmp_path, "a", "b"),
        "data/test-00001-of-00003.parquet": parquet(tmp_path, "c"),
        "data/test-00002-of-00003.parquet": parquet(tmp_path, "d"),
    }
    hub.sets["o/set"] = HubSet({"main": files})
    pulled = pull(workspace, "o/set", name="mine")
    assert pulled.path == workspace.data / "mine.jsonl"
    assert prompts(pulled.path) == ["a", "b", "c", "d"]


def test_without_files_of_its_own_the_hubs_conversion_is_taken(
    hub: HubEmulator, workspace: Workspace, tmp_path: Path
) -> None:
    converted = {"default/train/0000.parquet": parquet(tmp_path, "a")}
    hub.sets["o/set"] = HubSet({"main": {"set.py": b"..."}, PARQUET_BRANCH: converted})
    pulled = pull(workspace, "o/set")
    assert (pulled.branch, prompts(pulled.path)) == (PARQUET_BRANCH, ["a"])
    hub.sets["o/none"] = HubSet({"main": {"none.py": b"..."}})
    with pytest.raises(DatasetError, match="no supported data files"):
        pull(workspace, "o/none")


def test_an_interrupted_download_goes_on_where_it_stopped(
    hub: HubEmulator, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 16 * 1024)
    content = rows(*(f"prompt number {number}" for number in range(5000)))
    held = hub.sets["o/set"] = HubSet({"main": {"train.jsonl": content}})

    def stop(done: int, total: int) -> None:
        assert total == len(content)
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull(workspace, "o/set", on_progress=stop)
    assert pull(workspace, "o/set").path.read_bytes() == content
    [(_, _, asked)] = [each for each in hub.requests if each[2]]
    assert int(asked.removeprefix("bytes=").removesuffix("-")) >= 80_000
    # Unchanged, it is fetched again without harm; another set may not take its name.
    assert pull(workspace, "o/set").revision == held.commit("main")
    hub.sets["p/set"] = HubSet({"main": {"train.jsonl": rows("x")}})
    with pytest.raises(DatasetError, match="was not pulled from p/set"):
        pull(workspace, "p/set")


def test_a_gated_set_says_where_to_accept_and_takes_a_token(
    hub: HubEmulator, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"main": {"train.jsonl.gz": gzip.compress(rows("a"))}}
    hub.sets["o/gated"] = HubSet(files, gated=True, token="hf_secret")
    with pytest.raises(DatasetError, match="gated") as raised:
        pull(workspace, "o/gated")
    assert f"{hub.url}/datasets/o/gated" in raised.value.hint
    assert "HF_TOKEN" in raised.value.hint
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    pulled = pull(workspace, "o/gated")
    assert prompts(pulled.path) == ["a"]
    kept = b"".join(each.read_bytes() for each in workspace.home.rglob("*") if each.is_file())
    assert b"hf_secret" not in kept


def test_what_goes_wrong_is_said_in_words(
    hub: HubEmulator,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.sets["o/set"] = HubSet({"main": {"train.jsonl": rows("a")}})

    def said(repo: str, *options: str) -> str:
        assert main(["--home", str(workspace.home), "data", "pull", repo, *options]) in (1, 2)
        return capsys.readouterr().err

    assert "There is no dataset o/missing" in said("o/missing")
    assert "no revision “v9”" in said("o/set", "--revision", "v9")
    assert "Choose one with --split: train" in said("o/set", "--split", "test")
    assert "is not a dataset on the hub" in said("not a name")
    assert "cannot be a file" in said("o/set", "--out", "../up")
    hub.status = 500
    assert "status 500" in said("o/set")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    hub.status = 0
    assert "are free" in said("o/set")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "cannot be reached" in said("o/set")


def test_the_command_prints_where_it_comes_from(
    hub: HubEmulator, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.sets["o/set"] = HubSet({"main": {"train.csv": b"prompt,label\na,safe\n"}})
    assert main(["--home", str(workspace.home), "data", "pull", "o/set", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["format"], document["mapping"]["harm"]) == ("csv", "label")


CHOICES: list[tuple[list[str], object, str | None, str | None, list[str]]] = [
    (["train.jsonl", "train.parquet", "dataset_infos.json"], None, None, None, ["train.jsonl"]),
    (["a/train.csv", "a/test.csv", "b/train.csv"], None, "a", "test", ["a/test.csv"]),
    (["data/validation-0.parquet"], None, None, "valid", ["data/validation-0.parquet"]),
    (["x.csv", "y.csv"], None, "y", None, ["y.csv"]),
    (
        ["part-00000.jsonl", "part-00001.jsonl"],
        None,
        None,
        None,
        ["part-00000.jsonl", "part-00001.jsonl"],
    ),
    (
        ["hard.csv", "toxic.csv"],
        [
            {"config_name": "hard", "data_files": "hard.csv"},
            {"config_name": "t", "data_files": [{"split": "test", "path": ["toxic.*"]}]},
        ],
        "t",
        None,
        ["toxic.csv"],
    ),
    (
        ["d/a.tsv", "e/b.tsv"],
        [
            {
                "config_name": "train",
                "data_files": [{"split": "train", "path": "d/*"}],
                "default": True,
            },
            {"config_name": "eval", "data_files": "e/b.tsv"},
        ],
        None,
        None,
        ["d/a.tsv"],
    ),
]


@pytest.mark.parametrize(("names", "configs", "config", "split", "files"), CHOICES)
def test_the_right_files_are_chosen(
    names: list[str], configs: object, config: str | None, split: str | None, files: list[str]
) -> None:
    chosen = choose(grouped(names, {"configs": configs}), "o/set", config, split)
    assert list(chosen.files) == files


def test_several_configurations_are_listed() -> None:
    with pytest.raises(UsageError) as raised:
        choose(grouped(["a/train.csv", "b/train.csv"], {}), "o/set", None, None)
    assert "--config: a, b" in raised.value.hint
    assert isinstance(raised.value, WaltzError)
