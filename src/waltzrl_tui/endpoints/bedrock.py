"""Models on Amazon Bedrock, through boto3's Converse stream (the extra `bedrock`)."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from waltzrl_tui.endpoints.errors import Fault, of_provider
from waltzrl_tui.endpoints.retry import Delta, Gate, Patience, Told, steady
from waltzrl_tui.endpoints.turns import spoken
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.providers.bedrock.errors import mapped
from waltzrl_tui.providers.bedrock.session import Aws
from waltzrl_tui.records.messages import Message

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}

_ARN: Final = re.compile(r"arn:aws[a-z-]*:bedrock:([a-z0-9-]+):")


def region_of(model: str) -> str:
    """The region in the ARN of a model, a profile or a deployment; "" where it is a mere id."""
    found = _ARN.match(model)
    return found[1] if found else ""


class BedrockEndpoint:
    """A model, an inference profile or a deployment on Bedrock. Converse takes no seed.

    Args:
        aws: Clients of the account.
        model: A model's id or an ARN.
        name: What errors call this endpoint.
    """

    def __init__(
        self, aws: Aws, model: str, *, name: str, patience: Patience | None = None
    ) -> None:
        self._aws = aws
        self._model = model
        self._patience = patience or Patience()
        self._gate = Gate()
        self.name = name

    async def connect(self) -> None:
        """Make the client now, so that the first reply need not wait for it."""
        await self._aws.client("bedrock-runtime")

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        system, turns = spoken(messages)
        wish: dict[str, Any] = {
            "modelId": self._model,
            "messages": [
                {"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns
            ],
            "inferenceConfig": {"maxTokens": max_tokens, "temperature": temperature},
        }
        if system:
            wish["system"] = [{"text": system}]
        replying = steady(
            lambda told: self._attempt(told, wish),
            name=self.name,
            max_tokens=max_tokens,
            patience=self._patience,
            gate=self._gate,
            fault=self._fault,
        )
        async with aclosing(replying) as deltas:
            async for delta in deltas:
                yield delta

    async def _attempt(self, told: Told, wish: dict[str, Any]) -> AsyncGenerator[str, None]:
        client = await self._aws.client("bedrock-runtime")
        async with aclosing(_events(client, wish)) as events:
            async for event in events:
                told.id = event.get("id", told.id)
                if stop := event.get("messageStop"):
                    reason = str(stop.get("stopReason", ""))
                    told.finish, told.complete = _FINISH.get(reason, reason), True
                if usage := event.get("metadata", {}).get("usage"):
                    told.tokens = usage.get("outputTokens")
                    told.prompt_tokens = usage.get("inputTokens")
                yield event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")

    def _fault(self, error: Exception, said: bool) -> Fault:
        if isinstance(error, EndpointError):
            return Fault(error)
        return of_provider(mapped(error), self.name)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._aws.close)


async def _events(client: Any, wish: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """The events of one reply, read by a thread of its own; first {"id": …} of the request."""
    loop = asyncio.get_running_loop()
    coming: asyncio.Queue[dict[str, Any] | Exception | None] = asyncio.Queue()
    left = threading.Event()

    def tell(found: dict[str, Any] | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(coming.put_nowait, found)

    def read() -> None:
        try:
            answer = client.converse_stream(**wish)
            tell({"id": str(answer["ResponseMetadata"].get("RequestId", ""))})
            with contextlib.closing(answer["stream"]) as stream:
                for event in stream:
                    tell(event)
                    if left.is_set():
                        return
            tell(None)
        except Exception as error:
            tell(error)

    # A daemon: one that waits for a silent server must not hold up the end of the app.
    threading.Thread(target=read, name="bedrock", daemon=True).start()
    try:
        while (found := await coming.get()) is not None:
            if isinstance(found, Exception):
                raise found
            yield found
    finally:
        left.set()
