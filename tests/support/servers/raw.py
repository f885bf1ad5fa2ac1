"""A server of raw bytes on loopback: each connection is answered by the next script."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Script = Callable[["Line"], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


class Line:
    """One connection after its request was read."""

    def __init__(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.body = body
        self._writer = writer

    async def raw(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def begin(self) -> None:
        await self.raw(CHUNKED)

    async def event(self, fields: dict[str, Any]) -> None:
        whole = {"id": "chat-1", "object": "chat.completion.chunk", "created": 1, "model": "m-2"}
        await self.chunk(b"data: " + json.dumps(whole | fields).encode() + b"\n\n")

    async def text(self, *texts: str) -> None:
        for text in texts:
            await self.event({"choices": [{"index": 0, "delta": {"content": text}}]})

    async def finish(self, reason: str = "stop", tokens: int | None = 2) -> None:
        await self.event(
            {
                "system_fingerprint": "fp_7",
                "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
            }
        )
        if tokens is not None:
            usage = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}
            await self.event({"choices": [], "usage": usage})
        await self.chunk(b"data: [DONE]\n\n")
        await self.chunk(b"")

    async def refuse(
        self, status: int, error: Any, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        body = json.dumps(error).encode()
        told = "".join(f"{name}: {value}\r\n" for name, value in headers)
        await self.raw(
            f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\n{told}"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
            + body
        )


class RawServer:
    """Answers request n by script n, the last one again and again.

    Attributes:
        bodies: What was asked.
        gone: Set when a client left before its script had ended.
    """

    def __init__(self) -> None:
        self.scripts: list[Script] = []
        self.bodies: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.bodies.append(body)
            script = self.scripts[min(len(self.bodies), len(self.scripts)) - 1]
            telling = asyncio.ensure_future(script(Line(body, writer)))
            leaving = asyncio.ensure_future(reader.read())
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not telling.done():
                self.gone.set()
            leaving.cancel()
            telling.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.gone.set()
        finally:
            writer.close()
