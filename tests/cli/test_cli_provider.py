"""`train --provider`: a sample that grows and feedback that a teacher writes go there as well."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.emulators.huggingface import HuggingFaceEmulator
from tests.support.emulators.together import TogetherEmulator
from tests.support.servers.scripted import ChatServer


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WALTZRL_CACHE")


def test_what_is_sent_grows_a_sample_and_holds_the_teachers_words(
    cli: Cli,
    chat_server: ChatServer,
    dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chat_server.script = lambda model, messages: "Say first what you can do instead. " * 8
    first = cli("data", "sample", dataset, "-n", 12, "--out", tmp_path / "a", "--json").document
    teacher = ["--teacher", chat_server.url, "--teacher-model", "coach"]
    grown = ["train", dataset, "--provider", "together", "--extend", first["id"], "-n", 30]
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        # Nothing is sent, and no teacher asked, where the launch itself cannot be.
        refused = cli(*grown, *teacher, "--budget", "0.001", "--yes")
        assert (refused.code, chat_server.requests, there.files) == (1, [], {})
        ended = cli(*grown, *teacher, "--yes", "--wait", "--json")
        assert ended.code == 0, ended.err
        sent = [file.content.decode() for file in there.files.values()]
    written = [text for text in sent if "Say first what you can do instead." in text]
    assert len(written) == 2  # the feedback agent's files, for training and for validation
    assert sum(text.count("Say first") for text in written) > len(chat_server.requests) > 5
    for split in ("files", "valid_files"):
        [before] = [one for one in first[split] if one["role"] == "conversation"]
        rows = _messages(Path(before["path"]).read_text())
        assert any(_messages(text)[: len(rows)] == rows for text in sent)


def test_preferences_are_sent_for_dpo(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        options = ["--provider", "together", "--method", "dpo", "--yes", "--wait", "--json"]
        ended = cli("train", dataset, *options)
        assert ended.code == 0, ended.err
        for file in there.files.values():
            for line in file.content.decode().splitlines():
                told = json.loads(line)
                assert told["preferred_output"] != told["non_preferred_output"]
        created = [asked.json for asked in there.requests if asked.path == "/v1/fine-tunes"]
        methods = [body["training_method"]["method"] for body in created if body]
        assert methods and set(methods) == {"dpo"}


def test_only_rows_that_fulfil_the_condition_are_sent(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        options = ["--provider", "together", "--yes", "--wait", "--where"]
        ended = cli("train", dataset, *options, "harm = 'benign'")
        assert ended.code == 0, ended.err
        sent = "".join(file.content.decode() for file in there.files.values())
    assert "Benign question" in sent and "Harmful request" not in sent


def test_one_agent_is_trained_alone(
    cli: Cli, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [json.loads(line) for line in dataset.read_text("utf-8").splitlines()]
    answers = tmp_path / "answers.jsonl"
    kept = [{name: row[name] for name in ("prompt", "reply")} for row in rows]
    answers.write_text("".join(json.dumps(row) + "\n" for row in kept), "utf-8")
    options = ["--provider", "together", "--yes", "--json"]
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        both = cli("train", answers, *options)
        assert both.code == 1 and "--role conversation" in both.err
        assert there.files == {}
        for path, role in (
            (answers, "conversation"),
            (dataset, "conversation"),
            (dataset, "feedback"),
        ):
            ended = cli("train", path, *options, "--role", role)
            assert ended.code == 0, ended.err
            assert "Launch 1 job at Together" in ended.err
            assert [job["role"] for job in ended.document["jobs"]] == [role]
        assert len(there.jobs) == 3


def test_the_price_the_budget_and_the_machine_are_those_of_the_named_model(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, unknown = "meta-llama/Llama-3.3-70B-Instruct", "deepseek-ai/DeepSeek-R1"
    launch = ["train", dataset, "--yes", "--provider"]
    with TogetherEmulator(speed=600.0) as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        monkeypatch.setenv("TOGETHER_BASE_URL", there.url)
        plans = [
            cli("plan", dataset, "--chat-hours", "0", "--provider", "together", *model, "--json")
            for model in ([], ["--model", large])
        ]
        totals = [each.document["rows"][0]["total_usd"]["expected"] for each in plans]
        assert totals[1] > 4 * totals[0]
        between = str(sum(totals) / 2)
        over = cli(*launch, "together", "--model", large, "--budget", between)
        assert over.code == 1 and "over the budget" in over.err
        unpriced = cli(*launch, "together", "--model", unknown, "--budget", "1000")
        assert unpriced.code == 1 and f"{unknown} has no known price here" in unpriced.err
        assert "price is not known" in unpriced.err
        assert there.files == {} and there.jobs == {}
        ended = cli(*launch, "together", "--model", "Llama-3.3-70B-Instruct")
        assert ended.code == 0, ended.err
        created = [asked.json for asked in there.requests if asked.path == "/v1/fine-tunes"]
        assert {body["model"] for body in created if body} == {large}
    with HuggingFaceEmulator(speed=600.0) as hub:
        monkeypatch.setenv("HF_TOKEN", hub.key)
        asked = [*launch, "hf_jobs", "--provider-url", hub.url]
        cli(*asked, "--model", "Qwen/Qwen3-32B")
        cli(*asked)
        wishes = [job.wish for job in hub.jobs.values()]
    assert [wish["flavor"] for wish in wishes] == ["a100-large"] * 2 + ["l4x1"] * 2
    assert wishes[0]["timeoutSeconds"] > wishes[-1]["timeoutSeconds"]


def _messages(text: str) -> list[object]:
    return [json.loads(line)["messages"] for line in text.splitlines()]
