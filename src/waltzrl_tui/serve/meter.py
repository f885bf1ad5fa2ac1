"""What the requests so far have cost, and when that is enough."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from waltzrl_tui.endpoints.base import ChatEndpoint, Delta
from waltzrl_tui.endpoints.costs import FREE, BillingRate
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.words import money


class Meter:
    """Adds up the cost of what agents answer.

    Args:
        budget: USD; None for no end.

    Attributes:
        usd: Spent so far, as far as prices are known.
        unpriced: Agents that have answered at a price that is not known.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.usd = 0.0
        self.unpriced: set[str] = set()

    @property
    def used_up(self) -> bool:
        """Whether nothing that costs may be asked any more."""
        return self.budget is not None and self.usd >= self.budget

    def words(self) -> str:
        """The cost so far; "" while nothing has cost anything."""
        spent = money(self.usd) if self.usd else ""
        if self.budget is not None:
            spent = f"{money(self.usd)} of {money(self.budget)}"
        untold = f"the cost of {', '.join(sorted(self.unpriced))}" if self.unpriced else ""
        return " + ".join(part for part in (spent, untold) if part)


class MeteredEndpoint:
    """An endpoint whose answers are charged to a meter.

    What a server does not count, or what was broken off, is charged by an estimate of its tokens:
    the server reads and writes them all the same. A request that fails before any text costs
    nothing.
    """

    def __init__(
        self, endpoint: ChatEndpoint, meter: Meter, rate: BillingRate | None, name: str
    ) -> None:
        self._endpoint = endpoint
        self._meter = meter
        self._rate = rate
        self._name = name

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        began = time.perf_counter()
        pieces: list[str] = []
        counts: list[int | None] = [None, None]
        refused = False
        replying = self._endpoint.stream(
            messages, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        try:
            async with aclosing(replying) as deltas:
                async for delta in deltas:
                    pieces.append(delta.text)
                    if delta.prompt_tokens is not None:
                        counts[0] = delta.prompt_tokens
                    if delta.tokens is not None:
                        counts[1] = delta.tokens
                    yield delta
        except EndpointError:
            refused = not any(pieces)
            raise
        finally:
            if not refused:
                self._charge(messages, "".join(pieces), time.perf_counter() - began, counts)

    def _charge(
        self, messages: Sequence[Message], text: str, seconds: float, counts: list[int | None]
    ) -> None:
        if self._rate is None:
            self._meter.unpriced.add(self._name)
            return
        if self._rate == FREE:
            return
        read, written = counts
        if read is None:
            read = sum(estimate_tokens(turn["content"]) for turn in messages)
        if written is None:
            written = estimate_tokens(text)
        self._meter.usd += self._rate.usd(seconds, read, written) or 0.0
