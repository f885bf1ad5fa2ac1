"""The documents of OpenAI's chat completions."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from waltzrl_tui.serve.answer import Done


class Completion:
    """The documents of one answer, which share an id and a time."""

    def __init__(self, model: str) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, done: Done) -> dict[str, Any]:
        """The answer in one piece; `waltzrl` is in its message."""
        message = {
            "role": "assistant",
            "content": done.final,
            "refusal": None,
            "waltzrl": done.waltzrl,
        }
        choice = {"index": 0, "message": message, "finish_reason": done.finish, "logprobs": None}
        head = {**self._head, "object": "chat.completion"}
        return {**head, "choices": [choice], "usage": done.usage()}

    def first(self) -> bytes:
        """The chunk that opens a stream."""
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, text: str) -> bytes:
        """A chunk of the final reply."""
        return self._chunk({"content": text})

    def step(self, fields: dict[str, Any]) -> bytes:
        """A chunk without text that tells of a draft or a verdict."""
        return self._chunk({}, waltzrl=fields)

    def last(self, done: Done) -> bytes:
        """The chunk with the reason of the end, and with `waltzrl`."""
        return self._chunk({}, done.finish, waltzrl=done.waltzrl)

    def usage(self, done: Done) -> bytes:
        """The chunk of token counts, which has no choices."""
        return event({**self._chunk_head(), "choices": [], "usage": done.usage()})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event({**self._chunk_head(), "choices": [choice], **more})

    def _chunk_head(self) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk"}


END = b"data: [DONE]\n\n"
WAITING = b": waiting\n\n"


def event(document: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def model_document(name: str, created: int) -> dict[str, Any]:
    """A pair as a model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "waltzrl-tui"}
