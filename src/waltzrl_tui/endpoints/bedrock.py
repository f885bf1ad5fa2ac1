"""Models on Amazon Bedrock, through boto3's Converse stream (the extra `bedrock`)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from waltzrl_tui.endpoints.base import ChatRequest, ServerMetadata, StreamingEndpoint
from waltzrl_tui.endpoints.errors import Fault, provider_fault
from waltzrl_tui.endpoints.retry import Timeouts
from waltzrl_tui.endpoints.turns import FINISH, split_system
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.providers.bedrock.errors import mapped
from waltzrl_tui.providers.bedrock.session import Aws

_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+):")


def region_of(model: str) -> str:
    """The region in the ARN of a model, a profile or a deployment; "" for a plain id."""
    match = _ARN.match(model)
    return match[1] if match else ""


class BedrockEndpoint(StreamingEndpoint):
    """A model, an inference profile or a deployment on Bedrock. Converse takes no seed.

    Args:
        model: A model's id or an ARN.
    """

    def __init__(
        self, aws: Aws, model: str, *, name: str, timeouts: Timeouts | None = None
    ) -> None:
        super().__init__(name, timeouts)
        self._aws = aws
        self._model = model

    async def connect(self) -> None:
        try:
            await self._aws.client("bedrock-runtime")
        except Exception as error:
            # boto3 and its data files have errors of many kinds.
            raise self.fault(error, mid_reply=False).error from error

    async def attempt(
        self, request: ChatRequest, metadata: ServerMetadata
    ) -> AsyncGenerator[str, None]:
        client = await self._aws.client("bedrock-runtime")
        async with aclosing(_events(client, self._arguments(request))) as events:
            async for event in events:
                metadata.id = event.get("id", metadata.id)
                if stop := event.get("messageStop"):
                    reason = str(stop.get("stopReason", ""))
                    metadata.finish, metadata.complete = FINISH.get(reason, reason), True
                if usage := event.get("metadata", {}).get("usage"):
                    metadata.tokens = usage.get("outputTokens")
                    metadata.prompt_tokens = usage.get("inputTokens")
                yield event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")

    def _arguments(self, request: ChatRequest) -> dict[str, Any]:
        system, turns = split_system(request.messages)
        arguments: dict[str, Any] = {
            "modelId": self._model,
            "messages": [
                {"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns
            ],
            "inferenceConfig": {
                "maxTokens": request.max_tokens,
                "temperature": request.temperature,
            },
        }
        if system:
            arguments["system"] = [{"text": system}]
        return arguments

    def fault(self, error: Exception, mid_reply: bool) -> Fault:
        if isinstance(error, EndpointError):
            return Fault(error)
        return provider_fault(mapped(error), self.name)

    async def close(self) -> None:
        await asyncio.to_thread(self._aws.close)


async def _events(client: Any, arguments: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """The events of one reply, read by a thread of its own; first {"id": …} of the request."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
    closed = threading.Event()

    def put(event: dict[str, Any] | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(events.put_nowait, event)

    def read() -> None:
        try:
            response = client.converse_stream(**arguments)
            put({"id": str(response["ResponseMetadata"].get("RequestId", ""))})
            with contextlib.closing(response["stream"]) as stream:
                for event in stream:
                    put(event)
                    if closed.is_set():
                        return
            put(None)
        except Exception as error:
            put(error)

    # A daemon: one that waits for a silent server must not hold up the end of the app.
    threading.Thread(target=read, name="bedrock", daemon=True).start()
    try:
        while (event := await events.get()) is not None:
            if isinstance(event, Exception):
                raise event
            yield event
    finally:
        closed.set()
