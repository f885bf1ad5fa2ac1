"""The HTTP server of pairs. Import it late, as aiohttp is slow to import."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Final

from aiohttp import ClientPayloadError, web

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.serve.admission import admit
from waltzrl_tui.serve.answer import AnswerEnd, ReplyPiece, RoundEvent, answer_request
from waltzrl_tui.serve.documents import KEEPALIVE, STREAM_END, Completion, model_document, sse_event
from waltzrl_tui.serve.errors import ApiError, agent_error, internal_error
from waltzrl_tui.serve.meter import Meter
from waltzrl_tui.serve.request import ChatRequest, read_request
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.waltz.waltz import LivePair

_MAX_BODY_BYTES: Final = 8 * 1024 * 1024
_BODY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class RequestCounts:
    """The requests so far; `changed` is called after each change."""

    waiting: int = 0
    running: int = 0
    answered: int = 0
    failed: int = 0
    changed: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How pairs are served.

    Attributes:
        key: What clients must send as bearer token; "" for none.
        drafts: Whether streams report drafts and verdicts unless a request says otherwise.
        max_tokens: Cap of a reply where a request gives none.
        verdict_tokens: Cap of a verdict.
        keepalive_seconds: Time between two comments that keep a silent stream alive.
        concurrency: Requests that are answered at the same time.
        queue_limit: Requests that may wait; further ones are refused.
    """

    key: str = ""
    drafts: bool = False
    max_tokens: int = 512
    verdict_tokens: int = VERDICT_TOKENS
    keepalive_seconds: float = 10.0
    concurrency: int = 32
    queue_limit: int = 256


class PairServer:
    """Answers `POST /v1/chat/completions` and `GET /v1/models`.

    Args:
        pairs: The pairs, by the name that clients give as the model.
        created: When each was created, seconds since 1970.
        meter: The meter that the pairs' endpoints charge; once its budget is used up, requests
            are refused.
    """

    def __init__(
        self,
        pairs: Mapping[str, LivePair],
        created: Mapping[str, int],
        settings: ServerSettings,
        meter: Meter | None = None,
    ) -> None:
        self._pairs = pairs
        self._created = created
        self._settings = settings
        self._meter = meter or Meter()
        self._turns = asyncio.Semaphore(settings.concurrency)
        self.counts = RequestCounts()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the port; `port` 0 chooses a free one.

        Raises:
            OSError: The address cannot be used.
        """
        app = web.Application(middlewares=[self._handle_errors], client_max_size=_MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._model)
        # A client that disconnects ends its handler, and with it the replies in progress.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and end the requests in progress."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @web.middleware
    async def _handle_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            admit(request, self._settings.key)
            return await handler(request)
        except ApiError as error:
            failure = error
        except web.HTTPException as error:
            message = f"{request.method} {request.path}: {error.reason}."
            failure = ApiError(error.status, message)
        except (ClientPayloadError, web.RequestPayloadError):
            failure = ApiError(400, "The body is incomplete.", code="invalid_body")
        except Exception:
            _log.exception("a request failed")
            failure = internal_error()
        return web.json_response(failure.document, status=failure.status, headers=failure.headers)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        models = [model_document(name, self._created[name]) for name in self._pairs]
        return web.json_response({"object": "list", "data": models})

    async def _model(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        self._pair(name)
        return web.json_response(model_document(name, self._created[name]))

    def _pair(self, name: str) -> LivePair:
        if name not in self._pairs:
            raise ApiError(
                404,
                f"There is no pair {name[:100]!r} here. Available: {', '.join(self._pairs)}.",
                param="model",
                code="model_not_found",
            )
        return self._pairs[name]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        counts = self.counts
        self._refuse_used_up()
        limit = self._settings.concurrency + self._settings.queue_limit
        if counts.running + counts.waiting >= limit:
            raise ApiError(
                429,
                "Too many requests are waiting; try again later.",
                kind="rate_limit_error",
                code="too_many_requests",
                headers={"retry-after": "2"},
            )
        counts.waiting += 1
        try:
            chat = await self._read(request)
            pair = self._pair(chat.model)
            counts.changed()
            await self._turns.acquire()
        finally:
            counts.waiting -= 1
        counts.running += 1
        counts.changed()
        succeeded = False
        try:
            # Earlier requests may have used up the budget while this one waited.
            self._refuse_used_up()
            if chat.stream:
                response, succeeded = await self._stream(request, pair, chat)
                return response
            response = await self._whole(pair, chat)
            succeeded = True
            return response
        finally:
            self._turns.release()
            counts.running -= 1
            counts.answered += succeeded
            counts.failed += not succeeded
            counts.changed()

    def _refuse_used_up(self) -> None:
        if self._meter.used_up:
            # Not 429, after which clients retry, and some harnesses forever.
            raise ApiError(
                402,
                "The server's budget is used up. Whoever runs it can restart it with a higher "
                "--budget.",
                kind="insufficient_quota",
                code="budget_reached",
                headers={"x-should-retry": "false"},
            )

    async def _read(self, request: web.Request) -> ChatRequest:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                raw = await request.read()
        except TimeoutError as error:
            raise ApiError(408, f"The body took longer than {_BODY_SECONDS:.0f} s.") from error
        # Parsing a large body takes long enough to hold up the streams of other clients.
        return await asyncio.to_thread(read_request, raw)

    async def _whole(self, pair: LivePair, chat: ChatRequest) -> web.StreamResponse:
        try:
            async with aclosing(self._answer(pair, chat, drafts=False)) as pieces:
                *_, end = [piece async for piece in pieces]
        except WaltzError as error:
            raise agent_error(error) from error
        assert isinstance(end, AnswerEnd)
        return web.json_response(Completion(chat.model).whole(end))

    async def _stream(
        self, request: web.Request, pair: LivePair, chat: ChatRequest
    ) -> tuple[web.StreamResponse, bool]:
        """The response, and whether it reached its end."""
        drafts = self._settings.drafts if chat.drafts is None else chat.drafts
        completion = Completion(chat.model)
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
        )

        async def write(data: bytes) -> None:
            # Started late, so that an early failure still gets a status of its own.
            if not response.prepared:
                await response.prepare(request)
                await response.write(completion.first())
            await response.write(data)

        try:
            async with aclosing(self._answer(pair, chat, drafts=drafts)) as pieces:
                next_piece = asyncio.ensure_future(anext(pieces, None))
                try:
                    while True:
                        seconds = self._settings.keepalive_seconds
                        finished, _ = await asyncio.wait({next_piece}, timeout=seconds)
                        if not finished:
                            await write(KEEPALIVE)
                            continue
                        piece = next_piece.result()
                        if piece is None:
                            break
                        if isinstance(piece, ReplyPiece):
                            await write(completion.text(piece.text))
                        elif isinstance(piece, RoundEvent):
                            await write(completion.round_event(piece.fields))
                        else:
                            await write(completion.last(piece))
                            if chat.usage:
                                await write(completion.usage(piece))
                        next_piece = asyncio.ensure_future(anext(pieces, None))
                finally:
                    next_piece.cancel()
                    with suppress(asyncio.CancelledError, WaltzError):
                        await next_piece
            await write(STREAM_END)
        except ConnectionResetError:
            return response, False
        except Exception as error:
            failure = agent_error(error) if isinstance(error, WaltzError) else internal_error()
            if not isinstance(error, WaltzError):
                _log.exception("a request failed")
            if not response.prepared:
                raise failure from error
            # A started response keeps its status: the error is the stream's last event.
            with suppress(ConnectionResetError):
                await response.write(sse_event(failure.document))
                await response.write_eof()
            return response, False
        with suppress(ConnectionResetError):
            await response.write_eof()
        return response, True

    def _answer(
        self, pair: LivePair, chat: ChatRequest, *, drafts: bool
    ) -> AsyncGenerator[ReplyPiece | RoundEvent | AnswerEnd, None]:
        settings = self._settings
        return answer_request(
            pair,
            chat,
            max_tokens=settings.max_tokens,
            verdict_tokens=settings.verdict_tokens,
            drafts=drafts,
        )
