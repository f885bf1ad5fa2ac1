"""`serve` as a process: what it refuses, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

sys.path.append(str(Path(__file__).parents[1] / "cli"))

from cli_helpers import Cli, environment, verdict

from scripted_server import ChatServer
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

KEY = "sk-SECRET-of-the-pair"


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path / "home", capsys)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_others_are_not_served_without_a_key(cli: Cli, host: str) -> None:
    refused = cli("serve", "--pair", "base", "--host", host)
    assert (refused.code, "--key-env" in refused.err) == (2, True)


def test_a_key_must_be_there_and_not_on_the_command_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    assert cli("serve", "--pair", "base", "--key-env", "NO_SUCH_KEY").code == 2
    shown = cli("serve", "--pair", "base", "--key-env", KEY)
    assert (shown.code, KEY in shown.out + shown.err) == (2, False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_pair_is_served_until_a_signal(
    tmp_path: Path, chat_server: ChatServer, number: signal.Signals
) -> None:
    chat_server.script = lambda model, messages: verdict() if model == "judge" else "hello"
    home = tmp_path / "home"
    async with await Store.open(Workspace.find(home)) as store:
        for role, model in (("conversation", "talk"), ("feedback", "judge")):
            await store.agents.add(
                model,
                role=role,  # type: ignore[arg-type]
                kind="openai",
                base=model,
                url=chat_server.url,
                prompt=f"{role}/full-1",
            )
        await store.agents.add_pair("ours", conversation="talk", feedback="judge")
    arguments = ["serve", "--pair", "ours", "--port", "0", "--key-env", "PAIR_KEY", "--json"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "waltzrl_tui",
        *arguments,
        env={**environment(home), "PAIR_KEY": KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    lines: list[bytes] = []
    async with asyncio.timeout(60):
        while not lines or lines[-1].rstrip() != b"}":
            lines.append(await process.stdout.readline())
    told = json.loads(b"".join(lines))
    assert told["pairs"] == ["ours"]
    async with openai.AsyncOpenAI(base_url=told["url"], api_key=KEY) as client:
        turns: list[Any] = [{"role": "user", "content": "hi"}]
        answer: Any = await client.chat.completions.create(model="ours", messages=turns)
        assert answer.choices[0].message.content == "hello"
        # One that is under way must not keep it from ending.
        chat_server.delay = 30.0
        waiting = asyncio.create_task(
            client.with_options(max_retries=0).chat.completions.create(model="ours", messages=turns)
        )
        while chat_server.in_flight == 0:
            await asyncio.sleep(0.01)
        process.send_signal(number)
        async with asyncio.timeout(20):
            rest, said = await process.communicate()
        with pytest.raises(openai.APIConnectionError):
            await waiting
    assert (process.returncode, rest) == (0, b"")
    assert KEY.encode() not in said + b"".join(lines)
