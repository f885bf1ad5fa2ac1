"""What all streaming endpoints share: the reply's types, retries, timeouts and a cap on text."""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, Final, Protocol

from waltzrl_tui.endpoints.accepted_settings import AcceptedSettings
from waltzrl_tui.endpoints.errors import Fault, FilteredError, sdk_fault
from waltzrl_tui.endpoints.response_text import SurrogateJoiner
from waltzrl_tui.endpoints.retry import Backoff, OutputCap, Timeouts, backoff_seconds
from waltzrl_tui.endpoints.thinking import Thinking
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.network import RouteError, async_transport, certificates, proxy_of
from waltzrl_tui.records.messages import Message
from waltzrl_tui.text import one_line
from waltzrl_tui.words import duration


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a reply came from, in the server's own words ("" where not reported).

    Attributes:
        model: The model that answered, which may have another name than the one requested.
        id: The server's name of this reply.
        fingerprint: Of what runs there (`system_fingerprint`).
        finish: Why the reply ended: `stop`, `length`, `content_filter`, or the server's own word.
        without: Settings that the server refuses, so the request was sent without them.
    """

    model: str = ""
    id: str = ""
    fingerprint: str = ""
    finish: str = ""
    without: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"without": list(self.without)}


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a reply.

    Attributes:
        text: May be empty.
        tokens, prompt_tokens: Of the whole reply and of what it read; in the last piece, where
            the server reports them.
        origin: In the last piece.
        restart: All text before was thinking whose begin was not sent; the reply begins here.
    """

    text: str
    tokens: int | None = None
    prompt_tokens: int | None = None
    origin: Origin | None = None
    restart: bool = False


BEGUN: Final = Delta("")
"""The first piece of an endpoint that queued the request: it is being answered now."""


@dataclass(slots=True)
class ServerMetadata:
    """What a server reports besides text while it replies.

    Attributes:
        complete: Whether the reply ended in good order.
    """

    model: str = ""
    id: str = ""
    fingerprint: str = ""
    finish: str = ""
    tokens: int | None = None
    prompt_tokens: int | None = None
    without: tuple[str, ...] = ()
    complete: bool = False

    def final_delta(self) -> Delta:
        # llama.cpp names a model by its file, whose folder is nobody's business.
        model = PurePath(self.model).name if self.model.startswith("/") else self.model
        origin = Origin(
            model=one_line(model, 160),
            id=one_line(self.id, 160),
            fingerprint=one_line(self.fingerprint, 160),
            finish=one_line(self.finish, 40),
            without=self.without,
        )
        return Delta("", self.tokens, self.prompt_tokens, origin)


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


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request, the same at every attempt. Attributes as the arguments of `stream`."""

    messages: Sequence[Message]
    max_tokens: int
    temperature: float
    seed: int | None


class StreamingEndpoint(ABC):
    """A `ChatEndpoint` at a server. A subclass makes one attempt; retries are here.

    Args:
        name: What errors call this endpoint.
    """

    def __init__(self, name: str, timeouts: Timeouts | None) -> None:
        self.name = name
        self._timeouts = timeouts or Timeouts()
        self._backoff = Backoff()
        # A reply began inside thinking, without a sign of it: hold later ones back until
        # their thinking ends.
        self._begins_thinking = False

    @abstractmethod
    def attempt(self, request: ChatRequest, metadata: ServerMetadata) -> AsyncGenerator[str, None]:
        """Ask once; yield text (also empty text, as a sign of life) and fill in `metadata`."""

    @abstractmethod
    def fault(self, error: Exception, mid_reply: bool) -> Fault:
        """What an attempt's error means; `mid_reply`: whether text had arrived."""

    @abstractmethod
    async def connect(self) -> None:
        """Make the client now, so that the first reply need not wait for it.

        Raises:
            EndpointError: The client cannot be made.
        """

    @abstractmethod
    async def close(self) -> None:
        """Close the connections."""

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """See `ChatEndpoint`.

        An attempt is repeated while no text has arrived and another may help. Thinking in the
        text is left out. A server whose filter refuses has replied, too: its reply ends there,
        with the reason `content_filter`. The last piece holds no text but what the server
        reports of the reply.

        Raises:
            EndpointError: The server failed, stalled, or sends without end.
        """
        await self.connect()
        request = ChatRequest(messages, max_tokens, temperature, seed)
        timeouts = self._timeouts
        attempts = 0
        while True:
            attempts += 1
            await self._backoff.wait()
            metadata, joiner, mid_reply = ServerMetadata(), SurrogateJoiner(), False
            thinking = Thinking(unopened=self._begins_thinking)
            cap = OutputCap(self.name, max_tokens)
            try:
                async with aclosing(self.attempt(request, metadata)) as pieces:
                    while True:
                        seconds = timeouts.next_token if mid_reply else timeouts.first_token
                        try:
                            # Only the wait is timed: the consumer may take its time.
                            async with asyncio.timeout(seconds):
                                piece = await anext(pieces, None)
                        except TimeoutError as error:
                            raise self._timed_out(seconds, mid_reply) from error
                        if piece is None:
                            break
                        if piece := cap.clip(joiner.feed(piece)):
                            mid_reply = True
                            answer, restart = thinking.feed(piece)
                            self._begins_thinking |= thinking.unopened
                            if answer or restart:
                                yield Delta(answer, restart=restart)
                        cap.check()
                rest = thinking.feed(joiner.rest())[0]
                rest += thinking.rest(cut=metadata.finish == "length")
                if rest:
                    mid_reply = True
                    yield Delta(rest)
                if not metadata.complete:
                    raise EOFError("the stream ended before the reply did")
                yield metadata.final_delta()
                return
            except Exception as error:
                fault = self.fault(error, mid_reply)
                if isinstance(fault.error, FilteredError):
                    break
                limit = timeouts.attempts
                if fault.rate_limited:
                    limit = timeouts.rate_limited_attempts
                if mid_reply or not fault.retryable or attempts >= limit:
                    raise fault.error from error
            wait = fault.retry_after
            if wait is None:
                wait = backoff_seconds(attempts)
            if fault.rate_limited:
                self._backoff.hold(wait)
            else:
                await asyncio.sleep(wait)
        if rest := thinking.rest(cut=True):
            yield Delta(rest)
        metadata.finish = "content_filter"
        if not mid_reply:
            # What was refused is not billed.
            metadata.tokens = metadata.prompt_tokens = 0
        yield metadata.final_delta()

    def _timed_out(self, seconds: float, mid_reply: bool) -> EndpointError:
        if mid_reply:
            return EndpointError(
                f"{self.name} broke off: no text arrived for {duration(seconds)}"
                " in the middle of its reply.",
                hint="Ask again.",
            )
        return EndpointError(
            f"{self.name} did not begin to reply within {duration(seconds)}.",
            hint="Ask again when it is less busy, and check that its model is loaded.",
        )


class SdkEndpoint(StreamingEndpoint):
    """An endpoint behind an SDK in the style of OpenAI's and Anthropic's.

    Args:
        base_url: As the SDK takes it.
        api_key: Never stored or shown.
        model: The model's name at that server.
        name: What errors call this endpoint.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        name: str = "",
        timeouts: Timeouts | None = None,
    ) -> None:
        super().__init__(name or base_url, timeouts)
        self._base_url = base_url
        self._api_key = api_key
        self._model = model
        self._settings = AcceptedSettings()
        self._client: Any = None
        self._connecting = asyncio.Lock()

    @abstractmethod
    def make_client(self) -> Any:
        """Make the client; called in a thread, once until `close`."""

    async def connect(self) -> None:
        if self._client is not None:
            return
        async with self._connecting:  # Of many streams that begin together one makes it.
            if self._client is None:
                # An SDK takes half a second to import and its client some 30 ms to read the
                # certificates, so not on the event loop.
                self._client = await asyncio.to_thread(self._checked_client)

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def fault(self, error: Exception, mid_reply: bool) -> Fault:
        return sdk_fault(error, self.name, secret=self._api_key, mid_reply=mid_reply)

    def sdk_client(self, package: str, client: str) -> Any:
        """The client of that class in that SDK. It neither retries nor times the reply."""
        import httpx2

        from waltzrl_tui.endpoints.byte_limit import sanitize_stream

        sdk: Any = importlib.import_module(package)
        timeout = sdk.Timeout(None, connect=self._timeouts.connect)
        return getattr(sdk, client)(
            api_key=self._api_key,
            base_url=self._base_url,
            timeout=timeout,
            max_retries=0,
            # A compressed stream comes in blocks, not token by token.
            default_headers={"accept-encoding": "identity"},
            http_client=sdk.DefaultAsyncHttpxClient(
                timeout=timeout,
                event_hooks={"response": [sanitize_stream]},
                transport=async_transport(httpx2, self._base_url),
            ),
        )

    def _checked_client(self) -> Any:
        import httpx2

        try:
            proxy_of(self._base_url)
            if self._base_url.startswith("https:"):
                certificates(httpx2)
        except RouteError as error:
            message = f"{self.name} cannot be asked: {error.message}"
            raise EndpointError(message, hint=error.hint) from error
        return self.make_client()
