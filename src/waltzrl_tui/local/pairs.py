"""The pairs of a workspace: which one is selected, what it costs, and starting its servers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

from waltzrl_tui.chat.bill import BilledPair, billed_pair
from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.endpoints.costs import PairRates, rate_of
from waltzrl_tui.endpoints.key_gate import KeyUse, unapproved
from waltzrl_tui.errors import NotFoundError, WaltzError
from waltzrl_tui.store import AgentRow, PairRow, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.waltz.waltz import LivePair

if TYPE_CHECKING:
    from waltzrl_tui.local.live import Engines

_EMBEDDED_BUDGET: Final = 1500
_REMOTE_BUDGET: Final = 12_000


@dataclass(frozen=True, slots=True)
class PairChoice:
    """A pair with its agents."""

    row: PairRow
    conversation: AgentRow
    feedback: AgentRow | None

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def embedded(self) -> bool:
        """Whether any of its agents runs on the embedded engine."""
        return any(agent.embedded for agent in self.agents)

    @property
    def agents(self) -> tuple[AgentRow, ...]:
        return (self.conversation, *((self.feedback,) if self.feedback else ()))

    @property
    def trained(self) -> bool:
        return any(agent.adapter or agent.job_id for agent in self.agents)

    @property
    def kind(self) -> str:
        """In a word: "trained", "untrained", or "remote"."""
        if self.trained:
            return "trained"
        return "untrained" if self.embedded else "remote"


def pair_choices(pairs: Sequence[PairRow], agents: Sequence[AgentRow]) -> list[PairChoice]:
    """The pairs with their agents: trained ones first, the latest first among equals."""
    known = {agent.name: agent for agent in agents}
    choices = [
        PairChoice(row, known[row.conversation], known.get(row.feedback))
        for row in reversed(pairs)
        if row.conversation in known
    ]
    order = {"trained": 0, "remote": 1, "untrained": 2}
    return sorted(choices, key=lambda choice: order[choice.kind])


class PairSelection:
    """The pair that one side of a chat asks: the latest trained one until the user chooses.

    Args:
        engines: Opens the embedded engine's servers, when they are first needed.
        preferred: The name of the pair to begin with, or "".
        second: For the second side, which begins with the pair to compare with: the base.

    Attributes:
        choices: All pairs, the likeliest first.
        choice: The pair for the next prompt, or None while none is known.
        by_hand: Whether the user chose it.
    """

    def __init__(
        self,
        store: Store,
        engines: Callable[[], Engines],
        *,
        preferred: str = "",
        second: bool = False,
    ) -> None:
        self._store = store
        self._engines = engines
        self._preferred = preferred
        self._second = second
        self._up: list[DeploymentRow] = []
        self._prices: dict[str, Price] = {}
        self._live: tuple[PairChoice, LivePair] | None = None
        self._warming: tuple[PairChoice | None, int] = None, 0
        self._starting = asyncio.Lock()
        self._base_exists = False
        self.choices: list[PairChoice] = []
        self.choice: PairChoice | None = None
        self.by_hand = False

    @property
    def only_base(self) -> bool:
        """Whether there are only untrained pairs."""
        return all(choice.kind == "untrained" for choice in self.choices)

    @property
    def unapproved(self) -> list[KeyUse]:
        """The keys that the chosen pair would send to servers that the user has not approved."""
        return unapproved(self.choice.agents, self._up) if self.choice else []

    @property
    def budget(self) -> int:
        """Tokens of older turns that are sent along with a prompt.

        The embedded engine reads some 200 tokens a second and was trained on single turns.
        """
        return _EMBEDDED_BUDGET if self.choice and self.choice.embedded else _REMOTE_BUDGET

    @property
    def rates(self) -> PairRates:
        """How the chosen pair's agents are billed."""
        if self.choice is None:
            return None, None
        judge = self.choice.feedback
        talk = rate_of(self.choice.conversation, self._up, self._prices)
        return talk, rate_of(judge, self._up, self._prices) if judge else None

    def billed(self, feedback: Feedback) -> BilledPair | None:
        """The chosen pair as its replies are billed; None while none is known.

        Args:
            feedback: What is done with the feedback agent.
        """
        choice = self.choice
        if choice is None:
            return None
        return billed_pair(
            choice.name,
            choice.row.rounds,
            choice.conversation,
            choice.feedback,
            self._up,
            self._prices,
            feedback,
        )

    async def read(self, *, settled: bool) -> None:
        """Read the pairs; the base pair is added if there is none yet.

        Args:
            settled: The chat has begun, so a pair trained meanwhile is not switched to.
        """
        store = self._store
        if not self._base_exists:
            # In a thread, because the clients of endpoints take long to import.
            live = await asyncio.to_thread(import_module, "waltzrl_tui.local.live")
            await live.ensure_base(store)
            self._base_exists = True
        self.choices = pair_choices(await store.agents.pairs(), await store.agents.list())
        if self.choice is None and self._preferred:
            self.choose(self._preferred)
        names = {choice.name: choice for choice in self.choices}
        choice = names.get(self.choice.name) if self.choice else None
        if choice is None or not (self.by_hand or settled):
            choice = self.choices[-1 if self._second else 0] if self.choices else None
        self.choice = choice
        self._up = await store.deployments.list(up=True)
        self._prices = await store.answers.prices()

    def choose(self, name: str) -> bool:
        """Choose a pair by hand; False when there is none of that name."""
        for choice in self.choices:
            if choice.name == name:
                self.choice, self.by_hand = choice, True
                return True
        return False

    async def ready(self) -> LivePair:
        """Start the server of the chosen pair; the pair is reused for the next prompt.

        Raises:
            NotFoundError: There is no pair.
            EngineError: Its server cannot be started.
            EndpointError: A key is not set.
        """
        if self.choice is None:
            raise NotFoundError("There is no pair yet.", hint="Train or add one.")
        choice = self.choice
        async with self._starting:
            if self._live is None or self._live[0] != choice:
                live = await self._engines().pair(self._store, choice.name)
                self._live = choice, live
            live = self._live[1]
            await self._engines().warm(live)
        if "openai" not in sys.modules:
            # Imported while the prompt is being typed, so that the reply need not wait for it.
            await asyncio.to_thread(import_module, "openai")
        return live

    @property
    def activity(self) -> str:
        """What a prompt waits for before it is sent, or ""."""
        return "starting the model" if self._starting.locked() else ""

    def begin_warming(self, at_once: int) -> bool:
        """Whether the chosen pair should be started now; true once for each choice.

        Args:
            at_once: See `Engines.share`.
        """
        target = self.choice, at_once
        begin = self.choice is not None and self._warming != target
        self._warming = target
        return begin

    async def warm(self) -> None:
        """Start the chosen pair. A failure is reported when the pair is asked."""
        with suppress(WaltzError):
            await self.ready()
