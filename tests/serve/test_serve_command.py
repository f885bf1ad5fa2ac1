"""`serve` as a process: what it refuses, what it prints, and how it ends."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.cli import Cli, environment, verdict
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.store import Store
from waltzrl_tui.store.answers import Price
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


async def added(home: Path, url: str, price: Price | None = None) -> None:
    """A pair "ours" of the agents "talk" and "judge"; the first has the price."""
    async with await Store.open(Workspace.find(home)) as store:
        for role, model in (("conversation", "talk"), ("feedback", "judge")):
            await store.agents.add(
                model,
                role=role,  # type: ignore[arg-type]
                kind="openai",
                base=model,
                url=url,
                prompt=f"{role}/full-1",
            )
        await store.agents.add_pair("ours", conversation="talk", feedback="judge")
        if price is not None:
            await store.answers.set_price("talk", price)


@asynccontextmanager
async def served(home: Path, *arguments: str) -> AsyncIterator[tuple[Process, Any]]:
    """The command with those arguments, and the document that it prints when it listens."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "waltzrl_tui", "serve", "--pair", "ours", "--port", "0", "--json", *arguments),
        env={**environment(home), "PAIR_KEY": KEY},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        lines: list[bytes] = []
        async with asyncio.timeout(60):
            while not lines or lines[-1].rstrip() != b"}":
                lines.append(await process.stdout.readline())
                assert lines[-1], "it ended without listening"
        yield process, json.loads(b"".join(lines))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_what_may_cost_is_told_and_wants_a_yes(cli: Cli) -> None:
    asyncio.run(added(cli.home, "https://api.example.com/v1", Price(3.0, 15.0)))
    refused = cli("serve", "--pair", "ours", "--port", "0")
    assert refused.code == 2
    # (260 + 500 x 0.5) read at $3 and 270 written at $15 a million are $0.0056.
    assert "A request to ours costs about $0.0056" in refused.err
    assert "asks judge (judge) at https://api.example.com/v1" in refused.err
    assert "waltzrl-tui agents price judge IN OUT" in refused.err
    assert "--yes" in refused.err


def test_a_budget_wants_to_know_the_prices(cli: Cli) -> None:
    asyncio.run(added(cli.home, "https://api.example.com/v1", Price(3.0, 15.0)))
    refused = cli("serve", "--pair", "ours", "--port", "0", "--yes", "--budget", "1")
    assert (refused.code, "the price of judge is not known" in refused.err) == (2, True)


async def test_a_pair_is_served_up_to_its_budget(tmp_path: Path, chat_server: ChatServer) -> None:
    chat_server.script = lambda model, messages: verdict() if model == "judge" else "one two"
    home = tmp_path / "home"
    await added(home, chat_server.url, Price(0.0, 1e6))
    async with served(home, "--yes", "--budget", "3") as (process, told):
        assert told["budget"] == 3
        turns: list[Any] = [{"role": "user", "content": "hi"}]
        async with openai.AsyncOpenAI(base_url=told["url"], api_key="any") as client:
            for _ in range(2):
                await client.chat.completions.create(model="ours", messages=turns)
            with pytest.raises(openai.APIStatusError) as caught:
                await client.chat.completions.create(model="ours", messages=turns)
            assert (caught.value.status_code, caught.value.code) == (402, "budget_reached")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            _, said = await process.communicate()
    assert process.returncode == 0
    assert "$4.00 of $3.00; the budget is used up" in said.decode()
    assert len(chat_server.requests) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_pair_is_served_until_a_signal(
    tmp_path: Path, chat_server: ChatServer, number: signal.Signals
) -> None:
    chat_server.script = lambda model, messages: verdict() if model == "judge" else "hello"
    home = tmp_path / "home"
    await added(home, chat_server.url)
    async with served(home, "--key-env", "PAIR_KEY") as (process, told):
        assert told["pairs"] == ["ours"]
        async with openai.AsyncOpenAI(base_url=told["url"], api_key=KEY) as client:
            turns: list[Any] = [{"role": "user", "content": "hi"}]
            answer: Any = await client.chat.completions.create(model="ours", messages=turns)
            assert answer.choices[0].message.content == "hello"
            # One that is under way must not keep it from ending.
            chat_server.delay = 30.0
            waiting = asyncio.create_task(
                client.with_options(max_retries=0).chat.completions.create(
                    model="ours", messages=turns
                )
            )
            while chat_server.in_flight == 0:
                await asyncio.sleep(0.01)
            process.send_signal(number)
            async with asyncio.timeout(20):
                rest, said = await process.communicate()
            with pytest.raises(openai.APIConnectionError):
                await waiting
    assert (process.returncode, rest) == (0, b"")
    assert KEY.encode() not in said + json.dumps(told).encode()
