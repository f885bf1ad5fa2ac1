"""Estimates of what requests to pairs cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.endpoints.costs import FREE, BillingRate, rate_of
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.words import money, plural

# Tokens of a typical request: prompt, system prompt of a role, reply, verdict.
PROMPT: Final = 100
_SYSTEM: Final = 160
REPLY: Final = 180
_VERDICT: Final = 60


@dataclass(frozen=True, slots=True)
class BilledPair:
    """A pair and how requests to it are billed.

    Attributes:
        conversation, feedback: Its agents; no feedback agent if replies are not judged.
        rates: Of each agent by name; None if no price is known.
        rounds: Revisions at most.
    """

    name: str
    conversation: AgentRow
    feedback: AgentRow | None
    rates: dict[str, BillingRate | None]
    rounds: int

    @property
    def agents(self) -> list[AgentRow]:
        return [self.conversation, *([self.feedback] if self.feedback else [])]

    @property
    def free(self) -> bool:
        return all(rate == FREE for rate in self.rates.values())

    @property
    def by_request(self) -> bool:
        """Whether each request is billed, or may be. A deployment is billed while it is up."""
        return any(
            rate is None or rate.usd_in is not None or rate.usd_out is not None
            for rate in self.rates.values()
        )

    @property
    def unpriced(self) -> list[AgentRow]:
        return [agent for agent in self.agents if self.rates[agent.name] is None]

    def usd(self, reply: int, verdict: int, share: float) -> float:
        """The cost in USD of a request with a short prompt, of what is priced by the token.

        Args:
            reply, verdict: Tokens of each.
            share: The share of the allowed revisions that take place.
        """
        total = 0.0
        for number in range(self.rounds + 1 if self.feedback else 1):
            before = _SYSTEM + PROMPT + number * (reply + verdict)
            once = self._answer(self.conversation, before, reply)
            if self.feedback:
                once += self._answer(self.feedback, _SYSTEM + PROMPT + reply, verdict)
            total += once if number == 0 else once * share
        return total

    def words(self, max_tokens: int, verdict_tokens: int = VERDICT_TOKENS) -> list[str]:
        """Sentences about what a request costs; none if it is free.

        Args:
            max_tokens, verdict_tokens: Caps of one reply and of one verdict.
        """
        if self.free:
            return []
        name = one_line(self.name, 60)
        sentences = []
        if usual := self.usd(min(REPLY, max_tokens), min(_VERDICT, verdict_tokens), 0.5):
            most = self.usd(max_tokens, verdict_tokens, 1.0)
            sentences.append(
                f"A request to {name} costs about {money(usual)} (a prompt of {PROMPT} tokens, "
                f"replies of {min(REPLY, max_tokens)}), and at most {money(most)} with replies of "
                f"{plural(max_tokens, 'token')}. Longer prompts and larger caps cost more."
            )
        extra = " and is not included" if sentences else ""
        for agent in self.agents:
            rate = self.rates[agent.name]
            who = f"{one_line(agent.name, 60)} ({one_line(agent.base, 80)})"
            if rate is None:
                sentences.append(
                    f"Each request to {name} asks {who} at {one_line(agent.url, 80)}, which may "
                    f"bill it; its price is not known{extra}: "
                    f"waltzrl-tui agents price {one_line(quote(agent.name), 80)} IN OUT"
                )
            elif rate.usd_per_hour:
                sentences.append(
                    f"{who} is up at {money(rate.usd_per_hour)} an hour, and requests to {name} "
                    "keep it up."
                )
        return sentences

    def _answer(self, agent: AgentRow, read: int, written: int) -> float:
        rate = self.rates[agent.name]
        return 0.0 if rate is None else rate.usd(0.0, read, written) or 0.0


def billed_pair(
    name: str,
    rounds: int,
    conversation: AgentRow,
    judge: AgentRow | None,
    up: Sequence[DeploymentRow],
    prices: Mapping[str, Price],
    feedback: Feedback = "applied",
) -> BilledPair:
    """A pair and how requests to it are billed, by the use of its feedback agent.

    Args:
        judge: Its feedback agent, if any.
        up, prices: See `rate_of`.
    """
    judge = None if feedback == "off" else judge
    rates = {
        agent.name: rate_of(agent, up, prices) for agent in filter(None, (conversation, judge))
    }
    return BilledPair(
        name=name,
        conversation=conversation,
        feedback=judge,
        rates=rates,
        rounds=rounds if feedback == "applied" else 0,
    )


async def billed_pairs(
    store: Store, names: Iterable[str], feedback: Feedback = "applied"
) -> list[BilledPair]:
    """The pairs with those names, and how requests to them are billed now.

    Raises:
        NotFoundError: A pair or an agent does not exist.
    """
    up = await store.deployments.list(up=True)
    prices = await store.answers.prices()
    pairs = []
    for name in names:
        pair = await store.agents.get_pair(name)
        conversation = await store.agents.get(pair.conversation)
        judge = await store.agents.get(pair.feedback) if pair.feedback else None
        pairs.append(billed_pair(pair.name, pair.rounds, conversation, judge, up, prices, feedback))
    return pairs
