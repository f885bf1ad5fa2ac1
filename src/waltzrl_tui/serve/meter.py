"""What requests have cost so far, and when the budget is used up."""

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
    """Adds up the cost of agents' replies.

    Args:
        budget: USD; None for no limit.

    Attributes:
        usd: Spent so far, as far as prices are known.
        unpriced: Agents that have replied at an unknown price.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self.usd = 0.0
        self.unpriced: set[str] = set()

    @property
    def used_up(self) -> bool:
        """Whether the budget is spent."""
        return self.budget is not None and self.usd >= self.budget

    def words(self) -> str:
        """The cost so far, for people; "" while everything was free."""
        spent = money(self.usd) if self.usd else ""
        if self.budget is not None:
            spent = f"{money(self.usd)} of {money(self.budget)}"
        unknown = f"the cost of {', '.join(sorted(self.unpriced))}" if self.unpriced else ""
        return " + ".join(part for part in (spent, unknown) if part)


class MeteredEndpoint:
    """An endpoint whose replies are charged to a meter.

    Tokens that the server does not report, or whose reply was broken off, are estimated: they are
    billed all the same. A request that fails before any text costs nothing.
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
        start = time.perf_counter()
        pieces: list[str] = []
        prompt_tokens: int | None = None
        reply_tokens: int | None = None
        failed = False
        stream = self._endpoint.stream(
            messages, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        try:
            async with aclosing(stream) as deltas:
                async for delta in deltas:
                    pieces.append(delta.text)
                    if delta.prompt_tokens is not None:
                        prompt_tokens = delta.prompt_tokens
                    if delta.tokens is not None:
                        reply_tokens = delta.tokens
                    yield delta
        except EndpointError:
            failed = not any(pieces)
            raise
        finally:
            if not failed:
                if prompt_tokens is None:
                    prompt_tokens = sum(estimate_tokens(turn["content"]) for turn in messages)
                if reply_tokens is None:
                    reply_tokens = estimate_tokens("".join(pieces))
                self._charge(time.perf_counter() - start, prompt_tokens, reply_tokens)

    def _charge(self, seconds: float, prompt_tokens: int, reply_tokens: int) -> None:
        if self._rate is None:
            self._meter.unpriced.add(self._name)
        elif self._rate != FREE:
            self._meter.usd += self._rate.usd(seconds, prompt_tokens, reply_tokens) or 0.0
