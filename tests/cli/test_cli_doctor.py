from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from waltzrl_tui.store import NewJob, Store


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    # Importing it takes seconds.
    monkeypatch.setattr("waltzrl_tui.cli.doctor.find_spec", lambda name: None)


def test_what_is_there(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-SECRET123")
    monkeypatch.delenv("MY_KEY", raising=False)
    before = cli("doctor", "--offline", "--json")
    assert (before.code, before.document["store"]["exists"]) == (0, False)
    # Looking makes nothing.
    assert not cli.home.exists()

    async def work(store: Store) -> None:
        await store.agents.add(
            "x", role="feedback", kind="openai", base="m", url="http://h/v1", key_env="MY_KEY"
        )
        await store.jobs.add_all([NewJob("abc-conv", "train", "feedback", "m", state="running")])

    cli.store(work)
    after = cli("doctor", "--offline", "--json")
    document = after.document
    assert document["store"]["integrity"] == "ok"
    key = document["keys"]["OPENAI_API_KEY"]
    assert (key["set"], key["needed"], key["where"]) == (True, False, "environment")
    assert document["keys"]["MY_KEY"]["needed"]
    assert not document["keys"]["MY_KEY"]["set"]
    assert document["stale_jobs"] == ["abc-conv"]
    text = cli("doctor", "--offline").out
    assert "OPENAI_API_KEY … (environment)" in text
    assert "jobs resume abc-conv" in text
    assert "SECRET123" not in text + json.dumps(document)


def test_a_damaged_store_is_a_failure(cli: Cli) -> None:
    path = cli.home / "state" / "waltzrl.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database, but it is long enough to be looked at" * 20)
    ended = cli("doctor", "--offline", "--json")
    assert ended.code == 1
    assert any(str(path) in problem for problem in ended.document["problems"])
    listed = cli("jobs", "list")
    assert (listed.code, listed.out) == (1, "")


def test_damaged_weights_are_a_failure(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waltzrl_tui.local.weights._WHEEL_SHA256", "0" * 64)
    ended = cli("doctor", "--offline", "--json")
    weights = ended.document["weights"]
    if weights["hash_ok"] is None:
        pytest.skip("the embedded weights are not installed")
    assert (ended.code, weights["hash_ok"]) == (1, False)
