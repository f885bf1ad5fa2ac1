"""A tiny OpenAI-compatible server on loopback: real sockets, scripted replies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ended:
    """A text with the reason why it ended, where that is not left out."""

    text: str
    finish: str


@dataclass(frozen=True)
class Refused:
    """An HTTP status with the error in its body."""

    status: int
    error: dict[str, Any]


Answer = str | Ended | Refused | int | None
"""The text to stream, an HTTP status to fail with, or None to break the stream off half-way."""


class ChatServer:
    """Answers `POST /v1/chat/completions` by `script(model, messages)` and keeps what it saw."""

    def __init__(self) -> None:
        self.script: Callable[[str, list[dict[str, str]]], Answer] = lambda model, messages: "ok"
        self.requests: list[tuple[str, list[dict[str, str]]]] = []
        self.keys: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.delay = 0.0
        self.in_flight = 0
        self.most_in_flight = 0
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def prompts(self, model: str) -> list[str]:
        """The first user turn of every request for `model`."""
        return [
            next(turn["content"] for turn in messages if turn["role"] == "user")
            for asked, messages in self.requests
            if asked == model
        ]

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            bearer = head.partition("authorization: bearer ")[2]
            self.keys.append(bearer.partition("\r\n")[0])
            length = int(head.split("content-length:")[1].split("\r\n")[0])
            body: dict[str, Any] = json.loads(await reader.readexactly(length))
            self.requests.append((body["model"], body["messages"]))
            self.bodies.append(body)
            await asyncio.sleep(self.delay)
            answer = self.script(body["model"], body["messages"])
            if isinstance(answer, str | Ended) and not body.get("stream"):
                self._whole(writer, answer)
            else:
                self._write(writer, answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.in_flight -= 1
            writer.close()

    @staticmethod
    def _whole(writer: asyncio.StreamWriter, answer: str | Ended) -> None:
        choice: dict[str, Any] = {"index": 0}
        if isinstance(answer, Ended):
            choice["finish_reason"], answer = answer.finish, answer.text
        choice["message"] = {"role": "assistant", "content": answer}
        usage = {"prompt_tokens": 1, "completion_tokens": len(answer.split(" ")), "total_tokens": 2}
        made = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
        text = json.dumps({**made, "choices": [choice], "usage": usage}).encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n" % len(text) + text
        )

    def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        if isinstance(answer, int):
            answer = Refused(answer, {"message": "scripted failure"})
        if isinstance(answer, Refused):
            text = json.dumps({"error": answer.error}).encode()
            writer.write(
                b"HTTP/1.1 %d Failed\r\ncontent-type: application/json\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n"
                % (answer.status, len(text))
                + text
            )
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        finish = ""
        if isinstance(answer, Ended):
            finish, answer = answer.finish, answer.text
        words = ("half a reply" if answer is None else answer).split(" ")
        for number, word in enumerate(words):
            delta = {"content": word if number == 0 else f" {word}"}
            self._event(writer, {"choices": [{"index": 0, "delta": delta}]})
        if answer is None:
            return
        if finish:
            ended = {"index": 0, "delta": {}, "finish_reason": finish}
            self._event(writer, {"choices": [ended]})
        usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 2}
        self._event(writer, {"choices": [], "usage": usage})
        self._chunk(writer, b"data: [DONE]\n\n")
        self._chunk(writer, b"")

    def _event(self, writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
        event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        self._chunk(writer, f"data: {json.dumps({**event, **fields})}\n\n".encode())

    @staticmethod
    def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))
