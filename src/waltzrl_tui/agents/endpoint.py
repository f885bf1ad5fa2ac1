"""Streaming chat endpoints. One client speaks to every OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import functools
import importlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from waltzrl_tui.agents.prompts import Message
from waltzrl_tui.errors import EndpointError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply. In the last piece, where the server tells: `tokens` of the whole reply,
    and `prompt_tokens` of what it read."""

    text: str
    tokens: int | None = None
    prompt_tokens: int | None = None


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
        timeout: Seconds without a byte before the endpoint counts as gone.
        streaming: Whether replies come token by token. Whole ones cost this process 2 ms less a
            token, which the cores of an embedded engine can use.
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
        streaming: bool = True,
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._extra_body = dict(extra_body or {})
        self._timeout = timeout
        self._streaming = streaming
        self.name = name or base_url
        self._client: AsyncOpenAI | None = None

    async def connect(self) -> None:
        """Make the client now, so that the first reply need not wait for it."""
        if self._client is None:
            # The SDK takes half a second to import and its client some 30 ms to read the
            # certificates, so not on the event loop.
            self._client = await asyncio.to_thread(self._make_client)

    def _make_client(self) -> AsyncOpenAI:
        openai = importlib.import_module("openai")
        client: AsyncOpenAI = openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key,
            timeout=self._timeout,
            max_retries=2,
        )
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
        import openai

        client: Any = self._client
        create = functools.partial(
            client.chat.completions.create,
            model=self._model,
            messages=list(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            extra_body=self._extra_body,
        )
        said = False
        try:
            if not self._streaming:
                whole = await create()
                text = (whole.choices[0].message.content or "") if whole.choices else ""
                usage = whole.usage
                yield Delta(
                    text,
                    usage.completion_tokens if usage else None,
                    usage.prompt_tokens if usage else None,
                )
                return
            chunks = await create(stream=True, stream_options={"include_usage": True})
            async with chunks:
                async for chunk in chunks:
                    text = (chunk.choices[0].delta.content or "") if chunk.choices else ""
                    tokens = chunk.usage.completion_tokens if chunk.usage else None
                    if text or tokens is not None:
                        said = True
                        yield Delta(text, tokens, chunk.usage and chunk.usage.prompt_tokens)
        except openai.APIStatusError as error:
            raise EndpointError(
                f"{self.name} refused the request ({error.status_code}): {_words(error)}.",
                hint="Check the agent's model and key with `waltzrl-tui agents list`.",
            ) from error
        except openai.APIConnectionError as error:
            if said:
                raise EndpointError(
                    f"{self.name} broke off in the middle of its reply.", hint="Ask again."
                ) from error
            raise EndpointError(
                f"{self.name} cannot be reached: {error.__cause__ or error}.",
                hint="Check that it runs and that its URL is right.",
            ) from error
        except (openai.OpenAIError, OSError, ValueError, EOFError) as error:
            raise EndpointError(f"{self.name} broke off: {error}.", hint="Ask again.") from error
        except Exception as error:
            # A connection that drops mid-stream leaves the SDK as its HTTP library's own error.
            if type(error).__module__.partition(".")[0].startswith("http"):
                raise EndpointError(
                    f"{self.name} broke off: {error or type(error).__name__}.", hint="Ask again."
                ) from error
            raise

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


def _words(error: Any) -> str:
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or getattr(error, "message", error)).rstrip(".")
