"""What asking an agent costs, as far as that is known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from waltzrl_tui.network import on_this_machine
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import AgentRow


@dataclass(frozen=True, slots=True)
class Rate:
    """How an agent is billed.

    Attributes:
        usd_per_hour: Of the time that it takes; 0.0 where it runs on the user's own machine.
        usd_in, usd_out: Per 1M tokens read and written, None where nothing is billed by them.
    """

    usd_per_hour: float = 0.0
    usd_in: float | None = None
    usd_out: float | None = None

    def usd(self, seconds: float, prompt_tokens: int | None, tokens: int | None) -> float | None:
        """The cost of one answer in USD, or None when the server did not count what is billed."""
        total = self.usd_per_hour * seconds / 3600
        for price, count in ((self.usd_in, prompt_tokens), (self.usd_out, tokens)):
            if price is not None:
                if count is None:
                    return None
                total += price * count / 1_000_000
        return total


FREE = Rate()
"""An agent that runs here."""

Rates = tuple[Rate | None, Rate | None]
"""Of a pair's conversation and feedback agents; None where no price is known."""


def rate_of(
    agent: AgentRow, deployments: Iterable[DeploymentRow], prices: Mapping[str, Price]
) -> Rate | None:
    """How `agent` is billed; None where that is not known. Chat, evaluation and `serve` all ask
    here.

    Args:
        deployments: Those that are up: they are billed by the hour, of which an answer takes a
            part. One of $0 an hour is billed by the token.
        prices: By agent, as `AnswerStore.prices` gives them.
    """
    up = [row for row in deployments if row.agent == agent.name and row.state == "ready"]
    for row in up:
        if row.usd_per_hour:
            return Rate(row.usd_per_hour)
    if price := prices.get(agent.name):
        # A price of nothing asks for no counts of tokens.
        return Rate(0.0, price.usd_in, price.usd_out) if price.usd_in or price.usd_out else FREE
    return FREE if agent.kind == "embedded" or on_this_machine(agent.url) else None


def usd_words(amount: float) -> str:
    """USD in cents, and small amounts with the two digits that count."""
    places = 2 if amount >= 1 or amount <= 0 else min(9, 1 - math.floor(math.log10(amount)))
    return f"${amount:,.{places}f}"
