"""`chats` on a workspace with chats in it, and `chat --vs` when one side fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.cli import Cli
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.store import Store

HOSTILE = "a needle \x1b[31m in it"


def fill(cli: Cli) -> int:
    async def work(store: Store) -> int:
        row = await store.transcripts.create("mine", "first")
        verdict = {"reasoning": "", "unsafe": False, "overrefuse": False, "feedback": ""}
        records: list[tuple[str, dict[str, Any]]] = [
            ("prompt", {"text": "first", "pair": "mine"}),
            ("reply", {"round": 0, "text": HOSTILE, "seconds": 1.0, "tokens": 3, "usd": 0.0}),
            ("verdict", {"round": 0, "verdict": verdict, "seconds": 0.5, "tokens": 9}),
            ("end", {"seconds": 1.5}),
        ]
        await store.transcripts.append(row.id, *records)
        for vote in ("left", "left", "tie"):
            duel = await store.duels.add("p", left="mine", right="base", harm="benign")
            await store.duels.vote(duel.id, vote)  # type: ignore[arg-type]
        return row.id

    return cli.store(work)


def test_chats_are_listed_found_written_and_counted(cli: Cli, tmp_path: Path) -> None:
    number = fill(cli)
    (chat,) = cli("chats", "list", "--json").document["chats"]
    assert (chat["id"], chat["pair"], chat["turns"]) == (number, "mine", 1)
    assert "first" in cli("chats", "list").out
    found = cli("chats", "search", "needl")
    assert "needle" in found.out and "\x1b" not in found.out
    assert cli("chats", "search", "nowhere", "--json").document == {"hits": []}

    assert "\x1b" not in cli("chats", "export", str(number)).out
    out = tmp_path / "chat.jsonl"
    assert cli("chats", "export", str(number), "--out", out).code == 0
    assert json.loads(out.read_text())["reply"] == HOSTILE
    assert cli("chats", "export", str(number), "--out", tmp_path / "chat.txt").code == 2
    assert cli("chats", "export", "77").code == 1

    (told,) = cli("chats", "votes", "--json").document["standings"]
    assert (told["first"], told["votes"]["first"], told["votes"]["tie"]) == ("mine", 2, 1)
    assert told["win_rate"]["n"] == 2
    assert "mine won 100 % of 2" in cli("chats", "votes").out


def test_one_side_that_fails_leaves_the_other(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None]
) -> None:
    scripted_pair("mine")
    scripted_pair("other")
    chat_server.script = lambda model, messages: 400 if model.startswith("mine") else "Fine."
    ended = cli("chat", "--pair", "mine", "--vs", "other", "--prompt", "Hi", "--json")
    assert ended.code == 1
    assert "scripted failure" in ended.document["error"]
    assert ended.document["vs"]["final"] == "Fine."
    chat_server.script = lambda model, messages: 400
    failed = cli("chat", "--pair", "mine", "--vs", "other", "--prompt", "Hi", "--json")
    assert (failed.code, failed.out) == (1, "")
