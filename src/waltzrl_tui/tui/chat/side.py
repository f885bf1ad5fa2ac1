"""One side of the Chat screen, without its drawing: a pair and the chat with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from waltzrl_tui.chat.conversation import MAX_REPLY_TOKENS, Conversation, Feedback
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.errors import StoreError
from waltzrl_tui.local.pairs import PairSelection
from waltzrl_tui.store import Store
from waltzrl_tui.text import one_line

MODES: Final[tuple[Feedback, ...]] = ("applied", "shown", "off")

_UPDATE_SECONDS: Final = 0.2
"""Seconds between two updates of a reply; drawing is what streaming costs most."""

WATCH_TOKENS: Final = 24
"""Tokens between two checks of a growing draft, where drafts are watched."""


@dataclass(frozen=True, slots=True)
class Look:
    """How turns are shown.

    Attributes:
        mode: What is done with the feedback agent, which decides what is worth showing.
        whole: Whether verdicts are shown whole, or on one line.
        drafts: Whether drafts that were revised are shown, with the words that changed.
        blind: Whether only replies are shown, not who gave them or how.
        held: Whether the reply under way is hidden, because it may still be revised.
    """

    mode: Feedback = "applied"
    whole: bool = True
    drafts: bool = False
    blind: bool = False
    held: bool = False


class ChatSide:
    """A pair that is talked to. Sides know nothing of each other: one may fail or stall.

    Attributes:
        pairs: Which pair is asked; `chat`: what was said; `look`: how it is shown.
        watch: Whether growing drafts are judged.
    """

    def __init__(self, store: Store, pairs: PairSelection) -> None:
        self._store = store
        self.pairs = pairs
        self.chat = Conversation(store)
        self.look = Look()
        self.watch = False
        self._stop: asyncio.Event | None = None
        self._began = 0.0
        self._paging = False

    @property
    def streaming(self) -> bool:
        return self._stop is not None

    @property
    def last(self) -> Turn | None:
        return self.chat.turns[-1] if self.chat.turns else None

    @property
    def held(self) -> bool:
        """Whether the reply of a blind match is not shown yet."""
        return self.look.held

    @property
    def elapsed(self) -> float | None:
        """Seconds since the prompt was sent; None once the reply can be read."""
        return time.monotonic() - self._began if self.streaming or self.held else None

    @property
    def final(self) -> bool:
        """Whether the words that arrive, or have arrived, are those of the final reply."""
        turn, choice = self.last, self.pairs.choice
        if turn is None or choice is None or turn.ended:
            return turn is not None and turn.ended
        if not turn.rounds:
            return False
        state = turn.rounds[-1]
        revises = self.look.mode == "applied" and choice.feedback is not None
        if not revises or len(turn.rounds) > choice.row.rounds:
            return bool(state.reply)
        return state.judged and not (state.verdict and state.verdict.triggers)

    @property
    def badge(self) -> str:
        """The pair's name, with what is done with its feedback agent where that is unusual."""
        if self.pairs.choice is None:
            return ""
        name = self.pairs.choice.name
        usual = self.look.mode == "applied" or self.pairs.choice.feedback is None
        return name if usual else f"{name}, feedback {self.look.mode}"

    @property
    def state(self) -> str:
        """What it is doing: "writing", "failed", "stopped", "done", "" before the first prompt.

        A blind side only says whether it is writing: who finishes first may give it away.
        """
        if self.streaming or self.held:
            return "writing"
        if self.last is None or self.look.blind:
            return ""
        return "failed" if self.last.error else "stopped" if self.last.stopped else "done"

    def name(self, letter: str) -> str:
        """The pair's name as it may be shown now, for the side `letter` ("" if it is alone)."""
        if self.look.blind or self.pairs.choice is None:
            return f"side {letter}" if letter else "the pair"
        return one_line(self.pairs.choice.name, 40)

    @property
    def costs(self) -> list[str]:
        """What a message costs, in sentences; none where no message is billed.

        An agent that a deployment bills by the hour was agreed to when it was brought up.
        """
        bill = self.pairs.billed(self.look.mode)
        if bill is None or not bill.by_request:
            return []
        sentences = bill.words(MAX_REPLY_TOKENS)
        if self.watch and bill.feedback is not None:
            sentences.append("Watching drafts asks the feedback agent several times a reply.")
        return sentences

    def begin(self) -> None:
        """Count as streaming from now on, so that nothing is asked twice."""
        self._stop = asyncio.Event()
        self._began = time.monotonic()
        self.look = replace(self.look, held=self.look.blind)

    def stop(self) -> None:
        """Have the reply end in good order."""
        if self._stop is not None:
            self._stop.set()

    async def ask(
        self, prompt: str, on_update: Callable[[Turn], None], *, again: bool = False
    ) -> Turn | None:
        """Ask the pair after `begin`.

        Args:
            on_update: Called when the prompt is stored, and with each update of the reply.
            again: It is the last prompt, asked again.

        Returns:
            The turn, or None when its prompt could not be stored.

        Raises:
            StoreError: The prompt could not be stored.
        """
        assert self._stop is not None and self.pairs.choice is not None
        before = self.last
        stream = self.chat.ask(
            prompt,
            self.pairs.choice.name,
            self.pairs.ready,
            stop=self._stop,
            again=again,
            feedback=self.look.mode,
            watch_tokens=WATCH_TOKENS if self.watch else 0,
            rates=self.pairs.rates,
            history_tokens=self.pairs.budget,
            every=_UPDATE_SECONDS,
        )
        try:
            async with aclosing(stream):
                async for turn in stream:
                    on_update(turn)
        except StoreError as error:
            if self.last is None or self.last is before:
                raise
            # Shown in place of the reply, though the store could not take it.
            self.last.apply("error", {"message": error.message, "hint": error.hint})
        finally:
            self._stop = None
        return self.last

    def reveal(self) -> None:
        """Show the reply of a blind match, which is final on both sides."""
        self.look = replace(self.look, held=False)

    def hide(self, blind: bool) -> None:
        """Show only replies from now on, or everything again."""
        self.look = replace(self.look, blind=blind, held=self.look.held and blind)

    def renew(self, chat: Conversation | None = None) -> None:
        """Continue with another chat, a new one if none is given."""
        self.chat = Conversation(self._store) if chat is None else chat

    async def page(self, top: bool, jump: bool) -> bool:
        """Read more turns before or after those at hand, or the first or last ones (`jump`).

        Returns:
            Whether the turns at hand changed.
        """
        if self._paging or not (self.chat.before if top else self.chat.after):
            return False
        self._paging = True
        try:
            if jump:
                await (self.chat.first() if top else self.chat.latest())
            else:
                await (self.chat.earlier() if top else self.chat.later())
        finally:
            self._paging = False
        return True
