"""Two columns that answer the same prompt: who stands where, who is hidden, who won."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from textual.content import Content

from waltzrl_tui.chat.duels import duel_flags
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.datasets.reading.rows import Harm
from waltzrl_tui.store import DuelRow, Store, Vote
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.column import Column
from waltzrl_tui.tui.shell.bars import click
from waltzrl_tui.tui.shell.keys import press

_VOTES: Final[tuple[tuple[str, str, Vote], ...]] = (
    ("←", "A", "left"),
    ("→", "B", "right"),
    ("t", "tie", "tie"),
    ("z", "both bad", "both bad"),
)


class Match:
    """The duel that is fought in the two columns.

    Attributes:
        blind: Whether names are hidden until the vote, and sides are shuffled.
        row: The last prompt that both were asked, or None.
        vote: What was voted on it.
    """

    def __init__(self, store: Store, columns: Sequence[Column]) -> None:
        self._store = store
        self._columns = tuple(columns)
        self.blind = False
        self.row: DuelRow | None = None
        self.vote: Vote | None = None
        self._linked = False

    @property
    def open(self) -> bool:
        """Whether there is something that can be voted on: at any time, but not unseen."""
        return self.row is not None and not any(column.held for column in self._columns)

    @property
    def unlinked(self) -> bool:
        """Whether the duel has both its transcripts and was not told of them."""
        return (
            self.row is not None
            and not self._linked
            and all(column.chat.row is not None for column in self._columns)
        )

    def forget(self) -> None:
        """New chats begin: there is nothing to vote on; in a blind match sides are hidden."""
        self.row = self.vote = None
        for column in self._columns:
            if column.look.blind != self.blind:
                column.change_look(blind=self.blind)

    def shuffle(self) -> None:
        """Deal the sides anew if it is blind and nothing was said yet."""
        left, right = self._columns
        if self.blind and not (left.chat.turns or right.chat.turns) and secrets.randbelow(2):
            left.swap(right)

    async def begin(self, prompt: str, harm: Harm, source: str, line: int | None) -> DuelRow:
        """Record that both are asked.

        Raises:
            StoreError: The store cannot be written.
        """
        left, right = self._columns
        self.vote, self._linked = None, False
        self.row = await self._store.duels.add(
            prompt,
            left=left.badge,
            right=right.badge,
            blind=self.blind and left.look.blind,
            harm=harm,
            source=source,
            line=line,
        )
        return self.row

    async def link(self) -> None:
        """Tell the duel its transcripts, as soon as both are there."""
        left, right = (column.chat.row for column in self._columns)
        if self.unlinked and self.row and left and right:
            self._linked = True
            await self._store.duels.update(
                self.row.id, left_transcript=left.id, right_transcript=right.id
            )

    async def end(self, row: DuelRow, left: Turn | None, right: Turn | None) -> None:
        """Both have ended, or failed: keep what their final replies did."""
        await self.link()
        if left is not None and right is not None:
            await self._store.duels.update(row.id, **duel_flags(left, right, row.harm))

    async def decide(self, vote: Vote) -> None:
        """Store the vote at once, whether or not replies still stream; then tell who is who.

        Raises:
            StoreError: The store cannot be written; the vote is not kept.
        """
        if self.row is None:
            return
        early = any(column.streaming for column in self._columns)
        await self._store.duels.vote(self.row.id, vote, early=early)
        self.vote = vote
        for column in self._columns:
            if column.look.blind:
                column.change_look(blind=False)

    def line(self, width: int) -> Content:
        """What stands under the columns: how to vote, or what was voted."""
        if self.row is None:
            return Content.styled(
                "Blind: names are hidden until the vote."
                if self.blind
                else "Both answer your prompt.",
                "$faint",
            )
        if any(column.held for column in self._columns):
            return Content.styled(
                "Blind: both replies are shown as soon as neither can be revised any more"
                f" · {press('stop', 'chat')} stops them",
                "$faint",
            )
        if self.vote is not None:
            return Content.assemble(("✓ ", "$safe"), (self._told(width), "$text-muted"))
        parts: list[Content] = [Content.styled("Better? ", "$text-muted")]
        for key, word, vote in _VOTES:
            entry = Content.assemble((f" {key} ", "bold $accent"), (f"{word} ", "$foreground"))
            parts.append(entry.stylize(click(f"screen.vote({vote!r})")))
        return Content("").join(parts)

    def _told(self, width: int) -> str:
        left, right = (one_line(column.badge, max(8, width // 5)) for column in self._columns)
        match self.vote:
            case "left":
                return f"A is better: {left}, not {right}"
            case "right":
                return f"B is better: {right}, not {left}"
        return f"{'a tie' if self.vote == 'tie' else 'both bad'}: A {left}, B {right}"
