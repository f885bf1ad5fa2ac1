"""The scripted chat server, sending word by word, and waiting where a test says so."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from tests.support.servers.scripted import ChatServer


class PacedServer(ChatServer):
    """Sends the words of a text one by one.

    Attributes:
        hold_after: After that many words of an answer it waits until `go` is set; None: never.
        go: See `hold_after`.
        pace: Seconds between two words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hold_after: int | None = None
        self.go = asyncio.Event()
        self.pace = 0.0
        self.broken_off = 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body: dict[str, Any] = json.loads(await reader.readexactly(length))
            self.requests.append((body["model"], body["messages"]))
            self.bodies.append(body)
            answer = self.script(body["model"], body["messages"])
            if isinstance(answer, str) and not body.get("stream"):
                self._whole(writer, answer)
            elif isinstance(answer, str):
                await self._send(writer, re.findall(r"\s*\S+|\s+$", answer))
            else:
                self._write(writer, answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.broken_off += 1
        finally:
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter, words: list[str]) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        for number, word in enumerate(words):
            if number == self.hold_after:
                await writer.drain()
                await self.go.wait()
            self._event(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
            if self.pace:
                await writer.drain()
                await asyncio.sleep(self.pace)
        usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 2}
        self._event(writer, {"choices": [], "usage": usage})
        self._chunk(writer, b"data: [DONE]\n\n")
        self._chunk(writer, b"")
