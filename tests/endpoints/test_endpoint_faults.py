"""What a server can do wrong, over real sockets and through the real SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.servers.raw import HEAD, Line, RawServer, Script
from waltzrl_tui.endpoints.base import Delta, Origin
from waltzrl_tui.endpoints.errors import ContextOverflowError, RateLimitedError
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.retry import Timeouts
from waltzrl_tui.errors import EndpointError

ASKED = [{"role": "user", "content": "hello"}]
KEY = "sk-verysecretkey123"
NOW = [("retry-after", "0")]


@dataclass
class Heard:
    deltas: list[Delta] = field(default_factory=list)
    error: EndpointError | None = None

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    made = RawServer()
    await made.start()
    yield made
    await made.stop()


async def ask(server: RawServer, *scripts: Script, tokens: int = 64, **options: Any) -> Heard:
    server.scripts = list(scripts)
    endpoint = OpenAIEndpoint(server.url, KEY, "m", name="it", **options)
    heard = Heard()
    try:
        async with asyncio.timeout(30):
            async with aclosing(endpoint.stream(ASKED, max_tokens=tokens)) as deltas:
                async for delta in deltas:
                    heard.deltas.append(delta)
    except EndpointError as error:
        heard.error = error
    finally:
        await endpoint.close()
    return heard


async def good(line: Line) -> None:
    await line.begin()
    await line.text("a ", "reply")
    await line.finish()


def refusing(status: int, error: Any, headers: Any = NOW) -> Script:
    async def script(line: Line) -> None:
        await line.refuse(status, error, headers)

    return script


def said(message: str, **more: str) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


async def test_usage_and_origin_are_the_servers_own(server: RawServer) -> None:
    heard = await ask(server, good)
    last = heard.deltas[-1]
    assert (heard.text, last.tokens, last.prompt_tokens) == ("a reply", 2, 5)
    assert last.origin == Origin("m-2", "chat-1", "fp_7", "stop")


async def test_leaving_ends_the_request(server: RawServer) -> None:
    async def endless(line: Line) -> None:
        await line.begin()
        while True:
            await line.text("word ")
            await asyncio.sleep(0.01)

    server.scripts = [endless]
    endpoint = OpenAIEndpoint(server.url, KEY, "m")
    deltas = endpoint.stream(ASKED, max_tokens=10_000)
    assert (await anext(deltas)).text == "word "
    await deltas.aclose()
    async with asyncio.timeout(10):
        await server.gone.wait()
    await endpoint.close()


async def dies_before(line: Line) -> None:
    await line.begin()


async def dies_within(line: Line) -> None:
    await line.begin()
    await line.text("half ", "a")


async def ends_early_in_good_order(line: Line) -> None:
    await line.raw(HEAD + b'\r\ndata: {"choices":[{"index":0,"delta":{"content":"half a"}}]}\n\n')


@pytest.mark.parametrize("death", [dies_within, ends_early_in_good_order])
async def test_a_death_within_a_reply_keeps_its_text_and_asks_no_more(
    server: RawServer, death: Script
) -> None:
    heard = await ask(server, death, good)
    assert heard.text == "half a"
    assert heard.error is not None
    assert "in the middle of its reply" in heard.error.message
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "first",
    [dies_before, refusing(503, said("busy")), refusing(429, said("slow down"))],
    ids=["dies", "503", "429"],
)
async def test_before_the_first_token_it_asks_again(server: RawServer, first: Script) -> None:
    heard = await ask(server, first, good)
    assert (heard.text, heard.error, len(server.bodies)) == ("a reply", None, 2)


@pytest.mark.parametrize(
    ("refusal", "hint"),
    [
        (refusing(401, said("no")), "doctor"),
        (refusing(404, said("no such model")), "agents list"),
        (
            refusing(429, said("You exceeded your current quota", code="insufficient_quota"), ()),
            "credit",
        ),
        (refusing(429, said("later"), [("retry-after", "3600")]), "1h00m"),
        (refusing(503, said("down"), [("retry-after", "3600")]), "Ask again"),
    ],
    ids=["key", "model", "quota", "an hour", "down for an hour"],
)
async def test_what_waiting_does_not_mend_is_asked_once(
    server: RawServer, refusal: Script, hint: str
) -> None:
    heard = await ask(server, refusal, good)
    assert len(server.bodies) == 1
    assert heard.error is not None
    assert hint in heard.error.hint


async def test_a_rate_limit_holds_the_other_streams_back(server: RawServer) -> None:
    """Eight streams at a server that takes none for a moment: one request tells it, not eight."""
    until: float | None = None

    async def crowded(line: Line) -> None:
        nonlocal until
        at = asyncio.get_running_loop().time()
        until = until or at + 0.6
        if at < until:
            await line.refuse(429, said("slow down"), [("retry-after-ms", "700")])
            await asyncio.Event().wait()  # until the client, which has read it all, hangs up
        else:
            await good(line)

    server.scripts = [crowded]
    endpoint = OpenAIEndpoint(server.url, KEY, "m")

    async def reply() -> str:
        return "".join([delta.text async for delta in endpoint.stream(ASKED, max_tokens=9)])

    first = asyncio.create_task(reply())
    async with asyncio.timeout(10):
        await server.gone.wait()
    rest = await asyncio.gather(*(reply() for _ in range(7)))
    assert [await first, *rest] == ["a reply"] * 8
    assert len(server.bodies) == 9
    await endpoint.close()


async def test_a_limit_that_stays_is_told_as_one(server: RawServer) -> None:
    heard = await ask(server, refusing(429, said("slow down")))
    assert isinstance(heard.error, RateLimitedError)
    assert len(server.bodies) == Timeouts().rate_limited_attempts


@pytest.mark.parametrize("begun", [False, True])
async def test_a_stall_is_left(server: RawServer, begun: bool) -> None:
    async def stall(line: Line) -> None:
        await line.begin()
        if begun:
            await line.text("half")
        while True:
            # Comments keep a connection alive, but they are no reply.
            await line.chunk(b": still here\n\n")
            await asyncio.sleep(0.05)

    heard = await ask(server, stall, good, timeouts=Timeouts(first_token=0.4, next_token=0.4))
    assert heard.text == ("half" if begun else "")
    assert heard.error is not None
    assert ("in the middle" if begun else "did not begin") in heard.error.message
    assert len(server.bodies) == 1


async def test_bytes_that_are_no_utf8_are_replaced(server: RawServer) -> None:
    async def broken(line: Line) -> None:
        await line.begin()
        await line.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"a\xff\xfe\xc3"}}]}\n\n')
        # One character in two packets is whole.
        await line.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"\xc3')
        await line.chunk(b'\xa9"}}]}\n\n')
        await line.finish()

    heard = await ask(server, broken)
    assert (heard.text, heard.error) == ("a\ufffd\ufffd\ufffd\xe9", None)


async def test_halves_of_a_character_are_joined_or_replaced(server: RawServer) -> None:
    async def halves(line: Line) -> None:
        await line.begin()
        await line.text("\ud83d", "\ude00", "\udc00!", "\ud83d")
        await line.finish()

    heard = await ask(server, halves)
    assert heard.text == "\U0001f600\ufffd!\ufffd"
    assert heard.text.encode()


async def test_a_line_of_a_megabyte_is_read(server: RawServer) -> None:
    async def long(line: Line) -> None:
        await line.begin()
        await line.event({"choices": [{"index": 0, "delta": {"content": "a" * 1_000_000}}]})
        await line.event({"choices": [], "padding": "b" * 1_000_000})
        await line.finish()

    heard = await ask(server, long, tokens=20_000)
    assert (len(heard.text), heard.error) == (1_000_000, None)


async def test_a_line_without_an_end_is_cut_off(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waltzrl_tui.endpoints.byte_limit.MAX_BYTES", 1024**2)

    async def endless(line: Line) -> None:
        await line.begin()
        await line.chunk(b"data: ")
        while True:
            await line.chunk(b"x" * 65536)

    heard = await ask(server, endless)
    assert heard.error is not None
    assert "1.0 MB" in heard.error.message


@pytest.mark.parametrize("text", ["word " * 200, ""], ids=["text", "nothing"])
async def test_an_endless_reply_is_cut_off(
    server: RawServer, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waltzrl_tui.endpoints.retry._MAX_EMPTY_PIECES", 200)

    async def endless(line: Line) -> None:
        await line.begin()
        while True:
            await line.text(text)

    heard = await ask(server, endless, tokens=8)
    assert heard.error is not None
    assert "8 tokens" in heard.error.message
    # What had come is not lost.
    assert bool(heard.text) == bool(text)
    assert len(heard.text) < 25_000


async def test_an_empty_reply_is_a_reply(server: RawServer) -> None:
    async def empty(line: Line) -> None:
        await line.begin()
        await line.finish("content_filter", 0)

    heard = await ask(server, empty)
    assert (heard.text, heard.error, len(heard.deltas)) == ("", None, 1)
    origin = heard.deltas[0].origin
    assert origin is not None
    assert origin.finish == "content_filter"


OVERFLOWS = [
    (
        400,
        said("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
    ),
    (400, said("the request exceeds the available context size", type="exceed_context_size_error")),
    (422, {"detail": "prompt is too long: 9000 tokens > 8000 maximum"}),
]


@pytest.mark.parametrize(("status", "error"), OVERFLOWS)
async def test_an_overflow_is_told_as_that(server: RawServer, status: int, error: Any) -> None:
    heard = await ask(server, refusing(status, error), good)
    assert isinstance(heard.error, ContextOverflowError)
    assert "longer than it can read" in heard.error.message
    assert len(server.bodies) == 1


async def test_an_overflow_within_the_stream_is_told_as_that(server: RawServer) -> None:
    async def late(line: Line) -> None:
        await line.begin()
        await line.text("half")
        await line.event(said("context size exceeded"))

    heard = await ask(server, late)
    assert (heard.text, type(heard.error)) == ("half", ContextOverflowError)


@pytest.mark.parametrize(
    "event",
    [
        b"data: {not json}\n\n",
        b"data: 7\n\n",
        b'data: {"choices": "text"}\n\n',
        b'data: {"choices": [null]}\n\n',
    ],
)
async def test_nonsense_is_no_reply(server: RawServer, event: bytes) -> None:
    async def nonsense(line: Line) -> None:
        await line.begin()
        await line.text("half")
        await line.chunk(event)
        await line.finish()

    heard = await ask(server, nonsense)
    assert heard.text == "half"
    assert heard.error is not None
    assert heard.error.message.startswith("it broke off")


async def test_fields_of_wrong_types_are_passed_over(server: RawServer) -> None:
    async def odd(line: Line) -> None:
        await line.begin()
        await line.event({"choices": [{"index": 0, "delta": {"content": 7}}], "model": 3})
        parts = [{"type": "thinking", "text": "hm"}, {"type": "text", "text": "in parts"}]
        await line.event({"choices": [{"index": 0, "delta": {"content": parts}}]})
        await line.event({"choices": [], "usage": {"completion_tokens": "many"}, "id": None})
        await line.finish(tokens=None)

    heard = await ask(server, odd)
    assert (heard.text, heard.error) == ("in parts", None)
    assert heard.deltas[-1].tokens is None


async def test_settings_that_a_server_refuses_are_left_out_and_told(server: RawServer) -> None:
    def taking(*names: str) -> Callable[[Line], Any]:
        async def script(line: Line) -> None:
            for name in ("max_tokens", "temperature"):
                if name in line.body and name not in names:
                    hint = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
                    words = f"Unsupported parameter: '{name}' is not supported here.{hint}"
                    return await line.refuse(400, said(words))
            return await good(line)

        return script

    heard = await ask(server, taking("max_completion_tokens"))
    assert (heard.text, len(server.bodies)) == ("a reply", 3)
    assert server.bodies[-1]["max_completion_tokens"] == 64
    origin = heard.deltas[-1].origin
    assert origin is not None
    assert origin.without == ("temperature",)


async def test_a_key_that_a_server_repeats_is_not_shown(server: RawServer) -> None:
    heard = await ask(server, refusing(401, said(f"Incorrect API key provided: {KEY}")))
    assert heard.error is not None
    assert KEY not in str(heard.error)
    assert "Incorrect API key" in heard.error.message
