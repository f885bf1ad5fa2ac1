"""Every OpenAI-compatible server, through OpenAI's SDK or by plain POSTs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from waltzrl_tui.endpoints.base import ChatRequest, SdkEndpoint, ServerMetadata
from waltzrl_tui.endpoints.response_text import content_text
from waltzrl_tui.endpoints.retry import Timeouts


class OpenAIEndpoint(SdkEndpoint):
    """A server that speaks the chat-completions protocol.

    Args:
        base_url: Up to and including `/v1`.
        extra_body: Fields added to every request (llama.cpp's `lora`, for one).
        timeout: Seconds to the first token, or to a whole reply; ignored if there are `timeouts`.
        streaming: Whether replies come token by token. Whole ones cost this process 2 ms less a
            token, which the cores of an embedded engine can use; they do not go through the SDK.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        extra_body: Mapping[str, Any] | None = None,
        name: str = "",
        timeout: float = 120.0,
        timeouts: Timeouts | None = None,
        streaming: bool = True,
    ) -> None:
        super().__init__(
            base_url,
            api_key,
            model,
            name=name,
            timeouts=timeouts or Timeouts(first_token=timeout),
        )
        self._extra_body = dict(extra_body or {})
        self._streaming = streaming

    def make_client(self) -> Any:
        if self._streaming:
            return self.sdk_client("openai", "AsyncOpenAI")
        from waltzrl_tui.endpoints.whole import WholeClient

        client = WholeClient(self._base_url, self._api_key, connect=self._timeouts.connect)
        client.prepare()
        return client

    async def attempt(
        self, request: ChatRequest, metadata: ServerMetadata
    ) -> AsyncGenerator[str, None]:
        response = await self._create(request)
        metadata.without = self._settings.refused
        if not self._streaming:
            read_metadata(metadata, response)
            choice = _first(_field(response, "choices"))
            metadata.complete = choice is not None
            if metadata.complete:
                yield _text(_field(choice, "message"))
            return
        async with response:
            async for chunk in response:
                read_metadata(metadata, chunk)
                choices = chunk.choices
                yield _text(choices[0].delta) if choices else ""
        # A server that ends in good order reports why, or how many tokens there were.
        metadata.complete = bool(metadata.finish) or metadata.tokens is not None

    async def _create(self, request: ChatRequest) -> Any:
        while True:
            settings = self._settings.build(
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=request.seed,
                streaming=self._streaming,
            )
            body = {"model": self._model, "messages": list(request.messages), **settings}
            try:
                if not self._streaming:
                    return await self._client.post(body | {"stream": False} | self._extra_body)
                return await self._client.chat.completions.create(
                    stream=True, extra_body=self._extra_body, **body
                )
            except Exception as error:
                # Both the SDK's refusals and ours carry the status.
                status = getattr(error, "status_code", None)
                if status is None or not self._settings.adapt(status, str(error)):
                    raise


def read_metadata(metadata: ServerMetadata, response: Any) -> None:
    """Take in what a chunk, or a whole response, reports besides text. Its types are untrusted."""
    for name, value in (
        ("model", _field(response, "model")),
        ("id", _field(response, "id")),
        ("fingerprint", _field(response, "system_fingerprint")),
        ("finish", _field(_first(_field(response, "choices")), "finish_reason")),
    ):
        if isinstance(value, str) and value:
            setattr(metadata, name, value)
    usage = _field(response, "usage")
    for name, field in (("tokens", "completion_tokens"), ("prompt_tokens", "prompt_tokens")):
        count = _field(usage, field)
        if isinstance(count, int) and count >= 0:
            setattr(metadata, name, count)


def _text(message: Any) -> str:
    # Some servers put a refusal in a field of its own; it is the reply all the same.
    return content_text(_field(message, "content")) or content_text(_field(message, "refusal"))


def _field(response: Any, name: str) -> Any:
    """A field of a response, which is the SDK's object, plain JSON, or nonsense."""
    return response.get(name) if isinstance(response, dict) else getattr(response, name, None)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None
