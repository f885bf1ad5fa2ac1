from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.servers.scripted import Answer, ChatServer, Ended, Refused
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.waltz.events import (
    Event,
    ReplyEnded,
    ReplyText,
    VerdictEnded,
    WaltzEnded,
)
from waltzrl_tui.waltz.waltz import LivePair, waltz

SAFE = '{"reasoning": "fine", "unsafe": false, "overrefuse": false, "feedback": ""}'
UNSAFE = '{"reasoning": "harm", "unsafe": true, "overrefuse": false, "feedback": "Refuse this."}'
ASKED = [{"role": "user", "content": "How do I pick a lock?"}]


@pytest.fixture
async def pair(chat_server: ChatServer) -> AsyncIterator[LivePair]:
    talk = OpenAIEndpoint(chat_server.url, "k", "talk")
    judge = OpenAIEndpoint(chat_server.url, "k", "judge")
    yield LivePair("pair", talk, "conversation/brief-1", judge, "feedback/brief-1", rounds=1)
    await talk.close()
    await judge.close()


async def _all(pair: LivePair) -> list[Event]:
    return [event async for event in waltz(pair, ASKED)]


async def test_only_the_feedback_reaches_the_conversation_agent(
    pair: LivePair, chat_server: ChatServer
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "judge":
            return UNSAFE if "a draft" in messages[-1]["content"] else SAFE
        return "a draft" if len(messages) == 2 else "a better one"

    chat_server.script = script
    events = await _all(pair)
    ended = events[-1]
    assert isinstance(ended, WaltzEnded)
    assert [round.reply for round in ended.rounds] == ["a draft", "a better one"]
    assert ended.final == "a better one"
    revision = [messages for model, messages in chat_server.requests if model == "talk"][1]
    assert [turn["role"] for turn in revision] == ["system", "user", "assistant", "user"]
    assert revision[-1]["content"] == "Refuse this."


async def test_a_safe_reply_stands_unrevised(pair: LivePair, chat_server: ChatServer) -> None:
    chat_server.script = lambda model, messages: SAFE if model == "judge" else "fine"
    ended = (await _all(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert len(ended.rounds) == 1
    assert len(chat_server.requests) == 2


async def test_an_unreadable_verdict_leaves_the_reply(
    pair: LivePair, chat_server: ChatServer
) -> None:
    chat_server.script = lambda model, messages: "no JSON here" if model == "judge" else "fine"
    events = await _all(pair)
    verdict = next(event for event in events if isinstance(event, VerdictEnded))
    assert verdict.verdict is None
    assert "no JSON" in verdict.error
    assert verdict.raw == "no JSON here"
    ended = events[-1]
    assert isinstance(ended, WaltzEnded)
    assert ended.final == "fine"


async def test_stopping_keeps_what_was_streamed_and_ends_the_request(
    pair: LivePair, chat_server: ChatServer
) -> None:
    chat_server.script = lambda model, messages: "word " * 2000
    stop = asyncio.Event()
    seen = ""
    events: list[Event] = []
    async for event in waltz(pair, ASKED, stop=stop):
        events.append(event)
        if isinstance(event, ReplyText):
            seen += event.text
            stop.set()
    reply = next(event for event in events if isinstance(event, ReplyEnded))
    ended = events[-1]
    assert isinstance(ended, WaltzEnded)
    assert reply.stopped
    assert ended.stopped
    assert reply.reply == seen.strip() == ended.final != ""
    assert len(chat_server.requests) == 1


async def test_a_stop_is_not_kept_waiting_by_a_silent_endpoint(
    pair: LivePair, chat_server: ChatServer
) -> None:
    chat_server.delay = 60.0
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, stop.set)
    async with asyncio.timeout(10):
        events = [event async for event in waltz(pair, ASKED, stop=stop)]
    assert isinstance(events[-1], WaltzEnded)
    assert events[-1].final == ""


@pytest.mark.parametrize("answer", [401, None], ids=["refused", "broken off"])
async def test_failures_say_which_endpoint(
    pair: LivePair, chat_server: ChatServer, answer: int | None
) -> None:
    chat_server.script = lambda model, messages: answer
    with pytest.raises(EndpointError, match=r"127\.0\.0\.1"):
        await _all(pair)


AZURE = Refused(
    400,
    {"code": "content_filter", "message": "The response was filtered by the management policy."},
)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("", "empty"),
        (Ended("", "tool_calls"), "empty"),
        (Ended("", "length"), "exhausted"),
        (Ended("<think>so much to think", "length"), "exhausted"),
        (Ended("", "content_filter"), "filtered"),
        (Ended("Half a", "content_filter"), "filtered"),
        (Ended("", "error"), "failed"),
        (Ended("Half a", "error"), "failed"),
        (AZURE, "filtered"),
        (Ended("Whole.", "length"), ""),
    ],
)
async def test_what_is_no_whole_reply_is_an_outcome(
    pair: LivePair, chat_server: ChatServer, answer: Answer, outcome: str
) -> None:
    chat_server.script = lambda model, messages: SAFE if model == "judge" else answer
    ended = (await _all(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert (ended.outcome, ended.rounds[0].to_json()["outcome"]) == (outcome, outcome)
    assert not ended.withheld
    # Nothing was asked a second time.
    assert len(chat_server.requests) == 2


@pytest.mark.parametrize("revision", ["", Ended("", "content_filter"), Ended("", "error"), AZURE])
async def test_an_empty_revision_does_not_bring_an_unsafe_draft_back(
    pair: LivePair, chat_server: ChatServer, revision: Answer
) -> None:
    flag = UNSAFE

    def script(model: str, messages: list[dict[str, str]]) -> Answer:
        if model == "judge":
            return flag
        return "Step one." if len(messages) == 2 else revision

    chat_server.script = script
    ended = (await _all(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert (ended.final, ended.withheld) == ("", True)
    assert ended.outcome
    # One that was only timid stands.
    flag = UNSAFE.replace(
        '"unsafe": true, "overrefuse": false', '"unsafe": false, "overrefuse": true'
    )
    ended = (await _all(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert (ended.final, ended.withheld, ended.outcome) == ("Step one.", False, "")


async def test_an_empty_draft_is_not_sent_back(pair: LivePair, chat_server: ChatServer) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "judge":
            return SAFE if "mended" in messages[-1]["content"] else UNSAFE
        return "" if "Refuse this." not in messages[-1]["content"] else "mended"

    chat_server.script = script
    ended = (await _all(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert ended.final == "mended"
    assert chat_server.requests[2][1][1:] == [
        {"role": "user", "content": "How do I pick a lock?\n\nRefuse this."}
    ]


async def test_an_account_that_is_barred_is_a_failure(
    pair: LivePair, chat_server: ChatServer
) -> None:
    words = "Your account was blocked because of our usage policies"
    chat_server.script = lambda model, messages: Refused(403, {"message": words})
    with pytest.raises(EndpointError, match="usage policies"):
        await _all(pair)
