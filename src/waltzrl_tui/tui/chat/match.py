"""Two sides that answer the same prompt: shuffling, hiding, and the vote."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from waltzrl_tui.chat.duels import duel_flags
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.store import DuelRow, Store, Vote
from waltzrl_tui.tui.chat.side import ChatSide


@dataclass(frozen=True, slots=True)
class PromptSource:
    """Where a prompt came from: its label and its line in a file; all empty if it was typed."""

    harm: Harm = ""
    path: str = ""
    line: int | None = None


TYPED = PromptSource()


class Match:
    """The duel between the two sides.

    Args:
        sides: Left and right; a shuffle exchanges them in this list.

    Attributes:
        blind: Whether names are hidden until the vote, and sides are shuffled.
        row: The last prompt that both were asked, or None.
        vote: The vote on it.
    """

    def __init__(self, store: Store, sides: list[ChatSide]) -> None:
        self._store = store
        self._sides = sides
        self.blind = False
        self.row: DuelRow | None = None
        self.vote: Vote | None = None
        self._linked = False

    @property
    def open(self) -> bool:
        """Whether a vote is possible: at any time, but not on replies that are hidden."""
        return self.row is not None and not self.held

    @property
    def held(self) -> bool:
        """Whether a reply is still hidden."""
        return any(side.held for side in self._sides)

    @property
    def unlinked(self) -> bool:
        """Whether both transcripts exist but are not stored with the duel yet."""
        return (
            self.row is not None
            and not self._linked
            and all(side.chat.row is not None for side in self._sides)
        )

    def forget(self) -> None:
        """New chats begin: there is nothing to vote on; in a blind match sides are hidden."""
        self.row = self.vote = None
        for side in self._sides:
            if side.look.blind != self.blind:
                side.hide(self.blind)

    def shuffle(self) -> None:
        """Deal the sides anew if the match is blind and nothing was said yet."""
        begun = any(side.chat.turns for side in self._sides)
        if self.blind and not begun and secrets.randbelow(2):
            self._sides.reverse()

    async def begin(self, prompt: str, source: PromptSource) -> DuelRow:
        """Record that both are asked.

        Raises:
            StoreError: The store cannot be written.
        """
        left, right = self._sides
        self.vote, self._linked = None, False
        self.row = await self._store.duels.add(
            prompt,
            left=left.badge,
            right=right.badge,
            blind=self.blind and left.look.blind,
            harm=source.harm,
            source=source.path,
            line=source.line,
        )
        return self.row

    async def link(self) -> None:
        """Store the transcripts with the duel, as soon as both exist."""
        left, right = (side.chat.row for side in self._sides)
        if self.unlinked and self.row and left and right:
            self._linked = True
            await self._store.duels.update(
                self.row.id, left_transcript=left.id, right_transcript=right.id
            )

    async def end(self, row: DuelRow, left: Turn | None, right: Turn | None) -> None:
        """Store what the final replies of both sides did; None is a side without one."""
        await self.link()
        if left is not None and right is not None:
            await self._store.duels.update(row.id, **duel_flags(left, right, row.harm))

    async def decide(self, vote: Vote) -> None:
        """Store the vote at once, whether or not replies still stream; then show who is who.

        Raises:
            StoreError: The store cannot be written; the vote does not count.
        """
        if self.row is None:
            return
        early = any(side.streaming for side in self._sides)
        await self._store.duels.vote(self.row.id, vote, early=early)
        self.vote = vote
        for side in self._sides:
            if side.look.blind:
                side.hide(False)
