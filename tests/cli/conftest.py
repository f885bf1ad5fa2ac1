from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.store import Store


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(tmp_path / "home", capsys)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Forty rows: harmful prompts that are refused and benign ones that are answered."""

    def unlike(number: int) -> str:
        # Prompts that differ in a number only are near duplicates, which stay together.
        return sha256(str(number).encode()).hexdigest()[:32]

    rows = [
        {
            "prompt": f"Harmful request number {number} {unlike(number)}",
            "harm": "harmful",
            "category": "weapons",
            "reply": "I can't help with that.",
        }
        if number % 2
        else {
            "prompt": f"Benign question number {number} {unlike(number)}",
            "harm": "benign",
            "category": "everyday",
            "reply": f"The answer is {number}.",
        }
        for number in range(40)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """A server in a thread of its own, since the command line runs its own event loop here."""
    server = ChatServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
    yield server
    asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


@pytest.fixture
def scripted_pair(cli: Cli, chat_server: ChatServer) -> Callable[[str], None]:
    """Adds a pair whose agents are models of the scripted server, called `<pair>-c` and `-f`."""

    def add(pair: str) -> None:
        async def work(store: Store) -> None:
            for role, letter in (("conversation", "c"), ("feedback", "f")):
                await store.agents.add(
                    f"{pair}-{role}",
                    role=role,  # type: ignore[arg-type]
                    kind="openai",
                    base=f"{pair}-{letter}",
                    url=chat_server.url,
                    prompt=f"{role}/full-1",
                )
            await store.agents.add_pair(
                pair, conversation=f"{pair}-conversation", feedback=f"{pair}-feedback"
            )

        cli.store(work)

    return add
