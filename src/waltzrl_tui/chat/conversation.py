"""A chat with pairs that is kept in the store: what it yields to be shown is already stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Final, Literal

from waltzrl_tui.chat.event_buffer import Reading
from waltzrl_tui.chat.transcript import (
    Record,
    Turn,
    history,
    prompt_record,
    replay,
)
from waltzrl_tui.endpoints.costs import Rates
from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import Store
from waltzrl_tui.store.rows import EDIT, TranscriptRow
from waltzrl_tui.text import one_line
from waltzrl_tui.waltz.events import Event
from waltzrl_tui.waltz.waltz import LivePair, waltz

PAGE: Final = 40
"""Turns that are read from the store at a time."""

KEPT_TURNS: Final = 200
"""Turns of a chat that are held in memory; the others stay in the store."""

LONGEST_REPLY: Final = 512
"""Tokens at which a reply of a chat is cut off."""

Feedback = Literal["applied", "shown", "off"]
"""What is done with the feedback agent: a flagged reply is revised; it is only judged; neither."""


class Conversation:
    """A chat. It gets a row in the store with its first prompt.

    Attributes:
        turns: A window over the turns, oldest first; the latest ones unless one went back.
        row: The transcript, or None while nothing was asked.
        before, after: How many turns are only in the store, on either side of the window.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.turns: list[Turn] = []
        self.row: TranscriptRow | None = None
        self.before = 0
        self._openings: list[int] = []
        self._asking = False

    @classmethod
    async def reopen(
        cls, store: Store, transcript_id: int, opening: int | None = None
    ) -> Conversation:
        """The chat of that transcript, to go on where it was.

        Args:
            opening: The number of the event that opens the turn to look at; the last turns
                without.

        Raises:
            NotFoundError: There is no such transcript.
            StoreError: It cannot be read.
        """
        found = cls(store)
        found.row = await store.transcripts.get(transcript_id)
        found._openings = await store.transcripts.openings(transcript_id)
        last = len(found._openings)
        if opening in found._openings:
            last = min(last, found._openings.index(opening) + PAGE // 2)
        found.before = max(0, last - PAGE)
        found.turns = await found._read(found.before, last)
        return found

    @property
    def after(self) -> int:
        return len(self._openings) - self.before - len(self.turns)

    def turn_at(self, opening: int) -> Turn | None:
        """The turn that the event of that number opens, if it is in the window."""
        if opening not in self._openings:
            return None
        place = self._openings.index(opening) - self.before
        return self.turns[place] if 0 <= place < len(self.turns) else None

    async def earlier(self) -> int:
        """Read the turns before the window, and say how many; the last ones may leave it."""
        if self._asking and len(self.turns) + PAGE > KEPT_TURNS:
            return 0
        first = max(0, self.before - PAGE)
        told = await self._read(first, self.before)
        self.turns[:0] = told
        self.before = first
        del self.turns[KEPT_TURNS:]
        return len(told)

    async def later(self) -> int:
        """Read the turns after the window, and say how many; the first ones may leave it."""
        begin = self.before + len(self.turns)
        if self._asking:
            return 0
        told = await self._read(begin, min(len(self._openings), begin + PAGE))
        self.turns += told
        self._trim()
        return len(told)

    async def first(self) -> None:
        """Go to the first turns, unless a reply is streaming in behind the last one."""
        if self.before and not self._asking:
            self.before = 0
            self.turns[:] = await self._read(0, min(len(self._openings), PAGE))

    async def latest(self) -> None:
        """Go to the last turns, which the next prompt follows."""
        if self.after:
            last = len(self._openings)
            self.before = max(0, last - PAGE)
            self.turns[:] = await self._read(self.before, last)

    async def pages(self) -> AsyncGenerator[list[Turn], None]:
        """All turns, from the first on, a page at a time."""
        for first in range(0, len(self._openings), PAGE):
            yield await self._read(first, min(len(self._openings), first + PAGE))

    async def branch(self, turn: Turn, pair: str | None = None) -> Conversation:
        """A new chat that begins as this one does, up to and with `turn`.

        Args:
            pair: Who is asked there; the same pair without.

        Raises:
            NotFoundError: This chat is no longer in the store.
        """
        assert self.row is not None
        made = await self._store.transcripts.branch(self.row.id, turn.number + 1, pair)
        return await Conversation.reopen(self._store, made.id)

    async def correct(self, turn: Turn, round: int, change: dict[str, Any]) -> None:
        """Store a person's correction of a round, its `text` or its `verdict`, and show it.

        The reply as it came stays in the store; what follows is asked with the corrected one.

        Raises:
            StoreError: The store cannot be written.
        """
        assert self.row is not None
        data = {"turn": turn.number, "round": round, **change}
        await self._store.transcripts.append(self.row.id, (EDIT, data))
        turn.correct(data)

    async def ask(
        self,
        prompt: str,
        pair: str,
        live: Callable[[], Awaitable[LivePair]],
        *,
        stop: asyncio.Event,
        again: bool = False,
        feedback: Feedback = "applied",
        watch: int = 0,
        rates: Rates = (None, None),
        budget: int = 2000,
        max_tokens: int = LONGEST_REPLY,
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
            again: The prompt is that of the last turn, whose reply is not sent along.
            feedback: What is done with the pair's feedback agent, if it has one.
            watch: Tokens between two looks at a growing reply, as for `waltz`; 0 for none.
            rates: How its agents are billed.
            budget: Tokens of older turns that are sent along.
            every: Seconds between two yields of streaming text.

        Raises:
            StoreError: The store cannot be written; what was yielded before is in it.
        """
        await self.latest()
        again = again and bool(self.turns)
        before = history(self.turns, budget, prompt, again=again)
        messages = [*before, {"role": "user", "content": prompt}]

        async def events() -> AsyncGenerator[Event, None]:
            ready = await _unless(stop, live())
            if ready is None:
                return
            chosen = with_feedback(ready, feedback)
            told = waltz(
                chosen,
                messages,
                max_tokens=max_tokens,
                stop=stop,
                watch=watch if chosen.rounds else 0,
            )
            async with aclosing(told) as stream:
                async for event in stream:
                    yield event

        reading = Reading(events(), rates)
        turn: Turn | None = None
        self._asking = True
        try:
            # The request is on its way while the prompt is stored.
            opening = prompt_record(prompt, pair, again=again)
            if self.row is None:
                title = one_line(prompt, 80)
                self.row, number = await self._store.transcripts.begin(pair, title, *opening)
            else:
                number = await self._store.transcripts.append(self.row.id, opening)
            turn = replay([opening], self.turns)[-1]
            turn.number = len(self._openings)
            self._openings.append(number)
            self._trim()
            yield turn
            while not turn.ended:
                records = await reading.take(every)
                if not records:
                    records = [("end", {"seconds": None, "stopped": stop.is_set()})]
                await self._keep(turn, records)
                yield turn
        finally:
            self._asking = False
            # A chat that is left in the middle, by closing the app for one, keeps what has come.
            await reading.close()
            if turn is not None:
                with suppress(StoreError):
                    await self._keep(turn, reading.rest())

    async def _read(self, first: int, last: int) -> list[Turn]:
        """The turns from number `first` up to `last`, corrected as they were."""
        if first >= last:
            return []
        assert self.row is not None
        transcripts, number = self._store.transcripts, self.row.id
        end = self._openings[last] if last < len(self._openings) else None
        events = await transcripts.events(number, self._openings[first] - 1, before=end)
        turns = replay((event.kind, event.data) for event in events)
        for place, turn in enumerate(turns, first):
            turn.number = place
        for edit in await transcripts.edits(number):
            place = int(edit.data.get("turn", -1))
            if first <= place < first + len(turns):
                turns[place - first].correct(edit.data)
        return turns

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
            self.before += surplus


def with_feedback(pair: LivePair, feedback: Feedback) -> LivePair:
    """The pair as it is asked: its verdicts applied, only shown, or not asked for."""
    if feedback == "off":
        return replace(pair, feedback=None, rounds=0)
    return replace(pair, rounds=0) if feedback == "shown" or pair.feedback is None else pair


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
