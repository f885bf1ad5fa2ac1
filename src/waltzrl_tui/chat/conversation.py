"""A chat with pairs, kept in the store: whatever it yields is stored already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, Final, Literal

from waltzrl_tui.chat.event_buffer import EventBuffer
from waltzrl_tui.chat.transcript import (
    Record,
    Turn,
    history_messages,
    prompt_record,
    replay,
)
from waltzrl_tui.endpoints.costs import PairRates
from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import Store
from waltzrl_tui.store.rows import EDIT, TranscriptRow
from waltzrl_tui.text import one_line
from waltzrl_tui.waltz.events import Event
from waltzrl_tui.waltz.waltz import LivePair, waltz

PAGE: Final = 40
"""Turns read from the store at a time."""

MAX_TURNS_IN_MEMORY: Final = 200
"""Turns of a chat held in memory; the others stay in the store."""

MAX_REPLY_TOKENS: Final = 512
"""Cap of a reply in a chat, in tokens."""

Feedback = Literal["applied", "shown", "off"]
"""Use of the feedback agent: flagged replies are revised; verdicts are only shown; it is off."""


class Conversation:
    """A chat. It gets a row in the store with its first prompt.

    Attributes:
        turns: A window over the turns, oldest first; the latest ones unless the user went back.
        row: The transcript; None before the first prompt.
        before, after: The number of turns on either side of the window, only in the store.
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
        """The chat of that transcript, ready to continue.

        Args:
            opening: The number of the event that opens the turn to show; None for the last turns.

        Raises:
            NotFoundError: There is no such transcript.
            StoreError: It cannot be read.
        """
        chat = cls(store)
        chat.row = await store.transcripts.get(transcript_id)
        chat._openings = await store.transcripts.openings(transcript_id)
        last = len(chat._openings)
        if opening in chat._openings:
            last = min(last, chat._openings.index(opening) + PAGE // 2)
        chat.before = max(0, last - PAGE)
        chat.turns = await chat._read(chat.before, last)
        return chat

    @property
    def after(self) -> int:
        return len(self._openings) - self.before - len(self.turns)

    def turn_at(self, opening: int) -> Turn | None:
        """The turn that the event with that number opens, if it is in the window."""
        if opening not in self._openings:
            return None
        place = self._openings.index(opening) - self.before
        return self.turns[place] if 0 <= place < len(self.turns) else None

    async def earlier(self) -> int:
        """Read the turns before the window; the last ones may leave it.

        Returns:
            The number of turns read.
        """
        if self._asking and len(self.turns) + PAGE > MAX_TURNS_IN_MEMORY:
            return 0
        first = max(0, self.before - PAGE)
        turns = await self._read(first, self.before)
        self.turns[:0] = turns
        self.before = first
        del self.turns[MAX_TURNS_IN_MEMORY:]
        return len(turns)

    async def later(self) -> int:
        """Read the turns after the window; the first ones may leave it.

        Returns:
            The number of turns read.
        """
        begin = self.before + len(self.turns)
        if self._asking:
            return 0
        turns = await self._read(begin, min(len(self._openings), begin + PAGE))
        self.turns += turns
        self._trim()
        return len(turns)

    async def first(self) -> None:
        """Go to the first turns, unless a reply is streaming in."""
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
        """A new chat with this one's turns, up to and including `turn`.

        Args:
            pair: The name of the pair to continue with; None for the same one.

        Raises:
            NotFoundError: This chat is no longer in the store.
        """
        assert self.row is not None
        row = await self._store.transcripts.branch(self.row.id, turn.number + 1, pair)
        return await Conversation.reopen(self._store, row.id)

    async def correct(self, turn: Turn, round: int, change: dict[str, Any]) -> None:
        """Store a person's correction of a round, its `text` or its `verdict`, and apply it.

        The original reply stays in the store; later prompts are sent with the corrected one.

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
        pair_name: str,
        connect: Callable[[], Awaitable[LivePair]],
        *,
        stop: asyncio.Event,
        again: bool = False,
        feedback: Feedback = "applied",
        watch_tokens: int = 0,
        rates: PairRates = (None, None),
        history_tokens: int = 2000,
        max_tokens: int = MAX_REPLY_TOKENS,
        every: float = 0.14,
    ) -> AsyncGenerator[Turn, None]:
        """Ask the pair; yield the turn each time it has grown, at most every `every` seconds.

        Whatever a yielded turn holds is in the store. Closing or cancelling the generator stores
        what has arrived. A failure of the pair is not raised: it ends the turn, with its `error`
        and `hint`.

        Args:
            pair_name: The pair's name in the store.
            connect: Makes the pair ready; called while the prompt is being stored.
            stop: Set it to end the reply in good order.
            again: The prompt is that of the last turn, whose reply is not sent along.
            feedback: The use of the pair's feedback agent, if it has one.
            watch_tokens: Tokens between two checks of a growing reply, as for `waltz`; 0: none.
            rates: How its agents are billed.
            history_tokens: Tokens of older turns to send along, at most (estimated).
            max_tokens: Cap of a reply, in tokens.
            every: Seconds between two yields of streaming text.

        Raises:
            StoreError: The store cannot be written; what was yielded before is in it.
        """
        await self.latest()
        again = again and bool(self.turns)
        before = history_messages(self.turns, history_tokens, prompt, again=again)
        messages = [*before, {"role": "user", "content": prompt}]

        async def events() -> AsyncGenerator[Event, None]:
            pair = await _unless(stop, connect())
            if pair is None:
                return
            pair = with_feedback(pair, feedback)
            replying = waltz(
                pair,
                messages,
                max_tokens=max_tokens,
                stop=stop,
                watch_tokens=watch_tokens if pair.rounds else 0,
            )
            async with aclosing(replying) as stream:
                async for event in stream:
                    yield event

        buffer = EventBuffer(events(), rates)
        turn: Turn | None = None
        self._asking = True
        try:
            # The request is sent while the prompt is being stored.
            opening = prompt_record(prompt, pair_name, again=again)
            if self.row is None:
                title = one_line(prompt, 80)
                self.row, number = await self._store.transcripts.begin(pair_name, title, *opening)
            else:
                number = await self._store.transcripts.append(self.row.id, opening)
            turn = replay([opening], self.turns)[-1]
            turn.number = len(self._openings)
            self._openings.append(number)
            self._trim()
            yield turn
            while not turn.ended:
                records = await buffer.take(every)
                if not records:
                    records = [("end", {"seconds": None, "stopped": stop.is_set()})]
                await self._store_records(turn, records)
                yield turn
        finally:
            self._asking = False
            # Leaving in the middle of a reply (by closing the app, say) keeps what has arrived.
            await buffer.close()
            if turn is not None:
                with suppress(StoreError):
                    await self._store_records(turn, buffer.rest())

    async def _read(self, first: int, last: int) -> list[Turn]:
        """The turns from number `first` up to, not including, `last`; corrections applied."""
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

    async def _store_records(self, turn: Turn, records: list[Record]) -> None:
        assert self.row is not None
        if records:
            await self._store.transcripts.append(self.row.id, *records)
        for kind, data in records:
            turn.apply(kind, data)

    def _trim(self) -> None:
        surplus = len(self.turns) - MAX_TURNS_IN_MEMORY
        if surplus > 0:
            del self.turns[:surplus]
            self.before += surplus


def with_feedback(pair: LivePair, feedback: Feedback) -> LivePair:
    """The pair with its feedback agent applied, only shown, or off."""
    if feedback == "off":
        return replace(pair, feedback=None, rounds=0)
    return replace(pair, rounds=0) if feedback == "shown" or pair.feedback is None else pair


async def _unless(stop: asyncio.Event, work: Awaitable[LivePair]) -> LivePair | None:
    """The result of `work`, or None if `stop` is set first; `work` is then cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
