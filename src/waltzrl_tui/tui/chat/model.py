"""What the Chat screen works on: two sides, their match, a queue of prompts, saved chats."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from waltzrl_tui.chat.conversation import Conversation
from waltzrl_tui.chat.duels import PairComparison, compare_pairs
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.endpoints.key_gate import KeyUse
from waltzrl_tui.local.pairs import PairSelection
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.match import TYPED, Match, PromptSource
from waltzrl_tui.tui.chat.queue import PromptQueue
from waltzrl_tui.tui.chat.side import MODES, ChatSide
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.local.live import Engines


class ChatModel:
    """One pair that answers, or two side by side.

    Args:
        engines: Opens the embedded engine's servers, when they are first needed.
        pair, versus: Names of the pairs to begin with, or "".

    Attributes:
        sides: Left and right; `current`: the place of the one that keys work on.
        beside: Whether both answer.
        queue: The prompts of a file, while one is open.
        source: Where the last prompt came from.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        engines: Callable[[], Engines],
        *,
        pair: str = "",
        versus: str = "",
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._engines = engines
        self.sides = [
            ChatSide(store, PairSelection(store, engines, preferred=pair)),
            ChatSide(store, PairSelection(store, engines, preferred=versus, second=True)),
        ]
        self.match = Match(store, self.sides)
        self.queue: PromptQueue | None = None
        self.beside = bool(versus)
        self.current = 0
        self.source = TYPED
        self._agreed: set[str] = set()

    @property
    def side(self) -> ChatSide:
        """The side that keys work on."""
        return self.sides[self.current]

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the sides that answer."""
        return (0, 1) if self.beside else (self.current,)

    @property
    def active(self) -> list[ChatSide]:
        """The sides that answer."""
        return [self.sides[place] for place in self.places]

    def letter(self, place: int) -> str:
        """What a side is called: "A" or "B" where both answer, else ""."""
        return "AB"[place] if self.beside else ""

    @property
    def names(self) -> str:
        """Whom a prompt is sent to, as it may be shown now."""
        names = [self.sides[place].name(self.letter(place)) for place in self.places]
        return " and ".join(dict.fromkeys(names))

    @property
    def streaming(self) -> bool:
        return any(side.streaming for side in self.sides)

    @property
    def streams(self) -> int:
        """Replies and checks of drafts that may run at the same time."""
        return sum(1 + side.watch for side in self.active)

    @property
    def revealed_by_vote(self) -> bool:
        """Whether a vote has shown who is who, so that a blind match must begin anew."""
        return self.beside and self.match.blind and self.match.vote is not None

    async def read(self) -> list[ChatSide]:
        """Read the pairs; returns the sides that ask another one now."""
        changed = []
        for side in self.sides:
            before = side.pairs.choice
            await side.pairs.read(settled=bool(side.chat.turns))
            if side.pairs.choice != before:
                changed.append(side)
        if changed:
            self.settle_twins()
        return changed

    async def slowdown(self) -> str:
        """A sentence about a job that slows replies down on this machine, or ""."""
        jobs = await self._store.jobs.list(ended=False)
        return slowdown(jobs, self.active)

    def settle_twins(self) -> None:
        """Where both sides have the same pair, compare it with itself without feedback."""
        left, right = self.sides
        if not right.pairs.by_hand and right.pairs.choice is not None and not right.chat.turns:
            same = left.pairs.choice == right.pairs.choice
            if (right.look.mode == "off") != same:
                right.look = replace(right.look, mode="off" if same else "applied")

    # Asking

    def unapproved_keys(self) -> list[KeyUse]:
        """The keys that asking would send to servers that the user has not approved."""
        return sorted({use for side in self.active for use in side.pairs.unapproved})

    def new_costs(self) -> list[str]:
        """What a message costs, in sentences that the user has not agreed to yet."""
        # Sorted: their order must not give away who is who.
        return sorted({cost for side in self.active for cost in side.costs} - self._agreed)

    def agree(self, costs: Collection[str]) -> None:
        """Remember that the user agreed to these costs."""
        self._agreed.update(costs)

    def begin(self, source: PromptSource) -> None:
        """Have the sides that answer count as streaming, shuffled if the match is blind."""
        self.source = source
        self._engines().share(self.streams)
        if self.beside:
            self.match.shuffle()
        for side in self.active:
            side.begin()

    async def finish(self, prompt: str, replies: Sequence[Awaitable[Turn | None]]) -> None:
        """Wait for the replies; where there are two, record the duel.

        Raises:
            StoreError: The store cannot be written.
        """
        row = await self.match.begin(prompt, self.source) if len(replies) == 2 else None
        results = await asyncio.gather(*replies, return_exceptions=True)
        turns = [result if isinstance(result, Turn) else None for result in results]
        if row is not None:
            await self.match.end(row, turns[0], turns[1])
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def stop(self) -> None:
        """Have all replies end in good order."""
        for side in self.sides:
            side.stop()

    def begin_warming(self) -> list[PairSelection]:
        """The pairs that should be started now, while the first prompt is being typed."""
        pairs = [side.pairs for side in self.active if side.pairs.begin_warming(self.streams)]
        if pairs:
            self._engines().share(self.streams)
        return pairs

    # How it is shown and judged

    def toggle_beside(self) -> None:
        """Have both sides answer, or one."""
        self.beside = not self.beside
        if not self.beside:
            self.match.blind = False
            self.match.forget()
        self.settle_twins()

    def cycle_feedback(self) -> None:
        """Have the feedback of the current side applied, only shown, or off."""
        mode = MODES[(MODES.index(self.side.look.mode) + 1) % len(MODES)]
        self.side.look = replace(self.side.look, mode=mode)
        self.side.pairs.by_hand = True

    def toggle_drafts(self) -> None:
        drafts = not self.side.look.drafts
        for side in self.sides:
            side.look = replace(side.look, drafts=drafts)

    def toggle_verdicts(self) -> None:
        whole = not self.side.look.whole
        for side in self.sides:
            side.look = replace(side.look, whole=whole)

    def toggle_watch(self) -> bool:
        """Have drafts judged while they grow, or not; returns which."""
        watch = not self.side.watch
        for side in self.sides:
            side.watch = watch
        return watch

    async def comparisons(self) -> list[PairComparison]:
        """The results of all duels, without one whose result would give away a blind match."""
        duels = await self._store.duels.list()
        if self.side.look.blind and self.match.row is not None:
            duels = [duel for duel in duels if duel.id != self.match.row.id]
        return await asyncio.to_thread(compare_pairs, duels)

    # A queue of prompts

    async def open_queue(self, path: Path) -> None:
        """Open a file of prompts; those that these pairs were voted on are left out.

        Raises:
            DatasetError: It cannot be read, or holds no prompt.
        """
        names = {side.badge for side in self.active}
        duels = await self._store.duels.list() if self.beside else []
        voted = frozenset(
            row.line
            for row in duels
            if row.source == str(path)
            and row.vote
            and row.line is not None
            and {row.left_pair, row.right_pair} == names
        )
        self.queue = await PromptQueue.open(path, self._workspace, voted)

    async def next_prompt(self, queue: PromptQueue) -> Row | None:
        """Stop what streams, and read the next prompt; None at the end of the file.

        Raises:
            DatasetError: The file can no longer be read.
        """
        self.stop()
        while self.streaming:
            await asyncio.sleep(0.02)
        row = await queue.next()
        if row is None:
            self.queue = None
        return row

    # Chats

    def renew(self, chat: Conversation | None = None) -> None:
        """Begin new chats, or continue another one on the current side."""
        self.source = TYPED
        if chat is not None and self.beside:
            self.beside = self.match.blind = False
            self.match.forget()
        for side in self.active:
            side.renew(chat)
        self.match.forget()

    def resume(self, chat: Conversation) -> str:
        """Continue a stored chat with its pair; returns the pair's name if it is gone, else ""."""
        assert chat.row is not None
        pair = chat.turns[-1].pair if chat.turns else chat.row.pair
        self.renew(chat)
        return "" if self.side.pairs.choose(pair) or self.side.pairs.choice is None else pair

    def allows(self, action: str, *, typing: bool) -> bool | None:
        """Whether an action of the screen is possible now; None for one that always is.

        Args:
            typing: The prompt has the focus.
        """
        side, streaming = self.side, self.streaming
        last, choice = side.last, side.pairs.choice
        idle, quiet, visible = not streaming, not side.streaming, not side.look.blind
        return {
            "stop": streaming and not (typing and self.beside),
            "send": typing and idle,
            "new_line": typing,
            "leave": typing and (idle or self.beside),
            "write": not typing,
            "next": not typing and self.queue is not None,
            "other": self.beside,
            "vote": self.beside and self.match.open,
            "again": idle and last is not None and all(s.pairs.choice for s in self.active),
            "pair": bool(side.pairs.choices) and idle and visible,
            "beside": idle,
            "feedback": bool(choice and choice.feedback) and quiet and visible,
            "draft": any(len(turn.rounds) > 1 for turn in side.chat.turns) and visible,
            "verdicts": visible,
            "watch": idle and any(s.pairs.choice and s.pairs.choice.feedback for s in self.active),
            "blind": self.beside and idle,
            "queue": idle,
            "new": idle and any(s.chat.turns for s in self.active),
            "open": idle and visible,
            "about": last is not None and visible,
            "branch": idle and last is not None and visible,
            "edit": quiet and last is not None and visible,
            "export": quiet and last is not None and visible,
            "copy": last is not None and bool(last.reply) and not side.held,
        }.get(action)


def slowdown(jobs: Sequence[JobRow], sides: Sequence[ChatSide]) -> str:
    """A sentence about a job that computes on this machine beside an embedded pair, or ""."""
    running = [job for job in jobs if job.state == "running" and job.embedded]
    choices = [side.pairs.choice for side in sides]
    if not running or not any(choice is not None and choice.embedded for choice in choices):
        return ""
    activity = "is training" if running[0].kind == "train" else "is sampling replies"
    name = one_line(running[0].id, 24)
    return f"{name} {activity} on this machine; replies are slower until it finishes."
