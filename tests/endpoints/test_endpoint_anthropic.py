"""Anthropic's API as its own SDK speaks it, on loopback."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.servers.raw import Line, RawServer, Script

pytest.importorskip("anthropic")

from waltzrl_tui.endpoints.anthropic import AnthropicEndpoint
from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.endpoints.errors import ContextOverflowError
from waltzrl_tui.errors import EndpointError

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one"},
    {"role": "assistant", "content": ""},
    {"role": "user", "content": "two"},
]
USAGE = {"input_tokens": 9, "output_tokens": 1}


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    made = RawServer()
    await made.start()
    yield made
    await made.stop()


async def event(line: Line, kind: str, **fields: Any) -> None:
    data = json.dumps({"type": kind, **fields}).encode()
    await line.chunk(b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n")


async def begin(line: Line) -> None:
    await line.begin()
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1"}
    await event(line, "message_start", message={**message, "content": [], "usage": USAGE})
    await event(line, "ping")


async def text(line: Line, words: str) -> None:
    delta = {"type": "text_delta", "text": words}
    await event(line, "content_block_delta", index=0, delta=delta)


async def end(line: Line, reason: str) -> None:
    await event(line, "message_delta", delta={"stop_reason": reason}, usage={"output_tokens": 7})
    await event(line, "message_stop")
    await line.chunk(b"")


async def good(line: Line) -> None:
    await begin(line)
    await text(line, "a ")
    await event(
        line, "content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "x"}
    )
    await text(line, "reply")
    await end(line, "max_tokens")


async def ask(server: RawServer, *scripts: Script) -> tuple[list[Delta], EndpointError | None]:
    server.scripts = list(scripts)
    base = server.url.removesuffix("/v1")
    endpoint = AnthropicEndpoint(base, "sk-ant-secret-key", "claude-x", name="judge")
    heard: list[Delta] = []
    try:
        async for delta in endpoint.stream(TURNS, max_tokens=50, seed=3):
            heard.append(delta)
    except EndpointError as error:
        return heard, error
    finally:
        await endpoint.close()
    return heard, None


async def test_a_reply_with_usage_and_origin(server: RawServer) -> None:
    heard, error = await ask(server, good)
    assert error is None
    assert "".join(delta.text for delta in heard) == "a reply"
    assert heard[-1] == Delta("", 7, 9, Origin("claude-x-1", "msg_1", "", "length"))
    body = server.bodies[0]
    assert (body["system"], body["max_tokens"], body["temperature"]) == ("Be brief.", 50, 0.0)
    # An empty turn, and two of one role in a row, would be refused.
    assert body["messages"] == [{"role": "user", "content": "one\n\ntwo"}]
    assert "seed" not in body


async def test_a_model_without_temperature_is_asked_without(server: RawServer) -> None:
    async def picky(line: Line) -> None:
        if "temperature" in line.body:
            words = "temperature: Extra inputs are not permitted"
            error = {"type": "invalid_request_error", "message": words}
            await line.refuse(400, {"type": "error", "error": error})
        else:
            await good(line)

    heard, error = await ask(server, picky)
    assert error is None
    assert heard[-1].origin is not None
    assert heard[-1].origin.without == ("temperature",)


async def test_overload_is_asked_again_and_overflow_is_not(server: RawServer) -> None:
    async def overloaded(line: Line) -> None:
        error = {"type": "overloaded_error", "message": "Overloaded"}
        await line.refuse(529, {"type": "error", "error": error}, [("retry-after", "0")])

    async def long(line: Line) -> None:
        words = "prompt is too long: 210000 tokens > 200000 maximum"
        error = {"type": "invalid_request_error", "message": words}
        await line.refuse(400, {"type": "error", "error": error})

    _, error = await ask(server, overloaded, good)
    assert (error, len(server.bodies)) == (None, 2)
    _, error = await ask(server, long)
    assert isinstance(error, ContextOverflowError)


@pytest.mark.parametrize("told", [True, False], ids=["an error event", "the connection"])
async def test_a_reply_that_breaks_keeps_its_text(server: RawServer, told: bool) -> None:
    async def broken(line: Line) -> None:
        await begin(line)
        await text(line, "half")
        if told:
            error = {"type": "overloaded_error", "message": "Overloaded"}
            await event(line, "error", error=error)

    heard, error = await ask(server, broken, good)
    assert "".join(delta.text for delta in heard) == "half"
    assert error is not None
    assert ("Overloaded" if told else "in the middle") in error.message
