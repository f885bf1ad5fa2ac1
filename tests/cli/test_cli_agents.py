from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from tests.support.cli import Cli
from waltzrl_tui.waltz.prompts import DEFAULT_FEEDBACK


def test_agents_and_pairs_come_and_go(cli: Cli) -> None:
    added = cli(
        "agents",
        "add",
        "mine",
        "--role",
        "conversation",
        "--url",
        "http://127.0.0.1:9/v1/",
        "--model",
        "m",
        "--key-env",
        "MY_KEY",
        "--json",
    )
    assert added.code == 0
    agent = added.document["agents"][0]
    assert (agent["kind"], agent["url"], agent["key_env"], agent["prompt"]) == (
        "openai",
        "http://127.0.0.1:9/v1",
        "MY_KEY",
        "conversation/full-1",
    )
    assert cli("pairs", "add", "ours", "--conversation", "mine", "--rounds", "2").code == 0
    pairs = cli("pairs", "list", "--json").document["pairs"]
    assert [(pair["name"], pair["rounds"]) for pair in pairs] == [("base", 1), ("ours", 2)]

    taken = cli("agents", "remove", "mine")
    assert (taken.code, "ours" in taken.err) == (2, True)
    assert cli("pairs", "remove", "ours").code == 0
    assert cli("agents", "remove", "mine").code == 0
    names = [agent["name"] for agent in cli("agents", "list", "--json").document["agents"]]
    assert names == ["base-conversation", "base-feedback"]
    assert cli("pairs", "remove", "ours").code == 1


@pytest.mark.parametrize(
    ("place", "kind", "url", "key"),
    [
        ("mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
        ("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        ("bedrock", "bedrock", "bedrock:", ""),
        ("ollama", "openai", "http://127.0.0.1:11434/v1", ""),
        ("http://127.0.0.1:9/v1", "openai", "http://127.0.0.1:9/v1", ""),
    ],
)
def test_a_place_has_its_address_and_key(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, place: str, kind: str, url: str, key: str
) -> None:
    # Nobody's server is asked for its list of models by a test.
    monkeypatch.delenv(key or "NONE", raising=False)
    named = ["agents", "add", "judge", "--role", "feedback", "--at", place]
    agent = cli(*named, "--model", "m", "--json").document["agents"][0]
    assert (agent["kind"], agent["url"], agent["key_env"]) == (kind, url, key)


def test_an_adapter_is_an_agent_when_it_is_one(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    arguments = ["agents", "add", "x", "--role", "feedback", "--adapter", folder]
    refused = cli(*arguments)
    assert (refused.code, str(folder) in refused.err) == (2, True)
    (folder / "adapter.gguf").write_bytes(b"GGUF")
    agent = cli(*arguments, "--json").document["agents"][0]
    assert (agent["kind"], agent["adapter"], agent["prompt"]) == (
        "embedded",
        str(folder),
        DEFAULT_FEEDBACK,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url", "http://127.0.0.1:9/v1", "--model", "m", "--key-env", "sk-SECRET123"],
        ["--url", "http://127.0.0.1:9/v1", "--model", "m", "--key-env", "hf_SECRET123"],
        ["--url", "https://user:SECRET123@host/v1", "--model", "m"],
        ["--url", "ftp://SECRET123/v1", "--model", "m"],
        ["--url", "http://[SECRET123/v1", "--model", "m"],
    ],
)
def test_a_key_is_neither_kept_nor_repeated(cli: Cli, arguments: list[str]) -> None:
    ended = cli("agents", "add", "x", "--role", "conversation", *arguments)
    assert ended.code == 2
    assert "SECRET123" not in ended.out + ended.err
    assert len(cli("agents", "list", "--json").document["agents"]) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--url", "http://127.0.0.1:9/v1"],
        ["--model", "m", "--key-env", "MY_KEY"],
        ["--model", "m", "--prompt", "feedback/brief-1"],
        ["--at", "nowhere", "--model", "m"],
        ["--at", "openai", "--url", "http://127.0.0.1:9/v1", "--model", "m"],
        ["--at", "bedrock", "--model", "m", "--key-env", "AWS_KEY"],
    ],
)
def test_an_agent_that_could_not_answer_is_not_added(cli: Cli, arguments: list[str]) -> None:
    assert cli("agents", "add", "x", "--role", "conversation", *arguments).code == 2


def test_an_addition_that_is_stopped_stores_nothing(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        named = ["agents", "add", "x", "--role", "feedback", "--model", "m", "--url"]
        process = cli.start(*named, url)
        silent.settimeout(60)
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(9) == b"GET /v1/m"
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in err
    names = [agent["name"] for agent in cli("agents", "list", "--json").document["agents"]]
    assert "x" not in names


def test_a_socks_proxy_is_named_and_the_agent_added(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    named = ["agents", "add", "x", "--role", "feedback", "--model", "m"]
    ended = cli(*named, "--url", "http://models.invalid/v1", "--json")
    assert ended.code == 0
    assert "ALL_PROXY" in ended.document["agents"][0]["notes"][0]
    assert ended.document["agents"][0]["created_at"]
