"""A chat with pairs that is kept in the store: what it yields to be shown is already stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Final

from waltzrl_tui.agents.events import Event, ReplyText, VerdictText
from waltzrl_tui.agents.transcript import (
    STREAMED,
    Record,
    Turn,
    error_record,
    history,
    joined,
    prompt_record,
    record,
    replay,
)
from waltzrl_tui.agents.waltz import LivePair, waltz
from waltzrl_tui.errors import EndpointError, StoreError, WaltzError
from waltzrl_tui.store import Store
from waltzrl_tui.store.rows import TranscriptRow
from waltzrl_tui.text import one_line

KEPT_TURNS: Final = 300
"""Turns of a chat that are held in memory; those before them stay in the store."""

LONGEST: Final = 400_000
"""Characters of all replies and verdicts of one turn; a server that sends more is cut off."""

_PAGE: Final = 2000
_log = logging.getLogger(__name__)


class Conversation:
    """A chat. It gets a row in the store with its first prompt.

    Attributes:
        turns: The latest turns, oldest first.
        row: The transcript, or None while nothing was asked.
        dropped: How many older turns are only in the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.turns: list[Turn] = []
        self.row: TranscriptRow | None = None
        self.dropped = 0

    @classmethod
    async def reopen(cls, store: Store, transcript_id: int) -> Conversation:
        """The chat of that transcript, to go on where it was.

        Raises:
            NotFoundError: There is no such transcript.
            StoreError: It cannot be read.
        """
        found = cls(store)
        found.row = await store.transcripts.get(transcript_id)
        last = 0
        while events := await store.transcripts.events(transcript_id, last, _PAGE):
            replay(((event.kind, event.data) for event in events), found.turns)
            found._trim()
            last = events[-1].id
        return found

    async def ask(
        self,
        prompt: str,
        pair: str,
        live: Callable[[], Awaitable[LivePair]],
        *,
        stop: asyncio.Event,
        judged: bool = True,
        budget: int = 2000,
        max_tokens: int = 512,
        every: float = 0.14,
    ) -> AsyncGenerator[Turn, None]:
        """Ask the pair, and yield the turn each time it has grown, at most each `every` seconds.

        Whatever the turn holds when it is yielded is in the store. Closing the generator, or
        cancelling it, stores what has come until then. A failure of the pair ends the turn with
        its `error` and `hint`; it is not raised.

        Args:
            pair: The pair's name.
            live: Makes the pair ready; called after the prompt was stored.
            stop: Ends the reply in good order when set.
            judged: Whether the pair's feedback agent, if it has one, is asked.
            budget: Tokens of older turns that are sent along.
            every: Seconds between two yields of streaming text.

        Raises:
            StoreError: The store cannot be written; what was yielded before is in it.
        """
        reading = _Reading(self._events(prompt, live, stop, judged, budget, max_tokens))
        turn: Turn | None = None
        try:
            # The request is on its way while the prompt is stored.
            if self.row is None:
                self.row = await self._store.transcripts.create(pair, one_line(prompt, 80))
            opening = prompt_record(prompt, pair)
            await self._store.transcripts.append(self.row.id, opening)
            turn = replay([opening], self.turns)[-1]
            self._trim()
            yield turn
            while not turn.ended:
                records = await reading.take(every)
                if not records:
                    records = [("end", {"seconds": None, "stopped": stop.is_set()})]
                await self._keep(turn, records)
                yield turn
        finally:
            # A chat that is left in the middle, by closing the app for one, keeps what has come.
            await reading.close()
            if turn is not None:
                with suppress(StoreError):
                    await self._keep(turn, reading.rest())

    async def _events(
        self,
        prompt: str,
        live: Callable[[], Awaitable[LivePair]],
        stop: asyncio.Event,
        judged: bool,
        budget: int,
        max_tokens: int,
    ) -> AsyncGenerator[Event, None]:
        messages = [*history(self.turns, budget, prompt), {"role": "user", "content": prompt}]
        ready = await _unless(stop, live())
        if ready is None:
            return
        chosen = ready if judged else replace(ready, feedback=None)
        stream = waltz(chosen, messages, max_tokens=max_tokens, stop=stop)
        async with aclosing(stream) as told:
            async for event in told:
                yield event

    async def _keep(self, turn: Turn, records: list[Record]) -> None:
        assert self.row is not None
        if records:
            await self._store.transcripts.append(self.row.id, *records)
        for kind, data in records:
            turn.apply(kind, data)

    def _trim(self) -> None:
        surplus = len(self.turns) - KEPT_TURNS
        if surplus > 0:
            del self.turns[:surplus]
            self.dropped += surplus


class _Reading:
    """Reads events in a task of its own, so that storing and drawing never hold the stream up."""

    def __init__(self, events: AsyncGenerator[Event, None]) -> None:
        self._records: list[Record] = []
        self._arrived = asyncio.Event()
        self._milestone = asyncio.Event()
        self._last = 0.0
        self._characters = 0
        self._text: tuple[str, int | None] = ("", None)
        self._task = asyncio.create_task(self._read(events))

    async def take(self, every: float) -> list[Record]:
        """What has come: at once for a first piece or a milestone, else after a pause."""
        await self._arrived.wait()
        pause = self._last + every - time.monotonic()
        if pause > 0 and not self._milestone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._milestone.wait()
        self._last = time.monotonic()
        return self.rest()

    def rest(self) -> list[Record]:
        records, self._records = joined(self._records), []
        if not self._task.done():
            self._arrived.clear()
        self._milestone.clear()
        return records

    async def close(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _read(self, events: AsyncGenerator[Event, None]) -> None:
        try:
            async with aclosing(events) as told:
                async for event in told:
                    self._add(record(event))
                    if isinstance(event, ReplyText | VerdictText):
                        self._measure(event.text)
        except WaltzError as error:
            self._add(error_record(error.message, error.hint))
        except Exception as error:
            _log.exception("a reply failed")
            self._add(
                error_record(
                    f"Something unexpected went wrong: {type(error).__name__}: {error}.",
                    "Ask again; if it stays, the log in state/logs tells more.",
                )
            )
        finally:
            self._arrived.set()
            self._milestone.set()

    def _add(self, found: Record | None) -> None:
        if found is None:
            return
        # Only text can wait, and not the first piece of it: that one is what a user waits for.
        text = found[0], found[1].get("round")
        can_wait = found[0] in STREAMED and text == self._text
        self._text = text
        self._records.append(found)
        self._arrived.set()
        if not can_wait:
            self._milestone.set()

    def _measure(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > LONGEST:
            raise EndpointError(
                f"The answer is longer than {LONGEST:,} characters; the rest was not read.",
                hint="The endpoint does not keep to the cap it was given.",
            )


async def _unless(stop: asyncio.Event, work: Awaitable[LivePair]) -> LivePair | None:
    """What `work` gives, or None when `stop` was set first; `work` is then cancelled."""
    making = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({making, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return making.result() if making.done() else None
    finally:
        stopping.cancel()
        making.cancel()
