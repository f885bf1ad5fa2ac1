"""The response documents of OpenAI's chat completions API."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from waltzrl_tui.serve.answer import AnswerEnd


class Completion:
    """The documents of one answer, which share an ID and a time."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, end: AnswerEnd) -> dict[str, Any]:
        """The whole answer; its message holds `waltzrl`."""
        message = {
            "role": "assistant",
            "content": end.final,
            "refusal": None,
            "waltzrl": end.waltzrl,
        }
        choice = {"index": 0, "message": message, "finish_reason": end.finish, "logprobs": None}
        head = {**self._head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": end.usage()}

    def first(self) -> bytes:
        """The chunk that opens a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        """A chunk of the final reply."""
        return self._chunk({"content": text})

    def round_event(self, fields: dict[str, Any]) -> bytes:
        """A chunk without text that reports a draft or a verdict."""
        return self._chunk({}, waltzrl=fields)

    def last(self, end: AnswerEnd) -> bytes:
        """The last chunk of the reply, with its finish reason and `waltzrl`."""
        return self._chunk({}, end.finish, waltzrl=end.waltzrl)

    def usage(self, end: AnswerEnd) -> bytes:
        """The chunk of token counts, without choices."""
        return sse_event({**self._chunk_head(), "choices": [], "usage": end.usage()})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse_event({**self._chunk_head(), "choices": [choice], **more})

    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}


STREAM_END = b"data: [DONE]\n\n"
KEEPALIVE = b": waiting\n\n"
"""A comment, which clients ignore, that keeps a silent stream alive."""


def sse_event(document: dict[str, Any]) -> bytes:
    """The document as a server-sent event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def model_document(name: str, created: int) -> dict[str, Any]:
    """A pair as a model of the API.

    Args:
        created: Seconds since 1970.
    """
    return {"id": name, "object": "model", "created": created, "owned_by": "waltzrl-tui"}
