"""What requests to pairs will cost, before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.endpoints.costs import FREE, Rate, rate_of
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.words import money

# Tokens of a usual request: its prompt, what the system prompt of a role adds, a reply, a verdict.
PROMPT: Final = 100
_ROLE: Final = 160
REPLY: Final = 180
_VERDICT: Final = 60


@dataclass(frozen=True, slots=True)
class Billed:
    """A pair as its requests are billed.

    Attributes:
        talk, judge: Its agents; no judge where replies are not judged.
        rates: Of each agent by name; None where no price is known.
        rounds: Revisions at most.
    """

    name: str
    talk: AgentRow
    judge: AgentRow | None
    rates: dict[str, Rate | None]
    rounds: int

    @property
    def agents(self) -> list[AgentRow]:
        return [self.talk, *([self.judge] if self.judge else [])]

    @property
    def free(self) -> bool:
        return all(rate == FREE for rate in self.rates.values())

    @property
    def by_request(self) -> bool:
        """Whether each request is billed, or may be; a deployment is billed while it is up."""
        return any(
            rate is None or rate.usd_in is not None or rate.usd_out is not None
            for rate in self.rates.values()
        )

    @property
    def unpriced(self) -> list[AgentRow]:
        return [agent for agent in self.agents if self.rates[agent.name] is None]

    def usd(self, reply: int, verdict: int, share: float) -> float:
        """The cost of a request with a short prompt, of what has a price by the token, USD.

        Args:
            reply, verdict: Tokens of each.
            share: Of the revisions that are allowed, how many come about.
        """
        total = 0.0
        for number in range(self.rounds + 1 if self.judge else 1):
            before = _ROLE + PROMPT + number * (reply + verdict)
            once = self._answer(self.talk, before, reply)
            if self.judge:
                once += self._answer(self.judge, _ROLE + PROMPT + reply, verdict)
            total += once if number == 0 else once * share
        return total

    def words(self, max_tokens: int, verdict_tokens: int = VERDICT_TOKENS) -> list[str]:
        """Sentences about what a request costs; none where it costs nothing.

        Args:
            max_tokens, verdict_tokens: Caps of one reply and of one verdict.
        """
        if self.free:
            return []
        name = one_line(self.name, 60)
        found = []
        if usual := self.usd(min(REPLY, max_tokens), min(_VERDICT, verdict_tokens), 0.5):
            most = self.usd(max_tokens, verdict_tokens, 1.0)
            found.append(
                f"A request to {name} costs about {money(usual)} (a prompt of {PROMPT} tokens, "
                f"replies of {min(REPLY, max_tokens)}), and with replies of {max_tokens:,} tokens "
                f"at most {money(most)}. Longer prompts and larger caps cost more."
            )
        top = " and comes on top" if found else ""
        for agent in self.agents:
            rate = self.rates[agent.name]
            who = f"{one_line(agent.name, 60)} ({one_line(agent.base, 80)})"
            if rate is None:
                found.append(
                    f"Each request to {name} asks {who} at {one_line(agent.url, 80)}, which may "
                    f"bill it; its price is not known{top}: "
                    f"waltzrl-tui agents price {one_line(quote(agent.name), 80)} IN OUT"
                )
            elif rate.usd_per_hour:
                found.append(
                    f"{who} is up at ${rate.usd_per_hour:,.2f} an hour, and requests to {name} "
                    "keep it up."
                )
        return found

    def _answer(self, agent: AgentRow, read: int, written: int) -> float:
        rate = self.rates[agent.name]
        return 0.0 if rate is None else rate.usd(0.0, read, written) or 0.0


def billed_pair(
    name: str,
    rounds: int,
    talk: AgentRow,
    judge: AgentRow | None,
    up: Sequence[DeploymentRow],
    prices: Mapping[str, Price],
    feedback: Feedback = "applied",
) -> Billed:
    """A pair as its requests are billed, with what is done with its feedback agent.

    Args:
        up, prices: See `rate_of`.
    """
    judge = None if feedback == "off" else judge
    rates = {agent.name: rate_of(agent, up, prices) for agent in filter(None, (talk, judge))}
    return Billed(name, talk, judge, rates, rounds if feedback == "applied" else 0)


async def billed(
    store: Store, names: Iterable[str], feedback: Feedback = "applied"
) -> list[Billed]:
    """The pairs of those names, as their requests are billed now.

    Raises:
        NotFoundError: One is not there.
    """
    up = await store.deployments.list(up=True)
    prices = await store.answers.prices()
    found = []
    for name in names:
        pair = await store.agents.get_pair(name)
        talk = await store.agents.get(pair.conversation)
        judge = await store.agents.get(pair.feedback) if pair.feedback else None
        found.append(billed_pair(pair.name, pair.rounds, talk, judge, up, prices, feedback))
    return found
