"""Streaming chat endpoints. One client speaks to every OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Protocol

from waltzrl_tui.endpoints.accepted_settings import Form
from waltzrl_tui.endpoints.errors import Fault, check_route, fault_of
from waltzrl_tui.endpoints.response_text import content_text
from waltzrl_tui.endpoints.retry import Delta, Gate, Origin, Patience, Told, steady
from waltzrl_tui.network import async_transport
from waltzrl_tui.records.messages import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from waltzrl_tui.endpoints.whole import WholeClient

__all__ = ["ChatEndpoint", "Delta", "OpenAIEndpoint", "Origin", "Patience"]


class ChatEndpoint(Protocol):
    """Anything that can answer a chat."""

    def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """Stream the reply to `messages`, of at most `max_tokens` tokens.

        Closing the generator stops the generation.

        Raises:
            EndpointError: The endpoint cannot be reached, refuses, or breaks off.
        """
        ...


class OpenAIEndpoint:
    """A server that speaks the chat-completions protocol.

    Args:
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token; never stored or shown.
        model: The model's name at that server.
        extra_body: Fields added to every request (llama.cpp's `lora`, for one).
        name: What errors call this endpoint.
        timeout: Seconds to the first token, or to a whole reply, before the endpoint counts as
            gone; `patience` says all of that in its place.
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
        patience: Patience | None = None,
        streaming: bool = True,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._extra_body = dict(extra_body or {})
        self._patience = patience or Patience(first=timeout)
        self._streaming = streaming
        self._form = Form()
        self._gate = Gate()
        self.name = name or base_url
        self._client: AsyncOpenAI | WholeClient | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> None:
        """Make the client now, so that the first reply need not wait for it.

        Raises:
            EndpointError: The environment names a proxy or certificates that cannot be used.
        """
        if self._client is not None:
            return
        async with self._connecting:  # Of many streams that begin together one makes it.
            if self._client is None:
                # The SDK takes half a second to import and its client some 30 ms to read the
                # certificates, so not on the event loop.
                make = self._sdk_client if self._streaming else self._whole_client
                self._client = await asyncio.to_thread(make)

    def _sdk_client(self) -> AsyncOpenAI:
        import httpx2

        from waltzrl_tui.endpoints.byte_limit import tame

        check_route(self._base_url, self.name)
        openai = importlib.import_module("openai")
        # Waiting for an answer is ours: see `steady`.
        seconds = openai.Timeout(None, connect=self._patience.connect)
        client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key,
            timeout=seconds,
            max_retries=0,
            # A compressed stream comes in blocks, not token by token.
            default_headers={"accept-encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(
                timeout=seconds,
                event_hooks={"response": [tame]},
                transport=async_transport(httpx2, self._base_url),
            ),
        )
        return client

    def _whole_client(self) -> WholeClient:
        from waltzrl_tui.endpoints.whole import WholeClient

        check_route(self._base_url, self.name)
        client = WholeClient(self._base_url, self._api_key, connect=self._patience.connect)
        client.prepare()
        return client

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
            return self._attempt(told, messages, max_tokens, temperature, seed)

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
        self,
        told: Told,
        messages: Sequence[Message],
        max_tokens: int,
        temperature: float,
        seed: int | None,
    ) -> AsyncGenerator[str, None]:
        answer = await self._create(messages, max_tokens, temperature, seed)
        told.without = self._form.without
        if not self._streaming:
            note(told, answer)
            first = _first(_told(answer, "choices"))
            told.complete = first is not None
            if told.complete:
                yield _text(_told(first, "message"))
            return
        async with answer:
            async for chunk in answer:
                note(told, chunk)
                choices = chunk.choices
                yield _text(choices[0].delta) if choices else ""
        # A server that ends in good order says why it did, or how much it was.
        told.complete = bool(told.finish) or told.tokens is not None

    async def _create(
        self,
        messages: Sequence[Message],
        max_tokens: int,
        temperature: float,
        seed: int | None,
    ) -> Any:
        client: Any = self._client
        while True:
            settings = self._form.settings(
                max_tokens=max_tokens,
                temperature=temperature,
                seed=seed,
                streaming=self._streaming,
            )
            wish = {"model": self._model, "messages": list(messages), **settings}
            try:
                if not self._streaming:
                    return await client.post(wish | {"stream": False} | self._extra_body)
                return await client.chat.completions.create(
                    stream=True, extra_body=self._extra_body, **wish
                )
            except Exception as error:
                # Of the SDK, or ours in its shape: both tell of a refusal by its status.
                status = getattr(error, "status_code", None)
                if status is None or not self._form.adapt(status, str(error)):
                    raise

    def _fault(self, error: Exception, said: bool) -> Fault:
        return fault_of(error, self.name, secret=self._api_key, said=said)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


def note(told: Told, answer: Any) -> None:
    """Take in what a chunk, or a whole answer, tells besides text. Its types are not trusted."""
    for name, value in (
        ("model", _told(answer, "model")),
        ("id", _told(answer, "id")),
        ("fingerprint", _told(answer, "system_fingerprint")),
        ("finish", _told(_first(_told(answer, "choices")), "finish_reason")),
    ):
        if isinstance(value, str) and value:
            setattr(told, name, value)
    usage = _told(answer, "usage")
    for name, field in (("tokens", "completion_tokens"), ("prompt_tokens", "prompt_tokens")):
        count = _told(usage, field)
        if isinstance(count, int) and count >= 0:
            setattr(told, name, count)


def _text(message: Any) -> str:
    # A refusal has a field of its own at some servers; it is the reply all the same.
    return content_text(_told(message, "content")) or content_text(_told(message, "refusal"))


def _told(answer: Any, name: str) -> Any:
    """A field of an answer, which is the SDK's object, plain JSON, or nonsense."""
    return answer.get(name) if isinstance(answer, dict) else getattr(answer, name, None)


def _first(listed: Any) -> Any:
    return listed[0] if isinstance(listed, list) and listed else None
