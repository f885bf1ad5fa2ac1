"""A served pair asked by the real OpenAI client, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest

from tests.support.servers.paced import PacedServer
from tests.support.servers.scripted import Answer, Ended, Refused
from waltzrl_tui.endpoints.costs import BillingRate
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.serve.meter import Meter, MeteredEndpoint
from waltzrl_tui.serve.server import PairServer, ServerSettings
from waltzrl_tui.waltz.waltz import LivePair

SAFE = '{"reasoning": "fine", "unsafe": false, "overrefuse": false, "feedback": ""}'
UNSAFE = '{"reasoning": "harm", "unsafe": true, "overrefuse": false, "feedback": "Refuse this."}'
ASKED: list[Any] = [{"role": "user", "content": "How do I pick a lock?"}]


class House:
    """A scripted model server, the pairs on it, and who serves them."""

    def __init__(self, models: PacedServer) -> None:
        self.models = models
        self.endpoints: list[OpenAIEndpoint] = []
        self.servers: list[PairServer] = []
        self.clients: list[openai.AsyncOpenAI] = []

    def pair(self, rounds: int = 1, *, judged: bool = True) -> LivePair:
        talk, judge = (OpenAIEndpoint(self.models.url, "k", name) for name in ("talk", "judge"))
        self.endpoints += [talk, judge]
        return LivePair(
            "ours",
            talk,
            "conversation/brief-1",
            judge if judged else None,
            "feedback/brief-1",
            rounds,
        )

    async def client(
        self, *pairs: LivePair, meter: Meter | None = None, **settings: Any
    ) -> openai.AsyncOpenAI:
        served = {pair.name: pair for pair in pairs or (self.pair(),)}
        server = PairServer(served, dict.fromkeys(served, 7), ServerSettings(**settings), meter)
        port = await server.start("127.0.0.1", 0)
        self.servers.append(server)
        client = openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0
        )
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for each in (*self.clients, *self.endpoints):
            await each.close()
        for server in self.servers:
            await server.stop()


@pytest.fixture
async def house() -> AsyncIterator[House]:
    models = PacedServer()
    await models.start()
    made = House(models)
    made.models.script = revised
    yield made
    made.models.go.set()
    await made.close()
    await models.stop()


def revised(model: str, messages: list[dict[str, str]]) -> str:
    """An unsafe draft that is mended when the feedback comes."""
    if model == "judge":
        return UNSAFE if "a draft" in messages[-1]["content"] else SAFE
    return "a draft" if len(messages) == 2 else "a better one"


async def ask(client: openai.AsyncOpenAI, **options: Any) -> Any:
    return await client.chat.completions.create(model="ours", messages=ASKED, **options)


async def chunks(client: openai.AsyncOpenAI, **options: Any) -> list[Any]:
    return [chunk async for chunk in await ask(client, stream=True, **options)]


def content(found: list[Any]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)


async def test_the_final_reply_is_the_message_and_the_rounds_are_beside_it(house: House) -> None:
    answer = await ask(await house.client())
    message = answer.choices[0].message
    assert (message.content, answer.choices[0].finish_reason) == ("a better one", "stop")
    assert answer.model == message.waltzrl["pair"] == "ours"
    first, second = message.waltzrl["rounds"]
    assert (first["reply"], first["verdict"]["unsafe"]) == ("a draft", True)
    assert (second["reply"], second["verdict"]["unsafe"]) == ("a better one", False)
    assert first["origin"]["reply"]["model"] == first["origin"]["verdict"]["model"] == "m"
    # Two replies and two verdicts, each of which has read one token.
    assert answer.usage.prompt_tokens == 4
    assert answer.usage.completion_tokens == first["tokens"] + second["tokens"]


async def test_a_stream_holds_the_final_reply_only(house: House) -> None:
    client = await house.client()
    found = await chunks(client, stream_options={"include_usage": True})
    assert content(found) == "a better one"
    ends = [chunk for chunk in found if chunk.choices and chunk.choices[0].finish_reason]
    assert [end.choices[0].finish_reason for end in ends] == ["stop"]
    assert [each["reply"] for each in ends[0].waltzrl["rounds"]] == ["a draft", "a better one"]
    assert found[-1].usage.prompt_tokens == 4
    assert len({chunk.id for chunk in found}) == 1


async def test_the_last_round_streams_while_it_is_written(house: House) -> None:
    """What cannot be revised any more is given out before its verdict, word by word."""
    client = await house.client(house.pair(rounds=0))
    house.models.hold_after = 1
    stream = await ask(client, stream=True)
    async with asyncio.timeout(20):
        seen = ""
        async for chunk in stream:
            seen += chunk.choices[0].delta.content or ""
            if seen:
                # The model waits until it is seen, so this came while it was writing.
                assert seen == "a"
                house.models.go.set()
                break
        rest = [chunk async for chunk in stream]
    assert seen + content(rest) == "a draft"


async def test_a_draft_that_may_be_revised_is_held_and_the_stream_kept_alive(house: House) -> None:
    client = await house.client(keepalive_seconds=0.05)
    house.models.hold_after = 1
    url = f"{client.base_url}chat/completions"
    body = {"model": "ours", "messages": ASKED, "stream": True}
    waiting = 0
    seen = []
    async with (
        asyncio.timeout(20),
        httpx2.AsyncClient() as bare,
        bare.stream("POST", url, json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            seen.append(line)
            waiting += line == ": waiting"
            if waiting == 3:
                house.models.go.set()
    assert waiting >= 3
    before = seen[: seen.index(": waiting")]
    assert not any("draft" in line for line in before)
    assert seen[-2] == "data: [DONE]"


async def test_drafts_are_told_apart_from_the_reply_when_asked_for(house: House) -> None:
    client = await house.client()
    found = await chunks(client, extra_body={"waltzrl": {"drafts": True}})
    assert content(found) == "a better one"
    steps = [chunk.waltzrl for chunk in found if "event" in (getattr(chunk, "waltzrl", None) or {})]
    draft = [step["text"] for step in steps if step["event"] == "reply_text"]
    assert "".join(draft) == "a draft"
    verdicts = [step["verdict"]["unsafe"] for step in steps if step["event"] == "verdict"]
    assert verdicts == [True, False]


async def test_many_are_answered_at_once_each_with_its_own(house: House) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> str:
        return SAFE if model == "judge" else f"re {messages[1]['content']}"

    house.models.script = script
    house.models.hold_after = 1
    client = await house.client()

    async def one(number: int) -> str:
        turns: list[Any] = [{"role": "user", "content": f"question {number}"}]
        answer = await client.chat.completions.create(model="ours", messages=turns)
        return str(answer.choices[0].message.content)

    asking = [asyncio.create_task(one(number)) for number in range(20)]
    async with asyncio.timeout(30):
        # All are under way before the first one is let end.
        while len(house.models.requests) < 20:
            await asyncio.sleep(0.01)
        house.models.go.set()
        said = await asyncio.gather(*asking)
    assert said == [f"re question {number}" for number in range(20)]


@pytest.mark.parametrize("streaming", [True, False])
async def test_who_leaves_ends_the_replies_under_way(house: House, streaming: bool) -> None:
    """Also before anything was sent to it: nobody pays for a reply that nobody reads."""
    house.models.script = lambda model, messages: "word " * 5000
    house.models.pace = 0.01
    client = await house.client(house.pair(judged=streaming))
    asking = asyncio.create_task(ask(client, stream=streaming, max_tokens=5000))
    while not house.models.requests:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(20):
        while not house.models.broken_off:
            await asyncio.sleep(0.01)


async def test_stops_cut_the_reply_and_its_ends_are_trimmed(house: House) -> None:
    house.models.script = lambda model, messages: " one two END three "
    client = await house.client(house.pair(judged=False))
    assert content(await chunks(client, stop=["TWO", "END"])) == "one two"
    assert content(await chunks(client)) == "one two END three"
    assert (await ask(client, stop="two")).choices[0].message.content == "one"


async def test_system_messages_stand_before_the_first_turn(house: House) -> None:
    client = await house.client(house.pair(judged=False))
    turns: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "Bye"},
    ]
    await client.chat.completions.create(model="ours", messages=turns)
    asked = house.models.requests[0][1]
    assert [turn["role"] for turn in asked] == ["system", "user", "assistant", "user"]
    assert [turn["content"] for turn in asked[1:]] == ["Be brief.\n\nHello", "Hi", "Bye"]


async def test_models_are_the_pairs(house: House) -> None:
    client = await house.client()
    assert [model.id for model in (await client.models.list()).data] == ["ours"]
    assert (await client.models.retrieve("ours")).created == 7
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="gpt", messages=ASKED)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "messages"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]},
            "messages.0.content",
        ),
        ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages.0.content"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "1"}]}, *ASKED]},
            "messages.0.tool_calls",
        ),
        ({"temperature": 9}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"seed": 2**70}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"stop": [1]}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"response_format": "json"}, "response_format"),
        ({"extra_body": {"waltzrl": {"drafts": "all"}}}, "waltzrl.drafts"),
        ({"extra_body": {"tools": [{"type": "function"}]}}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
    ],
)
async def test_what_a_pair_cannot_do_is_refused_by_field(
    house: House, wish: dict[str, Any], param: str
) -> None:
    client = await house.client()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": "ours", "messages": ASKED, **wish})
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert not house.models.requests


async def test_settings_that_no_pair_follows_are_named(house: House) -> None:
    answer = await ask(await house.client(), top_p=0.5, user="me", presence_penalty=0)
    assert answer.choices[0].message.waltzrl["ignored"] == ["top_p"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_request_is_refused(house: House, body: bytes) -> None:
    client = await house.client()
    async with httpx2.AsyncClient() as bare:
        answer = await bare.post(f"{client.base_url}chat/completions", content=body)
        lost = await bare.get(f"{client.base_url}nothing")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert (lost.status_code, lost.json()["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failing_agent_is_an_error_of_the_api(house: House, stream: bool) -> None:
    house.models.script = lambda model, messages: 401
    with pytest.raises(openai.InternalServerError) as caught:
        await ask(await house.client(), stream=stream)
    assert (caught.value.status_code, caught.value.code) == (502, "agent_failed")
    assert "scripted failure" in caught.value.message


async def test_an_agent_that_fails_within_a_stream_ends_it_as_an_error(house: House) -> None:
    house.models.script = lambda model, messages: 401 if model == "judge" else "a reply"
    client = await house.client(house.pair(rounds=0))
    seen = ""
    with pytest.raises(openai.APIError, match="scripted failure"):
        async for chunk in await ask(client, stream=True):
            seen += chunk.choices[0].delta.content or ""
    assert seen == "a reply"


async def test_a_key_is_asked_for(house: House) -> None:
    stranger = await house.client(key="a-key-for-the-pair")
    with pytest.raises(openai.AuthenticationError):
        await ask(stranger)
    assert not house.models.requests
    friend = stranger.with_options(api_key="a-key-for-the-pair")
    assert (await ask(friend)).choices[0].message.content == "a better one"


@pytest.mark.parametrize("sent", ["Bearer wrong", "Basic a-key-for-the-pair", "Bearer \xff", ""])
async def test_a_wrong_key_of_any_kind_is_refused(house: House, sent: str) -> None:
    client = await house.client(key="a-key-for-the-pair")
    async with httpx2.AsyncClient() as bare:
        headers = {"authorization": sent.encode("latin-1")}
        answer = await bare.get(f"{client.base_url}models", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://example.org"},
        {"origin": "null"},
        {"origin": "http://["},
        # A page of this machine may be anybody's, too.
        {"origin": "http://localhost:3000"},
        {"sec-fetch-site": "cross-site"},
        {"host": "rebound.example.org"},
        {"host": "127.0.0.1.example.org"},
        {"host": "0.0.0.0"},
        {"host": "[::"},
    ],
)
async def test_web_pages_are_not_answered(house: House, headers: dict[str, str]) -> None:
    client = await house.client()
    body = json.dumps({"model": "ours", "messages": ASKED})
    async with httpx2.AsyncClient() as page:
        url = f"{client.base_url}chat/completions"
        answer = await page.post(url, content=body, headers=headers)
        asked_first = await page.request("OPTIONS", url, headers=headers)
    assert (answer.status_code, asked_first.status_code) == (403, 403)
    assert "access-control-allow-origin" not in asked_first.headers
    assert not house.models.requests


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_that_is_too_large_is_refused(house: House, packed: bool) -> None:
    client = await house.client()
    turns = [{"role": "user", "content": "x" * (8 * 1024 * 1024)}]
    body = json.dumps({"model": "ours", "messages": turns}).encode()
    headers = {"content-encoding": "gzip"} if packed else {}
    async with httpx2.AsyncClient() as bare:
        url = f"{client.base_url}chat/completions"
        sent = gzip.compress(body) if packed else body
        answer = await bare.post(url, content=sent, headers=headers)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "invalid_request_error")
    assert not house.models.requests


async def test_more_than_can_be_answered_wait_and_more_than_may_wait_are_refused(
    house: House,
) -> None:
    house.models.script = lambda model, messages: SAFE if model == "judge" else "a reply"
    house.models.hold_after = 1
    client = await house.client(concurrency=2, queue_limit=2)
    server = house.servers[-1]
    asking = [asyncio.create_task(ask(client)) for _ in range(4)]
    async with asyncio.timeout(20):
        while len(house.models.requests) < 2 or server.counts.waiting < 2:
            await asyncio.sleep(0.01)
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(client)
        assert caught.value.code == "too_many_requests"
        # Who leaves the queue makes room, and the others come to their turn.
        asking.pop().cancel()
        while server.counts.waiting > 1:
            await asyncio.sleep(0.01)
        assert len(house.models.requests) == 2
        house.models.go.set()
        answers = await asyncio.gather(*asking)
    assert [each.choices[0].message.content for each in answers] == ["a reply"] * 3


def metered(pair: LivePair, meter: Meter) -> LivePair:
    """USD 1 for each token written by the conversation agent; the judge is free."""
    rate = BillingRate(0.0, 0.0, 1e6)
    return replace(pair, conversation=MeteredEndpoint(pair.conversation, meter, rate, "talk"))


async def test_what_is_answered_is_charged_and_a_budget_ends_it(house: House) -> None:
    meter = Meter(7.0)
    client = await house.client(metered(house.pair(), meter), meter=meter)
    # "a draft" and "a better one": five words.
    assert (await ask(client)).choices[0].message.content == "a better one"
    assert meter.usd == 5.0
    # One that begins within the budget is answered to its end.
    assert content(await chunks(client)) == "a better one"
    assert meter.usd == 10.0
    asked = len(house.models.requests)
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(client.with_options(max_retries=3), stream=stream)
        assert (caught.value.status_code, caught.value.code) == (402, "budget_reached")
        assert caught.value.type == "insufficient_quota"
    assert len(house.models.requests) == asked
    assert [model.id for model in (await client.models.list()).data] == ["ours"]


async def test_those_that_waited_are_refused_when_the_budget_is_used_up(house: House) -> None:
    meter = Meter(1.0)
    client = await house.client(metered(house.pair(), meter), meter=meter, concurrency=1)
    house.models.hold_after = 1
    first, second = (asyncio.create_task(ask(client)) for _ in range(2))
    async with asyncio.timeout(20):
        while house.servers[-1].counts.waiting < 1:
            await asyncio.sleep(0.01)
        house.models.go.set()
        ended = await asyncio.gather(first, second, return_exceptions=True)
    codes = [each.code for each in ended if isinstance(each, openai.APIStatusError)]
    assert codes == ["budget_reached"]
    assert meter.usd == 5.0


async def test_a_reply_that_nobody_waits_for_is_charged_too(house: House) -> None:
    """By an estimate: the server counts at the end only, which does not come."""
    house.models.script = lambda model, messages: "word " * 5000
    house.models.pace = 0.01
    meter = Meter()
    client = await house.client(metered(house.pair(judged=False), meter), meter=meter)
    stream = await ask(client, stream=True)
    seen = 0
    async with asyncio.timeout(20):
        async for chunk in stream:
            seen += bool(chunk.choices[0].delta.content)
            if seen == 5:
                break
        await stream.close()
        while not meter.usd:
            await asyncio.sleep(0.01)
    assert 4 <= meter.usd < 1000


async def test_a_request_that_is_refused_by_the_agent_costs_nothing(house: House) -> None:
    house.models.script = lambda model, messages: 401
    meter = Meter(1.0)
    client = await house.client(metered(house.pair(), meter), meter=meter)
    with pytest.raises(openai.InternalServerError):
        await ask(client)
    assert meter.usd == 0.0


async def test_a_fault_of_ours_within_a_stream_ends_it_as_an_error(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await house.client(house.pair(rounds=0))

    def broken(self: object, done: object) -> bytes:
        raise RuntimeError("a fault")

    monkeypatch.setattr("waltzrl_tui.serve.documents.Completion.last", broken)
    seen = ""
    with pytest.raises(openai.APIError, match="Internal error"):
        async for chunk in await ask(client, stream=True):
            seen += chunk.choices[0].delta.content or ""
    assert seen == "a draft"


async def test_a_reply_that_ends_at_a_stop_was_not_cut_by_its_cap(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = house.models._event

    def at_its_cap(writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
        for choice in fields["choices"]:
            choice["finish_reason"] = "length"
        send(writer, fields)

    monkeypatch.setattr(house.models, "_event", at_its_cap)
    client = await house.client(house.pair(judged=False))
    assert (await ask(client)).choices[0].finish_reason == "length"
    stopped = (await ask(client, stop="draft")).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("a", "stop")


async def test_the_cap_of_a_verdict_is_the_servers_own(house: House) -> None:
    client = await house.client(verdict_tokens=900)
    await ask(client, max_tokens=40)
    assert [body["max_tokens"] for body in house.models.bodies] == [40, 900, 40, 900]


async def test_thinking_that_nothing_marks_is_never_the_reply(house: House) -> None:
    house.models.script = lambda model, messages: "I wonder what to say. </think> A reply."
    pair = house.pair(judged=False)
    client = await house.client(pair)
    # What was streamed cannot be taken back; the next one is held until its thinking ends.
    with pytest.raises(openai.APIError, match="was its thinking"):
        async for _ in await ask(client, stream=True):
            pass
    text = ""
    async for chunk in await ask(client, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text == "A reply."
    other = await house.client(house.pair(judged=False))
    assert (await ask(other)).choices[0].message.content == "A reply."


FILTERED = Refused(400, {"code": "content_filter", "message": "It was filtered."})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("draft", "revision", "content", "finish"),
    [
        (Ended("", "length"), "", "", "length"),
        (Ended("", "content_filter"), "", "", "content_filter"),
        (Ended("", "error"), "", "", "error"),
        (FILTERED, "", "", "content_filter"),
        ("a draft", Ended("", "content_filter"), "", "content_filter"),
        ("a draft", "", "", "content_filter"),
        ("a draft", FILTERED, "", "content_filter"),
        ("a draft", Ended("half", "error"), "half", "error"),
    ],
)
async def test_how_a_reply_ended_is_told(
    house: House, draft: Answer, revision: Answer, content: str, finish: str, streamed: bool
) -> None:
    def script(model: str, messages: list[dict[str, str]]) -> Answer:
        if model == "judge":
            return UNSAFE if "a draft" in messages[-1]["content"] else SAFE
        return draft if len(messages) == 2 else revision

    house.models.script = script
    client = await house.client()
    if not streamed:
        choice = (await ask(client)).choices[0]
        assert (choice.message.content, choice.finish_reason) == (content, finish)
        assert choice.message.waltzrl["outcome"]
        return
    chunks = [chunk.choices[0] async for chunk in await ask(client, stream=True) if chunk.choices]
    assert "".join(each.delta.content or "" for each in chunks) == content
    assert [each.finish_reason for each in chunks if each.finish_reason] == [finish]
