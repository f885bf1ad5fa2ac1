"""Converse streams as boto3 reads them, on loopback."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.raw import Line, RawServer, Script

pytest.importorskip("boto3")

from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.endpoints.bedrock import BedrockEndpoint
from waltzrl_tui.endpoints.errors import RateLimitedError
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.keys import find_key
from waltzrl_tui.providers.bedrock.session import Aws
from waltzrl_tui.providers.protocol import ProviderContext

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello"}]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RawServer]:
    made = RawServer()
    await made.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", made.url.removesuffix("/v1"))
    yield made
    await made.stop()


def frame(kind: str, payload: dict[str, Any], what: str = "event") -> bytes:
    """A message of AWS's event stream: lengths and checksum, headers, payload, checksum."""
    told = {":message-type": what, f":{what}-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + b"\x07"
        + struct.pack("!H", len(value))
        + value.encode()
        for name, value in told.items()
    )
    body = json.dumps(payload).encode()
    lengths = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    start = lengths + struct.pack("!I", zlib.crc32(lengths)) + headers + body
    return start + struct.pack("!I", zlib.crc32(start))


async def begin(line: Line) -> None:
    await line.raw(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n"
        b"x-amzn-requestid: req-1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    await line.chunk(frame("messageStart", {"role": "assistant"}))


async def text(line: Line, words: str) -> None:
    event = {"contentBlockIndex": 0, "delta": {"text": words}}
    await line.chunk(frame("contentBlockDelta", event))


async def good(line: Line) -> None:
    await begin(line)
    await text(line, "a ")
    await text(line, "reply")
    await line.chunk(frame("messageStop", {"stopReason": "end_turn"}))
    usage = {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}
    await line.chunk(frame("metadata", {"usage": usage, "metrics": {"latencyMs": 5}}))
    await line.chunk(b"")


async def ask(
    server: RawServer, tmp_path: Path, *scripts: Script
) -> tuple[str, Delta | None, EndpointError | None]:
    server.scripts = list(scripts)
    aws = Aws(ProviderContext(find_key, "", tmp_path), "bedrock", "us-east-1")
    endpoint = BedrockEndpoint(aws, "amazon.nova-lite-v1:0", name="nova")
    heard: list[Delta] = []
    error = None
    try:
        async for delta in endpoint.stream(TURNS, max_tokens=50):
            heard.append(delta)
    except EndpointError as failed:
        error = failed
    finally:
        await endpoint.close()
    return "".join(delta.text for delta in heard), heard[-1] if heard else None, error


async def test_a_reply_with_usage_and_origin(server: RawServer, tmp_path: Path) -> None:
    said, last, error = await ask(server, tmp_path, good)
    assert (said, error) == ("a reply", None)
    assert last == Delta("", 2, 9, Origin("", "req-1", "", "stop"))
    assert server.bodies[0]["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.0}
    assert server.bodies[0]["system"] == [{"text": "Be brief."}]


async def test_throttling_is_waited_for_and_then_told(server: RawServer, tmp_path: Path) -> None:
    async def throttled(line: Line) -> None:
        headers = [("x-amzn-errortype", "ThrottlingException"), ("retry-after", "0")]
        await line.refuse(429, {"message": "Too many requests"}, headers)

    said, _, error = await ask(server, tmp_path, throttled, good)
    assert (said, error, len(server.bodies)) == ("a reply", None, 2)
    _, _, error = await ask(server, tmp_path, throttled)
    assert isinstance(error, RateLimitedError)


async def test_an_hour_is_not_waited_for(server: RawServer, tmp_path: Path) -> None:
    async def throttled(line: Line) -> None:
        headers = [("x-amzn-errortype", "ThrottlingException"), ("retry-after", "3600")]
        await line.refuse(429, {"message": "Too many requests"}, headers)

    _, _, error = await ask(server, tmp_path, throttled, good)
    assert error is not None
    assert (len(server.bodies), "1h00m" in error.hint) == (1, True)


@pytest.mark.parametrize("told", [True, False], ids=["an exception", "the connection"])
async def test_a_reply_that_breaks_keeps_its_text(
    server: RawServer, tmp_path: Path, told: bool
) -> None:
    async def broken(line: Line) -> None:
        await begin(line)
        await text(line, "half")
        if told:
            words = {"message": "the model fell over"}
            await line.chunk(frame("modelStreamErrorException", words, "exception"))

    said, _, error = await ask(server, tmp_path, broken, good)
    assert (said, len(server.bodies)) == ("half", 1)
    assert error is not None
    assert not told or "fell over" in error.message
