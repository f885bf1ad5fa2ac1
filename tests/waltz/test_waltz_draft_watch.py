"""Drafts that are judged while they grow, over the real client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.servers.paced import PacedServer
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.waltz.events import (
    DraftJudged,
    Event,
    ReplyEnded,
    ReplyText,
    VerdictEnded,
    WaltzEnded,
)
from waltzrl_tui.waltz.waltz import LivePair, waltz

ASKED = [{"role": "user", "content": "How do I build it?"}]
LONG = " ".join(f"step{number}" for number in range(60))


def verdict(unsafe: bool, feedback: str = "", overrefuse: bool = False) -> str:
    return json.dumps(
        {"unsafe": unsafe, "overrefuse": overrefuse, "feedback": feedback, "reasoning": "so"}
    )


@pytest.fixture
async def server() -> AsyncIterator[PacedServer]:
    made = PacedServer()
    await made.start()
    yield made
    made.go.set()
    await made.stop()


@pytest.fixture
async def pair(server: PacedServer) -> AsyncIterator[LivePair]:
    talk = OpenAIEndpoint(server.url, "k", "talk")
    judge = OpenAIEndpoint(server.url, "k", "judge")
    yield LivePair("pair", talk, "conversation/brief-1", judge, "feedback/brief-1", rounds=1)
    await talk.close()
    await judge.close()


async def told(pair: LivePair, watch: int = 5) -> list[Event]:
    async with asyncio.timeout(30):
        return [event async for event in waltz(pair, ASKED, watch_tokens=watch)]


async def test_an_unsafe_draft_is_stopped_early_and_revised(
    pair: LivePair, server: PacedServer
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "talk":
            return LONG if len(messages) == 2 else "I will not."
        # From the tenth step on the draft is harmful.
        return verdict("step9" in messages[-1]["content"], "Decline it.")

    server.script, server.pace = script, 0.02
    events = await told(pair)
    first = next(event for event in events if isinstance(event, ReplyEnded))
    assert first.cut and not first.stopped
    assert "step9" in first.reply and "step59" not in first.reply
    judged = next(event for event in events if isinstance(event, VerdictEnded))
    assert judged.verdict is not None and judged.verdict.unsafe
    assert judged.verdict.feedback == "Decline it."
    ended = events[-1]
    assert isinstance(ended, WaltzEnded)
    assert ended.final == "I will not."
    revision = [messages for model, messages in server.requests if model == "talk"][1]
    assert revision[-2:] == [
        {"role": "assistant", "content": first.reply},
        {"role": "user", "content": "Decline it."},
    ]
    assert any(isinstance(event, DraftJudged) for event in events)


async def test_a_harmless_draft_is_looked_at_and_judged_whole(
    pair: LivePair, server: PacedServer
) -> None:
    server.script = lambda model, _: LONG if model == "talk" else verdict(False)
    server.pace = 0.01
    events = await told(pair, watch=7)
    reply = next(event for event in events if isinstance(event, ReplyEnded))
    assert reply.reply == LONG and not reply.cut
    looks = [event for event in events if isinstance(event, DraftJudged)]
    assert looks and all(look.length < len(LONG) for look in looks)
    judged = [messages[-1]["content"] for model, messages in server.requests if model == "judge"]
    assert sum(LONG in each for each in judged) == 1


async def test_half_an_answer_that_looks_like_a_refusal_goes_on(
    pair: LivePair, server: PacedServer
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "talk":
            return LONG
        whole = LONG in messages[-1]["content"]
        return verdict(False, "" if whole else "Answer it.", overrefuse=not whole)

    server.script, server.pace = script, 0.01
    ended = (await told(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert [round.reply for round in ended.rounds] == [LONG]


@pytest.mark.parametrize("answer", [500, "no verdict at all"], ids=["fails", "prose"])
async def test_a_look_that_fails_changes_nothing(
    pair: LivePair, server: PacedServer, answer: int | str
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str | int:
        if model == "talk":
            return LONG
        return verdict(False) if LONG in messages[-1]["content"] else answer

    server.script, server.pace = script, 0.01
    ended = (await told(pair))[-1]
    assert isinstance(ended, WaltzEnded)
    assert ended.rounds[0].reply == LONG
    assert ended.rounds[0].verdict is not None


async def test_a_flag_stands_though_the_rest_of_the_verdict_is_broken(
    pair: LivePair, server: PacedServer
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        if model == "talk":
            return LONG if len(messages) == 2 else "I will not."
        return (
            '{"unsafe": true, "overrefuse": 3, oh'
            if "step" in messages[-1]["content"]
            else verdict(False)
        )

    server.script, server.pace = script, 0.02
    events = await told(pair)
    ended = events[-1]
    assert isinstance(ended, WaltzEnded)
    assert ended.rounds[0].verdict is not None and ended.rounds[0].verdict.unsafe
    assert ended.final == "I will not."


async def test_stopping_in_the_middle_of_it_ends_at_once(
    pair: LivePair, server: PacedServer
) -> None:
    server.script = lambda model, _: LONG if model == "talk" else '{"unsafe": true, "overrefuse": f'
    server.pace = 0.02
    stop = asyncio.Event()
    seen = 0
    async with asyncio.timeout(30):
        async for event in waltz(pair, ASKED, watch_tokens=3, stop=stop):
            seen += isinstance(event, ReplyText)
            if seen == 5:
                stop.set()
    assert isinstance(event, WaltzEnded) and event.stopped
