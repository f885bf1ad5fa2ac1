"""Whole replies, which do not go through an SDK: they must tell what streams tell."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.servers.raw import Line, RawServer, Script
from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.retry import Timeouts
from waltzrl_tui.errors import EndpointError

KEY = "sk-verysecretkey123"
ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    made = RawServer()
    await made.start()
    yield made
    await made.stop()


async def ask(
    url: str, *, streaming: bool = False, timeouts: Timeouts | None = None
) -> list[Delta] | EndpointError:
    endpoint = OpenAIEndpoint(
        url, KEY, "m", name="it", streaming=streaming, timeouts=timeouts, extra_body={"lora": []}
    )
    try:
        async with asyncio.timeout(30), aclosing(endpoint.stream(ASKED, max_tokens=64)) as deltas:
            return [delta async for delta in deltas]
    except EndpointError as error:
        return error
    finally:
        await endpoint.close()


def answering(content: Any = "a reply", **fields: Any) -> Script:
    async def script(line: Line) -> None:
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "length"}
        usage = {"prompt_tokens": 5, "completion_tokens": 2}
        made = {"id": "w", "model": "m-2", "choices": [choice], "usage": usage}
        await line.refuse(200, made | fields)

    return script


def sending(*pieces: bytes, length: int | None = None) -> Script:
    async def script(line: Line) -> None:
        size = sum(map(len, pieces)) if length is None else length
        await line.raw(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size, *pieces)

    return script


def failed(found: list[Delta] | EndpointError) -> EndpointError:
    assert isinstance(found, EndpointError), found
    return found


def replied(found: list[Delta] | EndpointError) -> str:
    assert isinstance(found, list), found
    return "".join(delta.text for delta in found)


async def test_text_usage_and_origin_come_of_one_request(server: RawServer) -> None:
    server.scripts = [answering()]
    found = await ask(server.url)
    assert replied(found) == "a reply"
    assert isinstance(found, list)
    assert (found[-1].tokens, found[-1].prompt_tokens) == (2, 5)
    assert found[-1].origin == Origin("m-2", "w", "", "length")
    (body,) = server.bodies
    assert (body["stream"], body["lora"], body["messages"]) == (False, [], ASKED)


REFUSALS = [
    (401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}),
    (402, {"error": {"message": "insufficient funds"}}),
    (404, {"detail": "no such model"}),
    (400, {"error": {"message": "maximum context length is 8192 tokens"}}),
    (422, {"message": "what is that"}),
    (429, {"error": {"message": "You exceeded your current quota"}}),
    (500, "out of order"),
]


@pytest.mark.parametrize(("status", "said"), REFUSALS, ids=[str(each[0]) for each in REFUSALS])
async def test_a_refusal_reads_as_that_of_a_stream(
    server: RawServer, status: int, said: Any
) -> None:
    async def refuse(line: Line) -> None:
        await line.refuse(status, said)

    server.scripts = [refuse]
    once = Timeouts(attempts=1, rate_limited_attempts=1)
    whole = failed(await ask(server.url, timeouts=once))
    stream = failed(await ask(server.url, timeouts=once, streaming=True))
    assert (type(whole), whole.message, whole.hint) == (
        type(stream),
        stream.message.replace('"', ""),
        stream.hint,
    )
    assert KEY not in str(whole)


async def test_the_time_a_server_asks_for_is_waited(server: RawServer) -> None:
    async def crowded(line: Line) -> None:
        await line.refuse(429, {"error": {"message": "slow"}}, [("retry-after-ms", "300")])

    server.scripts = [crowded, answering()]
    began = asyncio.get_running_loop().time()
    assert replied(await ask(server.url)) == "a reply"
    assert asyncio.get_running_loop().time() - began >= 0.3
    assert len(server.bodies) == 2


async def test_a_setting_that_is_refused_is_left_out(server: RawServer) -> None:
    async def picky(line: Line) -> None:
        if "temperature" in line.body:
            words = "Unsupported parameter: 'temperature' is not supported here."
            return await line.refuse(400, {"error": {"message": words}})
        return await answering()(line)

    server.scripts = [picky]
    found = await ask(server.url)
    assert isinstance(found, list)
    assert found[-1].origin == Origin("m-2", "w", "", "length", ("temperature",))


async def test_a_reply_that_breaks_off_is_asked_for_again(server: RawServer) -> None:
    server.scripts = [sending(b'{"choices": [', length=999), answering()]
    assert replied(await ask(server.url)) == "a reply"
    assert len(server.bodies) == 2


@pytest.mark.parametrize(
    "sent",
    [b"<html>a proxy</html>", b"7", b'{"choices": []}', b'{"choices": "text"}', b"[" * 100_000],
)
async def test_nonsense_is_no_reply(server: RawServer, sent: bytes) -> None:
    server.scripts = [sending(sent)]
    found = failed(await ask(server.url, timeouts=Timeouts(attempts=1)))
    assert found.message.startswith("it broke off")


async def test_bytes_that_are_no_utf8_are_replaced(server: RawServer) -> None:
    server.scripts = [sending(b'{"choices": [{"message": {"content": "a\xff\xc3', b'\xa9"}}]}')]
    assert replied(await ask(server.url)) == "a\ufffd\xe9"


async def test_a_body_without_an_end_is_cut_off(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waltzrl_tui.endpoints.whole.MAX_BYTES", 1024**2)

    async def endless(line: Line) -> None:
        await line.begin()
        while True:
            await line.chunk(b" " * 65536)

    server.scripts = [endless]
    assert "1.0 MB" in failed(await ask(server.url)).message


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = failed(await ask(f"http://127.0.0.1:{port}/v1", timeouts=Timeouts(attempts=2)))
    assert found.message.startswith("it cannot be reached")


async def test_a_silent_server_is_left(server: RawServer) -> None:
    async def silent(line: Line) -> None:
        await asyncio.sleep(60)

    server.scripts = [silent]
    found = failed(await ask(server.url, timeouts=Timeouts(first_token=0.3)))
    assert "did not begin to reply" in found.message
    async with asyncio.timeout(10):
        await server.gone.wait()
