"""What requests to an agent cost, as far as known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from waltzrl_tui.network import on_this_machine
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import AgentRow


@dataclass(frozen=True, slots=True)
class BillingRate:
    """How an agent is billed.

    Attributes:
        usd_per_hour: For the time that an answer takes; 0.0 on the user's own machine.
        usd_in, usd_out: Per 1M tokens read and written; None where tokens are not billed.
    """

    usd_per_hour: float = 0.0
    usd_in: float | None = None
    usd_out: float | None = None

    def usd(self, seconds: float, prompt_tokens: int | None, tokens: int | None) -> float | None:
        """The cost of one answer in USD, or None if the server did not count what it bills."""
        total = self.usd_per_hour * seconds / 3600
        for price, count in ((self.usd_in, prompt_tokens), (self.usd_out, tokens)):
            if price is not None:
                if count is None:
                    return None
                total += price * count / 1_000_000
        return total


FREE = BillingRate()
"""An agent that runs on this machine."""

PairRates = tuple[BillingRate | None, BillingRate | None]
"""Rates of a pair's conversation and feedback agents; None where no price is known."""


def rate_of(
    agent: AgentRow, deployments: Iterable[DeploymentRow], prices: Mapping[str, Price]
) -> BillingRate | None:
    """How `agent` is billed, the same in chat, evaluation and `serve`; None if not known.

    Args:
        deployments: Those that are up. They are billed by the hour, unless that is $0.
        prices: By agent, as from `AnswerStore.prices`.
    """
    up = [row for row in deployments if row.agent == agent.name and row.state == "ready"]
    for row in up:
        if row.usd_per_hour:
            return BillingRate(row.usd_per_hour)
    if price := prices.get(agent.name):
        # A price of zero needs no token counts.
        return (
            BillingRate(0.0, price.usd_in, price.usd_out) if price.usd_in or price.usd_out else FREE
        )
    return FREE if agent.embedded or on_this_machine(agent.url) else None
