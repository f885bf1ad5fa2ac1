"""Anthropic's Messages API, through its own SDK (the extra `anthropic`)."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final

from waltzrl_tui.endpoints.accepted_settings import Form
from waltzrl_tui.endpoints.errors import Fault, check_route, fault_of
from waltzrl_tui.endpoints.retry import Delta, Gate, Patience, Told, steady
from waltzrl_tui.endpoints.turns import spoken
from waltzrl_tui.network import async_transport
from waltzrl_tui.records.messages import Message

_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


class AnthropicEndpoint:
    """A model of Anthropic's. It takes no seed, and not every model takes a temperature.

    Args:
        base_url: Of the API, without `/v1`.
        api_key: Never stored or shown.
        model: By Anthropic's name.
        name: What errors call this endpoint.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        name: str = "",
        patience: Patience | None = None,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._patience = patience or Patience()
        self._form = Form()
        self._gate = Gate()
        self.name = name or base_url
        self._client: Any = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> None:
        """Make the client now, so that the first reply need not wait for it.

        Raises:
            EndpointError: The environment names a proxy or certificates that cannot be used.
        """
        if self._client is not None:
            return
        async with self._connecting:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make_client)

    def _make_client(self) -> Any:
        import httpx2

        from waltzrl_tui.endpoints.byte_limit import tame

        check_route(self._base_url, self.name)
        sdk: Any = importlib.import_module("anthropic")
        seconds = sdk.Timeout(None, connect=self._patience.connect)
        return sdk.AsyncAnthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            timeout=seconds,
            max_retries=0,
            default_headers={"accept-encoding": "identity"},
            http_client=sdk.DefaultAsyncHttpxClient(
                timeout=seconds,
                event_hooks={"response": [tame]},
                transport=async_transport(httpx2, self._base_url),
            ),
        )

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        await self.connect()

        def attempt(told: Told) -> AsyncGenerator[str, None]:
            return self._attempt(told, messages, max_tokens, temperature)

        replying = steady(
            attempt,
            name=self.name,
            max_tokens=max_tokens,
            patience=self._patience,
            gate=self._gate,
            fault=self._fault,
        )
        async with aclosing(replying) as deltas:
            async for delta in deltas:
                yield delta

    async def _attempt(
        self, told: Told, messages: Sequence[Message], max_tokens: int, temperature: float
    ) -> AsyncGenerator[str, None]:
        answer = await self._create(messages, max_tokens, temperature)
        told.without = self._form.without
        async with answer:
            async for event in answer:
                if event.type == "message_start":
                    told.model, told.id = event.message.model, event.message.id
                    told.prompt_tokens = event.message.usage.input_tokens
                elif event.type == "message_delta":
                    reason = str(event.delta.stop_reason or "")
                    told.finish = _FINISH.get(reason, reason)
                    told.tokens = event.usage.output_tokens
                elif event.type == "message_stop":
                    told.complete = True
                text = event.type == "content_block_delta" and event.delta.type == "text_delta"
                yield event.delta.text if text else ""

    async def _create(
        self, messages: Sequence[Message], max_tokens: int, temperature: float
    ) -> Any:
        sdk: Any = importlib.import_module("anthropic")
        system, turns = spoken(messages)
        while True:
            # The SDK has no field for a temperature any more; models that take one still do.
            settings = self._form.settings(
                max_tokens=max_tokens, temperature=temperature, seed=None, streaming=False
            )
            try:
                return await self._client.messages.create(
                    model=self._model,
                    messages=turns,
                    stream=True,
                    max_tokens=settings.pop("max_tokens"),
                    extra_body=settings,
                    **({"system": system} if system else {}),
                )
            except sdk.APIStatusError as error:
                if not self._form.adapt(error.status_code, str(error)):
                    raise

    def _fault(self, error: Exception, said: bool) -> Fault:
        return fault_of(error, self.name, secret=self._api_key, said=said)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
