"""A teacher's options: one price and one yes beforehand, provenance afterwards, no key kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.local.prepare import read_rows
from waltzrl_tui.store import Store
from waltzrl_tui.training_data.training_file import read_training

KEY = "a-very-secret-value"


@pytest.fixture
def options(chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COACH_TOKEN", KEY)
    chat_server.script = lambda model, messages: "Answer the question."
    return [
        *("--teacher", chat_server.url, "--teacher-model", "coach"),
        *("--teacher-key-env", "COACH_TOKEN"),
        *("--teacher-price", "1,2", "--teacher-budget", "0.5"),
    ]


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WALTZRL_CACHE")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs whose workers would have been started."""
    ids: list[str] = []

    async def pretend(_workspace: object, job_id: str) -> None:
        ids.append(job_id)

    monkeypatch.setattr("waltzrl_tui.training.launch.launch_worker", pretend)
    monkeypatch.setattr("waltzrl_tui.training.launch.require", lambda: None)
    return ids


def test_a_sample_asks_once_and_says_who_wrote_what(
    cli: Cli, chat_server: ChatServer, dataset: Path, tmp_path: Path, options: list[str]
) -> None:
    out = tmp_path / "out"
    command = ["data", "sample", dataset, "--valid", "0.2", "--out", out, *options]
    refused = cli(*command)
    assert refused.code == 2
    # Half of the 40 prompts are harmless, and each of those has one refusal to be flagged.
    assert "coach writes the feedback of 20 rows: about $0.00" in refused.err
    assert "--yes" in refused.err
    assert chat_server.requests == []
    assert not out.exists()

    ended = cli(*command, "--yes", "--json")
    assert ended.code == 0
    assert ended.err.count("about $") == 1
    assert len(chat_server.requests) == 20
    document = ended.document
    assert document["teacher"]["taught"] == 20
    assert 0 < document["teacher"]["usd"] < 0.01
    train, valid = (
        next(file for file in document[name] if file["role"] == "feedback")
        for name in ("files", "valid_files")
    )
    assert train["feedback_by"]["teacher"] + valid["feedback_by"]["teacher"] == 20
    for file in (train, valid):
        rows = read_training(Path(file["path"]))
        wrote = [row.feedback_by for row in rows]
        assert wrote.count("teacher") == file["feedback_by"]["teacher"] > 0
        assert set(wrote) == {"teacher", "template"}
        for row in rows:
            said = json.loads(row.messages[-1]["content"])["feedback"]
            assert (said == "Answer the question.") == (row.feedback_by == "teacher")

    async def recorded(store: Store) -> dict[str, Any]:
        files = await store.samples.files(document["id"])
        return {file.path: file.recipe for file in files}

    recipe = cli.store(recorded)[train["path"]]
    assert recipe["feedback_by"] == train["feedback_by"]
    assert recipe["teacher"]["model"] == "coach"

    # What was paid for once costs nothing, and so wants no yes.
    again = cli(*command)
    assert again.code == 0
    assert "0 rows (20 more are stored from earlier), which costs nothing" in again.err
    assert "20 rows (20 from the cache), templated: 0; $0" in again.out
    assert len(chat_server.requests) == 20
    assert _holds_no_key(cli.home, out)


def _holds_no_key(*folders: Path) -> bool:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return bool(files) and all(KEY.encode() not in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--teacher-model", "m"], "--teacher-model goes with --teacher URL"),
        (["--teacher", "URL"], "no model"),
        (["--teacher", "ftp://x/v1", "--teacher-model", "m"], "not the address of a server"),
        (["--teacher", "http://me:secret@x/v1", "--teacher-model", "m"], "has a user or"),
        (["--teacher", "https://x.test/v1", "--teacher-model", "m"], "is not known"),
        (["--teacher", "URL", "--teacher-model", "m", "--teacher-price", "1,2"], "a budget"),
        (["--teacher", "URL", "--teacher-model", "m", "--teacher-price", "1"], "amount"),
        (["--teacher", "URL", "--teacher-model", "m", "--teacher-key-env", "NOT_SET"], "not set"),
        (
            ["--teacher", "URL", "--teacher-model", "m", "--teacher-key-env", "sk-abc"],
            "never a key",
        ),
        (["--teacher", "URL", "--teacher-model", "m", "--role", "conversation"], "has none"),
    ],
)
def test_a_teacher_that_is_not_all_there_is_refused(
    cli: Cli,
    chat_server: ChatServer,
    dataset: Path,
    tmp_path: Path,
    started: list[str],
    given: list[str],
    said: str,
) -> None:
    given = [chat_server.url if each == "URL" else each for each in given]
    for command in (["data", "sample", dataset, "--out", tmp_path / "out"], ["train", dataset]):
        ended = cli(*command, "--yes", *given)
        assert ended.code == 2
        assert said in ended.err
        assert not {"sk-abc", "secret"} & set(ended.err.replace("@", " ").replace(":", " ").split())
    assert started == []
    assert chat_server.requests == []


def test_training_shows_the_teachers_price_and_hands_it_no_key(
    cli: Cli, chat_server: ChatServer, dataset: Path, options: list[str], started: list[str]
) -> None:
    refused = cli("train", dataset, "-n", "20", *options)
    assert refused.code == 2
    assert "about $0.0" in refused.err
    assert "--yes" in refused.err
    assert started == []

    jobs = cli("train", dataset, "-n", "20", *options, "--yes", "--json").document["jobs"]
    assert [job["id"] for job in jobs] == started
    job = cli.store(lambda store: store.jobs.get(jobs[0]["id"]))
    assert job.params["teacher"] == {
        "url": chat_server.url,
        "model": "coach",
        "key_env": "COACH_TOKEN",
        "usd_in": 1.0,
        "usd_out": 2.0,
        "budget_usd": 0.5,
    }
    assert chat_server.requests == []
    assert _holds_no_key(cli.home)


def test_a_training_extends_an_earlier_sample(
    cli: Cli, dataset: Path, started: list[str], tmp_path: Path
) -> None:
    def rows(*options: object) -> tuple[Any, dict[str, list[str]]]:
        ended = cli("train", dataset, "--json", *options)
        assert ended.code == 0, ended.err
        job = cli.store(lambda store: store.jobs.get(ended.document["jobs"][0]["id"]))
        drawn = {
            split: read_rows(Path(job.params[f"{split}_rows"])) for split in ("train", "valid")
        }
        return job, {split: [row.prompt for row in part] for split, part in drawn.items()}

    first, few = rows("-n", 12, "--seed", 5, "--valid", 0.25)
    grown, more = rows("-n", 30, "--extend", first.sample_id)
    for split in ("train", "valid"):
        assert few[split] == more[split][: len(few[split])]
        assert len(more[split]) > len(few[split]) > 0
    recorded = cli.store(lambda store: store.samples.get(grown.sample_id))
    assert recorded.recipe["grown"] == [12]
    # The other way round as well: what was trained on is extended as files.
    out = ["--out", tmp_path / "out", "--json"]
    files = cli("data", "sample", dataset, "-n", 34, "--extend", grown.sample_id, *out).document
    assert files["recipe"]["grown"] == [12, 30]

    count = len(started)
    other = cli("train", dataset, "--extend", first.sample_id, "-n", 20, "--seed", 6)
    assert (other.code, "another --seed" in other.err) == (2, True)
    assert len(started) == count
