"""The pairs that can be asked: which is chosen, and how it is made ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Final

from waltzrl_tui.chat.bill import BilledPair, billed_pair
from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.endpoints.costs import PairRates, rate_of
from waltzrl_tui.endpoints.key_gate import KeyUse, unapproved
from waltzrl_tui.errors import NotFoundError, WaltzError
from waltzrl_tui.store import JobRow
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.pick import PairChoice, pair_choices
from waltzrl_tui.waltz.waltz import LivePair

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

_EMBEDDED_BUDGET: Final = 1500
_REMOTE_BUDGET: Final = 12_000


class Pairs:
    """The pairs of a workspace. A trained one is chosen until the user chooses.

    Args:
        second: For the second column, where the pair to compare with is chosen: the base.

    Attributes:
        choices: All of them, the likeliest first.
        choice: The one that is asked next, or None while none is known.
        by_hand: Whether the user chose it.
    """

    def __init__(self, app: WaltzApp, *, second: bool = False) -> None:
        self._app = app
        self._second = second
        self._up: list[DeploymentRow] = []
        self._prices: dict[str, Price] = {}
        self._live: tuple[PairChoice, LivePair] | None = None
        self._warming: tuple[PairChoice | None, int] = None, 0
        self._making = asyncio.Lock()
        self._base_made = False
        self.choices: list[PairChoice] = []
        self.choice: PairChoice | None = None
        self.by_hand = False

    @property
    def only_base(self) -> bool:
        """Whether nothing but untrained pairs is there."""
        return all(choice.kind == "untrained" for choice in self.choices)

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

    @property
    def unapproved(self) -> list[KeyUse]:
        """The keys that the chosen pair would send to servers that the user has not approved."""
        return unapproved(self.choice.agents, self._up) if self.choice else []

    def billed(self, feedback: Feedback) -> BilledPair | None:
        """The chosen pair as its replies are billed; None while none is known.

        Args:
            feedback: What is done with the feedback agent.
        """
        choice = self.choice
        if choice is None:
            return None
        row = choice.row
        return billed_pair(
            *(row.name, row.rounds, choice.conversation, choice.feedback),
            *(self._up, self._prices, feedback),
        )

    async def read(self, *, settled: bool) -> None:
        """Read the pairs; the base pair is made if there is none yet.

        Args:
            settled: The chat has begun, so that a pair trained meanwhile is not switched to.
        """
        store = self._app.store
        if not self._base_made:
            # In a thread: it brings in what talks to endpoints, and files are looked at.
            live = await asyncio.to_thread(import_module, "waltzrl_tui.local.live")
            await live.ensure_base(store)
            self._base_made = True
        self.choices = pair_choices(await store.agents.pairs(), await store.agents.list())
        wanted = self._app.wanted_vs if self._second else self._app.wanted_pair
        if self.choice is None and wanted:
            self.choose(wanted)
        names = {choice.name: choice for choice in self.choices}
        kept = names.get(self.choice.name) if self.choice else None
        if kept is None or not (self.by_hand or settled):
            kept = self.choices[-1 if self._second else 0] if self.choices else None
        self.choice = kept
        self._up = await store.deployments.list(up=True)
        self._prices = await store.answers.prices()

    def choose(self, name: str) -> bool:
        """Choose a pair by hand; False when there is none of that name."""
        found = next((choice for choice in self.choices if choice.name == name), None)
        if found is not None:
            self.choice, self.by_hand = found, True
        return found is not None

    async def ready(self) -> LivePair:
        """The chosen pair, with its server started; kept for the next prompt.

        Raises:
            NotFoundError: There is no pair.
            EngineError: Its server cannot be started.
            EndpointError: A key is not set.
        """
        if self.choice is None:
            raise NotFoundError("There is no pair to ask.", hint="Train one, or add one.")
        choice = self.choice
        async with self._making:
            if self._live is None or self._live[0] != choice:
                live = await self._app.engines.pair(self._app.store, choice.name)
                self._live = choice, live
            live = self._live[1]
            await self._app.engines.warm(live)
        if "openai" not in sys.modules:
            # Imported while the prompt is being typed, so that the reply need not wait for it.
            await asyncio.to_thread(import_module, "openai")
        return live

    @property
    def doing(self) -> str:
        """What a prompt waits for before it is sent, or ""."""
        return "making the model ready" if self._making.locked() else ""

    def begin_warming(self, at_once: int) -> bool:
        """Whether the chosen pair should be made ready now; true once for each choice.

        Args:
            at_once: See `Engines.share`.
        """
        wanted = self.choice, at_once
        begin = self.choice is not None and self._warming != wanted
        self._warming = wanted
        return begin

    async def warm(self) -> None:
        """Make the chosen pair ready. A failure is told when the pair is asked."""
        with suppress(WaltzError):
            await self.ready()


def slower(jobs: list[JobRow], choices: Sequence[PairChoice | None]) -> str:
    """What to say about jobs that compute on this machine while one chats, or ""."""
    running = [job for job in jobs if job.state == "running" and job.provider == "embedded"]
    if not running or not any(choice is not None and choice.embedded for choice in choices):
        return ""
    name = one_line(running[0].id, 24)
    doing = "trains" if running[0].kind == "train" else "samples replies"
    return f"{name} {doing} on this machine: replies are slower until it is done."
