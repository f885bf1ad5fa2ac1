"""A stream of events, read by a task into records that are taken in batches."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from waltzrl_tui.chat.transcript import STREAMED, Record, error_record, event_record, merge_pieces
from waltzrl_tui.endpoints.costs import PairRates
from waltzrl_tui.errors import EndpointError, WaltzError
from waltzrl_tui.waltz.events import Event, ReplyText, VerdictText
from waltzrl_tui.words import plural

MAX_TURN_CHARACTERS: Final = 400_000
"""Characters of all replies and verdicts of one turn; beyond that the turn is cut off."""

_log = logging.getLogger(__name__)


class EventBuffer:
    """Reads events in a task of its own, so that storing and drawing never delay the stream."""

    def __init__(self, events: AsyncGenerator[Event, None], rates: PairRates) -> None:
        self._rates = rates
        self._records: list[Record] = []
        self._arrived = asyncio.Event()
        self._milestone = asyncio.Event()
        self._characters = 0
        self._last_record: tuple[str, int | None] = ("", None)
        self._task = asyncio.create_task(self._read(events))

    async def take(self, every: float) -> list[Record]:
        """The records that have arrived: at once for a first piece or a milestone, else after a
        pause.

        Pauses end when the clock is at a multiple of `every` seconds, so that replies streaming
        side by side are drawn together.
        """
        await self._arrived.wait()
        if not self._milestone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(every - time.monotonic() % every):
                    await self._milestone.wait()
        return self.rest()

    def rest(self) -> list[Record]:
        records, self._records = merge_pieces(self._records), []
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
            async with aclosing(events) as stream:
                async for event in stream:
                    self._add(event_record(event, self._rates))
                    if isinstance(event, ReplyText | VerdictText):
                        self._measure(event.text)
        except WaltzError as error:
            self._add(error_record(error.message, error.hint))
        except Exception as error:
            _log.exception("a reply failed")
            self._add(
                error_record(
                    f"Unexpected error: {type(error).__name__}: {error}.",
                    "Ask again. If it happens again, see the log in state/logs.",
                )
            )
        finally:
            self._arrived.set()
            self._milestone.set()

    def _add(self, record: Record | None) -> None:
        if record is None:
            return
        # Only text can wait, and not its first piece: that is what a user waits for.
        kind, round_number = record[0], record[1].get("round")
        can_wait = kind in STREAMED and (kind, round_number) == self._last_record
        self._last_record = kind, round_number
        self._records.append(record)
        self._arrived.set()
        if not can_wait:
            self._milestone.set()

    def _measure(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_TURN_CHARACTERS:
            raise EndpointError(
                f"The reply is longer than {plural(MAX_TURN_CHARACTERS, 'character')}; "
                "the rest was not read.",
                hint="The endpoint ignores the cap in the request.",
            )
