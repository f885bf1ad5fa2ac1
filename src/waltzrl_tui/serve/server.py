"""The HTTP server of pairs, on aiohttp. Imports it: import this module late."""

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
from waltzrl_tui.serve.answer import Done, Step, Text, play
from waltzrl_tui.serve.documents import END, WAITING, Completion, event, model_document
from waltzrl_tui.serve.errors import ApiError, budget_reached, busy, internal, of_waltz
from waltzrl_tui.serve.meter import Meter
from waltzrl_tui.serve.request import Ask, read_request
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.waltz.waltz import LivePair

_MOST_BYTES: Final = 8 * 1024 * 1024
_BODY_SECONDS: Final = 60.0
_log = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Tally:
    """Requests so far; `changed` is called at each change."""

    waiting: int = 0
    running: int = 0
    answered: int = 0
    failed: int = 0
    changed: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True, slots=True)
class Settings:
    """How pairs are served.

    Attributes:
        key: What clients must send as bearer token; "" for none.
        drafts: Whether streams tell of drafts and verdicts unless a request says otherwise.
        max_tokens: Cap of a reply where a request names none.
        verdict_tokens: Cap of a verdict.
        every: Seconds between two comments that keep a silent stream alive.
        at_once: Requests that are answered at once.
        waiting: Requests that may wait for that; further ones are refused.
    """

    key: str = ""
    drafts: bool = False
    max_tokens: int = 512
    verdict_tokens: int = VERDICT_TOKENS
    every: float = 10.0
    at_once: int = 32
    waiting: int = 256


class PairServer:
    """Answers `POST /v1/chat/completions` and `GET /v1/models`.

    Args:
        pairs: What can be asked, by the name that clients give as the model.
        created: When each was made, seconds since 1970.
        meter: What the pairs' endpoints charge; nothing is asked any more once it is used up.
    """

    def __init__(
        self,
        pairs: Mapping[str, LivePair],
        created: Mapping[str, int],
        settings: Settings,
        meter: Meter | None = None,
    ) -> None:
        self._pairs = pairs
        self._created = created
        self._settings = settings
        self._meter = meter or Meter()
        self._turns = asyncio.Semaphore(settings.at_once)
        self.tally = Tally()
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and give the port (0: one that is free).

        Raises:
            OSError: The address cannot be listened at.
        """
        app = web.Application(middlewares=[self._answered], client_max_size=_MOST_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{name:.+}", self._model)
        # A client that leaves ends its handler, and with it the replies under way.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening and end what is under way."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            admit(request, self._settings.key)
            return await handler(request)
        except ApiError as error:
            found = error
        except web.HTTPException as error:
            words = f"{request.method} {request.path}: {error.reason}."
            found = ApiError(error.status, words)
        except (ClientPayloadError, web.RequestPayloadError):
            found = ApiError(400, "The body did not come whole.", code="invalid_body")
        except Exception:
            _log.exception("a request failed")
            found = internal()
        return web.json_response(found.document, status=found.status, headers=found.headers)

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
                f"There is no pair {name[:100]!r} here; there is {', '.join(self._pairs)}.",
                param="model",
                code="model_not_found",
            )
        return self._pairs[name]

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        tally = self.tally
        self._refuse_used_up()
        inside = tally.running + tally.waiting
        if inside >= self._settings.at_once + self._settings.waiting:
            raise busy()
        tally.waiting += 1
        try:
            ask = await self._read(request)
            pair = self._pair(ask.model)
            tally.changed()
            await self._turns.acquire()
        finally:
            tally.waiting -= 1
        tally.running += 1
        tally.changed()
        fine = False
        try:
            # Those before it may have used the budget up while it waited.
            self._refuse_used_up()
            if ask.stream:
                answer, fine = await self._stream(request, pair, ask)
                return answer
            answered = await self._whole(pair, ask)
            fine = True
            return answered
        finally:
            self._turns.release()
            tally.running -= 1
            tally.answered += fine
            tally.failed += not fine
            tally.changed()

    def _refuse_used_up(self) -> None:
        if self._meter.used_up:
            raise budget_reached()

    async def _read(self, request: web.Request) -> Ask:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                raw = await request.read()
        except TimeoutError as error:
            raise ApiError(408, f"The body did not come within {_BODY_SECONDS:.0f} s.") from error
        # A large one takes long enough to hold up the streams of others.
        return await asyncio.to_thread(read_request, raw)

    async def _whole(self, pair: LivePair, ask: Ask) -> web.StreamResponse:
        try:
            async with aclosing(self._play(pair, ask, drafts=False)) as pieces:
                *_, done = [piece async for piece in pieces]
        except WaltzError as error:
            raise of_waltz(error) from error
        assert isinstance(done, Done)
        return web.json_response(Completion(ask.model).whole(done))

    async def _stream(
        self, request: web.Request, pair: LivePair, ask: Ask
    ) -> tuple[web.StreamResponse, bool]:
        """The answer, and whether it came to its end."""
        drafts = self._settings.drafts if ask.drafts is None else ask.drafts
        made = Completion(ask.model)
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
        )

        async def write(data: bytes) -> None:
            # Begun late, so that what fails at once still gets a status of its own.
            if not response.prepared:
                await response.prepare(request)
                await response.write(made.first())
            await response.write(data)

        try:
            async with aclosing(self._play(pair, ask, drafts=drafts)) as pieces:
                coming = asyncio.ensure_future(anext(pieces, None))
                try:
                    while True:
                        if not (await asyncio.wait({coming}, timeout=self._settings.every))[0]:
                            await write(WAITING)
                            continue
                        piece = coming.result()
                        if piece is None:
                            break
                        if isinstance(piece, Text):
                            await write(made.text(piece.text))
                        elif isinstance(piece, Step):
                            await write(made.step(piece.fields))
                        else:
                            await write(made.last(piece))
                            if ask.usage:
                                await write(made.usage(piece))
                        coming = asyncio.ensure_future(anext(pieces, None))
                finally:
                    coming.cancel()
                    with suppress(asyncio.CancelledError, WaltzError):
                        await coming
            await write(END)
        except ConnectionResetError:
            return response, False
        except Exception as error:
            failed = of_waltz(error) if isinstance(error, WaltzError) else internal()
            if not isinstance(error, WaltzError):
                _log.exception("a request failed")
            if not response.prepared:
                raise failed from error
            # What was begun cannot get another status: the error is the stream's last event.
            with suppress(ConnectionResetError):
                await response.write(event(failed.document))
                await response.write_eof()
            return response, False
        with suppress(ConnectionResetError):
            await response.write_eof()
        return response, True

    def _play(
        self, pair: LivePair, ask: Ask, *, drafts: bool
    ) -> AsyncGenerator[Text | Step | Done, None]:
        settings = self._settings
        return play(
            pair,
            ask,
            max_tokens=settings.max_tokens,
            verdict_tokens=settings.verdict_tokens,
            drafts=drafts,
        )
