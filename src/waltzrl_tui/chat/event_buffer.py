"""A stream of events read in a task of its own, as records that can be taken in portions."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Final

from waltzrl_tui.chat.transcript import STREAMED, Record, error_record, joined, record
from waltzrl_tui.endpoints.costs import Rates
from waltzrl_tui.errors import EndpointError, WaltzError
from waltzrl_tui.waltz.events import Event, ReplyText, VerdictText

LONGEST: Final = 400_000
"""Characters of all replies and verdicts of one turn; a server that sends more is cut off."""

_log = logging.getLogger(__name__)


class Reading:
    """Reads events in a task of its own, so that storing and drawing never hold the stream up."""

    def __init__(self, events: AsyncGenerator[Event, None], rates: Rates) -> None:
        self._rates = rates
        self._records: list[Record] = []
        self._arrived = asyncio.Event()
        self._milestone = asyncio.Event()
        self._characters = 0
        self._text: tuple[str, int | None] = ("", None)
        self._task = asyncio.create_task(self._read(events))

    async def take(self, every: float) -> list[Record]:
        """What has come: at once for a first piece or a milestone, else after a pause.

        Pauses end when the clock is at a multiple of `every`, so that replies which stream side
        by side are drawn together.
        """
        await self._arrived.wait()
        if not self._milestone.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(every - time.monotonic() % every):
                    await self._milestone.wait()
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
                    self._add(record(event, self._rates))
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
