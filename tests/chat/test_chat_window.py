"""Long chats are held in part; branches and corrections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.chat.conversation import MAX_TURNS_IN_MEMORY, PAGE, Conversation
from waltzrl_tui.chat.transcript import Record, Turn, prompt_record
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.store import Store
from waltzrl_tui.waltz.waltz import LivePair
from waltzrl_tui.workspace import Workspace

MANY = 500


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    async with await Store.open(Workspace(tmp_path)) as opened:
        yield opened


def turn_records(number: int) -> list[Record]:
    return [
        prompt_record(f"prompt {number}", "pair"),
        ("reply", {"round": 0, "text": f"reply {number}", "seconds": 1.0, "tokens": 3}),
        ("end", {"seconds": 1.0}),
    ]


@pytest.fixture
async def long(store: Store) -> int:
    """The number of a transcript of `MANY` turns."""
    row = await store.transcripts.create("pair", "long")
    await store.transcripts.append(row.id, *(r for n in range(MANY) for r in turn_records(n)))
    return row.id


def shown(chat: Conversation) -> tuple[int, int]:
    """The first and the last turn of the window, which has no gap."""
    numbers = [turn.number for turn in chat.turns]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert [turn.reply for turn in chat.turns] == [f"reply {number}" for number in numbers]
    assert (chat.before, chat.after) == (numbers[0], MANY - 1 - numbers[-1])
    return numbers[0], numbers[-1]


async def test_any_turn_of_a_long_chat_is_reached_and_few_are_held(store: Store, long: int) -> None:
    chat = await Conversation.reopen(store, long)
    assert shown(chat) == (MANY - PAGE, MANY - 1)
    while await chat.earlier():
        assert len(chat.turns) <= MAX_TURNS_IN_MEMORY
        shown(chat)
    assert shown(chat)[0] == 0
    while await chat.later():
        assert len(chat.turns) <= MAX_TURNS_IN_MEMORY
        shown(chat)
    assert shown(chat)[1] == MANY - 1
    middle = (await store.transcripts.openings(long))[250]
    found = await Conversation.reopen(store, long, middle)
    first, last = shown(found)
    assert first < 250 < last


async def test_what_is_asked_follows_the_last_turns_wherever_one_looked(
    store: Store, long: int, chat_server: ChatServer
) -> None:
    chat = await Conversation.reopen(store, long, (await store.transcripts.openings(long))[3])
    assert shown(chat)[0] == 0
    talk = OpenAIEndpoint(chat_server.url, "k", "talk")

    async def live() -> LivePair:
        return LivePair("pair", talk, "conversation/brief-1")

    stop = asyncio.Event()
    turn = [
        turn async for turn in chat.ask("And now?", "pair", live, stop=stop, history_tokens=40)
    ][-1]
    await talk.close()
    assert turn.number == MANY
    told = [turn["content"] for turn in chat_server.requests[0][1]]
    assert told[-3:] == [f"prompt {MANY - 1}", f"reply {MANY - 1}", "And now?"]


async def test_a_branch_leaves_the_chat_it_came_from_as_it_was(store: Store, long: int) -> None:
    chat = await Conversation.reopen(store, long)
    turn = chat.turns[-3]
    await chat.correct(turn, 0, {"text": "corrected"})
    await chat.correct(chat.turns[-1], 0, {"text": "later"})
    made = await chat.branch(turn, "other")
    assert made.row is not None
    assert (made.row.branched_from, made.row.pair, made.row.turns) == (long, "other", MANY - 2)
    assert [each.reply for each in made.turns][-2:] == [f"reply {MANY - 4}", "corrected"]
    again = await Conversation.reopen(store, long)
    assert [each.reply for each in again.turns][-3:] == ["corrected", f"reply {MANY - 2}", "later"]
    assert again.turns[-1].rounds[0].edited and not again.turns[-2].rounds[0].edited
    await store.transcripts.remove(long)
    kept: list[Turn] = [turn async for page in made.pages() for turn in page]
    assert len(kept) == MANY - 2 and kept[0].reply == "reply 0"


async def test_a_corrected_verdict_replaces_the_one_that_came(store: Store) -> None:
    row = await store.transcripts.create("pair")
    verdict = {"reasoning": "", "unsafe": False, "overrefuse": False, "feedback": ""}
    await store.transcripts.append(
        row.id, *turn_records(0)[:2], ("verdict", {"round": 0, "verdict": verdict})
    )
    chat = await Conversation.reopen(store, row.id)
    right = verdict | {"unsafe": True, "feedback": "Decline."}
    await chat.correct(chat.turns[0], 0, {"verdict": right})
    for each in (chat, await Conversation.reopen(store, row.id)):
        found = each.turns[0].rounds[0].verdict
        assert found is not None and found.model_dump() == right


async def test_words_are_found_wherever_they_were_said(store: Store, long: int) -> None:
    other = await store.transcripts.create("pair", "other")
    await store.transcripts.append(
        other.id,
        prompt_record('Über "quotes" AND (parens', "pair"),
        ("reply_text", {"round": 0, "text": "half of a needl"}),
        ("reply", {"round": 0, "text": "a needle in it"}),
    )
    found = await store.transcripts.search("needle")
    assert [(hit.transcript.id, hit.text) for hit in found] == [(other.id, "a needle in it")]
    openings = await store.transcripts.openings(other.id)
    assert [hit.turn for hit in found] == openings
    assert [hit.turn for hit in await store.transcripts.search("uber quo")] == openings
    assert [hit.transcript.id for hit in await store.transcripts.search('" AND (par')] == [other.id]
    hits = await store.transcripts.search("reply 77")
    assert [hit.text for hit in hits] == ["reply 77"]
    assert await store.transcripts.search("  ") == []
    await store.transcripts.remove(other.id)
    assert await store.transcripts.search("needle") == []
