"""What asking an agent costs, as far as that is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import AgentRow
from waltzrl_tui.text import on_this_machine


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


def rate_of(agent: AgentRow, deployments: Iterable[DeploymentRow]) -> Rate | None:
    """How `agent` is billed; None where that is not known.

    Args:
        deployments: Those that are up: they are billed by the hour, of which an answer takes a
            part.
    """
    for row in deployments:
        if row.agent == agent.name and row.state == "ready":
            return None if row.usd_per_hour is None else Rate(row.usd_per_hour)
    return FREE if agent.kind == "embedded" or on_this_machine(agent.url) else None
