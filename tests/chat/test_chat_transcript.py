from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.servers.scripted import ChatServer
from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.event_buffer import MAX_TURN_CHARACTERS
from waltzrl_tui.chat.export import to_jsonl, to_markdown
from waltzrl_tui.chat.transcript import (
    Record,
    Turn,
    history_messages,
    merge_pieces,
    prompt_record,
    replay,
)
from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.errors import EngineError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store import Store
from waltzrl_tui.waltz.waltz import LivePair
from waltzrl_tui.workspace import Workspace

_TEXT = st.text(max_size=12)
_RECORDS = st.lists(
    st.one_of(
        st.builds(prompt_record, _TEXT, _TEXT),
        st.tuples(
            st.sampled_from(["reply_text", "verdict_text"]),
            st.fixed_dictionaries({"round": st.integers(0, 2), "text": _TEXT}),
        ),
        st.tuples(
            st.sampled_from(["reply", "verdict", "end", "error", "from a later version"]),
            st.fixed_dictionaries({"round": st.integers(0, 2), "text": _TEXT}),
        ),
    ),
    max_size=30,
)


@given(_RECORDS)
def test_joining_pieces_changes_nothing_that_is_told(records: list[Record]) -> None:
    assert replay(merge_pieces(records)) == replay(records)


@given(_RECORDS, st.integers(0, 30))
def test_records_read_in_two_parts_tell_the_same(records: list[Record], cut: int) -> None:
    turns = replay(records[:cut])
    assert replay(records[cut:], turns) == replay(records)


def _turn(prompt: str, reply: str) -> Turn:
    turn = Turn(prompt, "pair")
    turn.apply("reply", {"round": 0, "text": "a draft"})
    turn.apply("reply", {"round": 1, "text": reply})
    return turn


def test_history_holds_the_latest_turns_that_fit_without_their_drafts() -> None:
    failed = Turn("three", "pair")
    failed.apply("reply_text", {"round": 0, "text": "half of"})
    failed.apply("error", {"message": "gone"})
    turns = [_turn("one", "word " * 50), _turn("two", "second"), failed]
    assert history_messages(turns, 20) == [
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "second"},
    ]
    assert len(history_messages(turns, 200)) == 4


class Endless:
    """An endpoint that sends `text` until it is closed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.closed = False

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        try:
            while True:
                yield Delta(self.text)
                await asyncio.sleep(0)
        finally:
            self.closed = True


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    async with await Store.open(Workspace(tmp_path)) as opened:
        yield opened


async def _retold(store: Store, number: int) -> list[Turn]:
    events = await store.transcripts.events(number)
    return replay((event.kind, event.data) for event in events)


async def test_all_that_a_turn_shows_is_in_the_store_at_that_moment(store: Store) -> None:
    endpoint = Endless("word ")
    pair = LivePair("pair", endpoint, "conversation/brief-1")
    chat, stop, seen = Conversation(store), asyncio.Event(), 0

    async def live() -> LivePair:
        return pair

    async for turn in chat.ask("Go on.", "pair", live, stop=stop, every=0.01):
        assert chat.row is not None
        assert (await _retold(store, chat.row.id))[-1] == turn
        seen += 1
        if seen == 4:
            stop.set()
    assert turn.stopped and turn.reply.startswith("word word")
    assert endpoint.closed


async def test_a_server_that_never_ends_is_cut_off(store: Store) -> None:
    endpoint = Endless("x" * 50_000)
    chat = Conversation(store)

    async def live() -> LivePair:
        return LivePair("pair", endpoint, "conversation/brief-1")

    turn = [turn async for turn in chat.ask("Go on.", "pair", live, stop=asyncio.Event())][-1]
    assert "longer than" in turn.error and endpoint.closed
    assert MAX_TURN_CHARACTERS <= len(turn.rounds[0].reply) <= MAX_TURN_CHARACTERS + 50_000


async def test_a_pair_that_cannot_be_made_ready_ends_the_turn_with_its_reason(
    store: Store,
) -> None:
    async def live() -> LivePair:
        raise EngineError("No weights.", hint="Install them.")

    chat = Conversation(store)
    turn = [turn async for turn in chat.ask("Hello", "pair", live, stop=asyncio.Event())][-1]
    assert chat.row is not None
    assert (turn.error, turn.hint) == ("No weights.", "Install them.")
    assert (await Conversation.reopen(store, chat.row.id)).turns == [turn]


def test_a_prompt_asked_again_takes_the_place_of_its_turn_if_a_reply_came() -> None:
    def said(turns: list[Turn], **how: bool) -> list[str]:
        return [turn["content"] for turn in history_messages(turns, 1000, "next", **how)]

    first, again = _turn("one", "worse"), _turn("one", "better")
    again.again = True
    failed = Turn("one", "pair", again=True)
    assert said([_turn("zero", "0"), first, again]) == ["zero", "0", "one", "better"]
    assert said([_turn("zero", "0"), first, again], again=True) == ["zero", "0"]
    # What failed takes no place, and is passed over once more when it is asked for again.
    assert said([first, failed]) == ["one", "worse"]
    assert said([first, failed, again]) == ["one", "better"]


class TellingServer(ChatServer):
    """Tells of each reply where it came from, as real servers do."""

    def _event(self, writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
        number = len(self.requests)
        told = {"id": f"reply-{number}", "model": self.requests[-1][0] + "-2026"}
        told["system_fingerprint"] = f"fp-{number}"
        if not fields["choices"]:
            ended = {"index": 0, "delta": {}, "finish_reason": "length"}
            super()._event(writer, {**told, "choices": [ended]})
        super()._event(writer, {**fields, **told})


async def test_where_each_reply_and_verdict_came_from_is_kept_and_exported(store: Store) -> None:
    flagged = '{"unsafe": true, "overrefuse": false, "feedback": "No."}'
    server = TellingServer()
    server.script = lambda model, messages: (
        flagged if model == "judge" else f"reply {len(messages)}"
    )
    await server.start()
    talk, judge = (OpenAIEndpoint(server.url, "k", name) for name in ("talk", "judge"))
    pair = LivePair("pair", talk, "conversation/brief-1", judge, "feedback/brief-1")

    async def live() -> LivePair:
        return pair

    chat = Conversation(store)
    turn = [turn async for turn in chat.ask("Hello", "pair", live, stop=asyncio.Event())][-1]
    for endpoint in (talk, judge):
        await endpoint.close()
    await server.stop()
    assert chat.row is not None
    (again,) = (await Conversation.reopen(store, chat.row.id)).turns
    assert again == turn
    wanted = [
        Origin(f"{name}-2026", f"reply-{number}", f"fp-{number}", "length", ())
        for number, name in enumerate(("talk", "judge", "talk", "judge"), 1)
    ]
    told = [each for state in again.rounds for each in (state.origin, state.verdict_origin)]
    assert told == wanted
    (line,) = to_jsonl(chat.row, [again]).splitlines()
    exported = [each["origin"] for each in json.loads(line)["rounds"]]
    assert [each[what] for each in exported for what in ("reply", "verdict")] == [
        each.to_json() for each in wanted
    ]
    text = to_markdown(chat.row, [again])
    assert all(f"id {each.id}" in text and each.model in text for each in wanted)


async def test_in_a_later_turn_the_feedback_agent_sees_that_exchange_alone(
    store: Store, chat_server: ChatServer
) -> None:
    chat_server.script = lambda model, messages: (
        '{"unsafe": false, "overrefuse": false}' if model == "judge" else f"reply {len(messages)}"
    )
    talk, judge = (OpenAIEndpoint(chat_server.url, "k", name) for name in ("talk", "judge"))
    pair = LivePair("pair", talk, "conversation/brief-1", judge, "feedback/brief-1")

    async def live() -> LivePair:
        return pair

    chat = Conversation(store)
    for prompt in ("first", "second"):
        async for _ in chat.ask(prompt, "pair", live, stop=asyncio.Event()):
            pass
    for endpoint in (talk, judge):
        await endpoint.close()
    judged = [messages for model, messages in chat_server.requests if model == "judge"]
    assert [messages[1:] for messages in judged] == [
        [{"role": "user", "content": "Prompt: first\nReply: reply 2"}],
        [{"role": "user", "content": "Prompt: second\nReply: reply 4"}],
    ]
