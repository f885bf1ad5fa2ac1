"""Anthropic's Messages API, through its own SDK (the extra `anthropic`)."""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator
from typing import Any

from waltzrl_tui.endpoints.base import ChatRequest, SdkEndpoint, ServerMetadata
from waltzrl_tui.endpoints.turns import FINISH, split_system


class AnthropicEndpoint(SdkEndpoint):
    """An Anthropic model. It takes no seed, and not every model takes a temperature.

    `base_url` is that of the API, without `/v1`.
    """

    def make_client(self) -> Any:
        return self.sdk_client("anthropic", "AsyncAnthropic")

    async def attempt(
        self, request: ChatRequest, metadata: ServerMetadata
    ) -> AsyncGenerator[str, None]:
        response = await self._create(request)
        metadata.without = self._settings.refused
        async with response:
            async for event in response:
                if event.type == "message_start":
                    metadata.model, metadata.id = event.message.model, event.message.id
                    metadata.prompt_tokens = event.message.usage.input_tokens
                elif event.type == "message_delta":
                    reason = str(event.delta.stop_reason or "")
                    metadata.finish = FINISH.get(reason, reason)
                    metadata.tokens = event.usage.output_tokens
                elif event.type == "message_stop":
                    metadata.complete = True
                is_text = event.type == "content_block_delta" and event.delta.type == "text_delta"
                yield event.delta.text if is_text else ""

    async def _create(self, request: ChatRequest) -> Any:
        sdk: Any = importlib.import_module("anthropic")
        system, turns = split_system(request.messages)
        while True:
            # The SDK has no field for a temperature any more; models that take one still do.
            settings = self._settings.build(
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=None,
                streaming=False,
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
                if not self._settings.adapt(error.status_code, str(error)):
                    raise
