"""What a run will cost, before it starts; a dry run finds which answers are cached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.endpoints.base import Delta
from waltzrl_tui.evaluation.agents_of_run import FREE, known_prices
from waltzrl_tui.evaluation.answers import AgentClient, Answers, Kept
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.opinions import OPINION_TOKENS
from waltzrl_tui.evaluation.run_item import RunContext, run_item
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.words import money, plural

# Tokens: of a typical reply, verdict and opinion, and of the system prompts of each role.
_USUAL_REPLY: Final = 180
_USUAL_VERDICT: Final = 60
_USUAL_OPINION: Final = 30
_ROLE_TOKENS: Final = 160
_JUDGE_ROLE_TOKENS: Final = 330


@dataclass
class AgentBill:
    """What one agent is expected to be asked.

    Attributes:
        calls: Expected answers.
        read, written: Expected tokens.
        usd, most_usd: Expected cost, and at most; `usd` is None without a price.
    """

    agent: str
    price: Price | None
    calls: float = 0.0
    read: float = 0.0
    written: float = 0.0
    most_usd: float = 0.0

    @property
    def usd(self) -> float | None:
        if self.price is None:
            return None
        return self.price.usd(round(self.read), round(self.written))


@dataclass
class Bill:
    """The cost of a run, by agents that cost something or may.

    Attributes:
        kept: How many of `items` are answered from the cache.
    """

    items: int = 0
    kept: int = 0
    agents: dict[str, AgentBill] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether nothing that costs, or may cost, is asked."""
        return not any(each.calls for each in self.agents.values())

    @property
    def unpriced(self) -> list[str]:
        return [name for name, each in self.agents.items() if each.price is None and each.calls]

    @property
    def usd(self) -> float:
        return sum(each.usd or 0.0 for each in self.agents.values())

    @property
    def most_usd(self) -> float:
        return sum(each.most_usd for each in self.agents.values())

    def words(self) -> str:
        """The cost in one to three sentences."""
        if self.free:
            return "This costs nothing."
        calls = sum(each.calls for each in self.agents.values())
        text = f"About {plural(round(calls), 'answer')} to ask for"
        priced = [each for each in self.agents.values() if each.price is not None and each.calls]
        if priced:
            text += f": about {money(self.usd)}, at most {money(self.most_usd)}"
        text += "."
        if self.kept:
            text += f" Answered in earlier runs: {self.kept:,} of {plural(self.items, 'prompt')}."
        if self.unpriced:
            names = ", ".join(self.unpriced)
            text += f" Plus what {names} costs" if priced else f" The cost of {names}"
            text += ", which is not known." if priced else " is not known."
        return text


class _NotKeptError(Exception):
    def __init__(self, agent: str) -> None:
        super().__init__(agent)
        self.agent = agent


class _Nobody:
    """An endpoint that is never asked: the first answer that is not cached ends the dry run."""

    def __init__(self, agent: str) -> None:
        self._agent = agent

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        raise _NotKeptError(self._agent)
        yield Delta("")


async def bill(
    store: Store, spec: RunSpec, agents: Mapping[str, AgentRow], rows: Sequence[Sequence[Row]]
) -> Bill:
    """What the run of `spec` will cost. Nothing is asked.

    Args:
        rows: The prompts of each suite.
    """
    prices = await known_prices(store, agents)
    total = Bill(agents={n: AgentBill(n, p) for n, p in prices.items() if p != FREE})
    if not total.agents:
        return total
    context = RunContext(
        sources={
            name: AgentClient(
                agent=name,
                identity=spec.pins[name],
                endpoint=_Nobody(name),
                gate=asyncio.Semaphore(1),
                limit=1,
            )
            for name in agents
        },
        prompts={name: agent.prompt for name, agent in agents.items()},
        judges=spec.judges,
        max_tokens=spec.max_tokens,
        verdict_tokens=spec.verdict_tokens,
        salt=spec.salt,
        answers=Answers(store.answers, await store.answers.keys(), _never),
    )
    for subject in spec.subjects:
        for row in (row for prompts in rows for row in prompts):
            total.items += 1
            try:
                await run_item(context, subject, row)
            except _NotKeptError as missing:
                _charge(total, spec, subject, row, missing.agent)
            else:
                total.kept += 1
    return total


def _never(answer: Kept) -> None:
    raise AssertionError(f"a dry run asks nothing, but {answer} came")


def _charge(total: Bill, spec: RunSpec, subject: Subject, row: Row, missing: str) -> None:
    """Add the cost of an item from its first missing answer on."""
    prompt = estimate_tokens(row.prompt)
    exchange = prompt + min(spec.max_tokens, _USUAL_REPLY)
    most_exchange = prompt + spec.max_tokens
    from_reply = missing == subject.conversation
    from_verdict = from_reply or missing == subject.feedback
    revisions = subject.rounds if subject.feedback or subject.kind == "oracle" else 0
    if from_verdict:
        _add(
            total.agents.get(subject.conversation),
            calls=int(from_reply) + revisions / 2,
            most_calls=int(from_reply) + revisions,
            read=exchange + _ROLE_TOKENS,
            most_read=most_exchange,
            written=_USUAL_REPLY,
            most_written=spec.max_tokens,
        )
        _add(
            total.agents.get(subject.feedback),
            calls=1 + revisions / 2,
            most_calls=1 + revisions,
            read=exchange + _ROLE_TOKENS,
            most_read=most_exchange + _ROLE_TOKENS,
            written=_USUAL_VERDICT,
            most_written=spec.verdict_tokens,
        )
    for judge in spec.judges:
        if judge != DETECTOR:
            _add(
                total.agents.get(judge),
                calls=1.5,
                most_calls=3,
                read=exchange + _JUDGE_ROLE_TOKENS,
                most_read=most_exchange + _JUDGE_ROLE_TOKENS,
                written=_USUAL_OPINION,
                most_written=OPINION_TOKENS,
            )


def _add(
    agent: AgentBill | None,
    *,
    calls: float,
    most_calls: float,
    read: int,
    most_read: int,
    written: int,
    most_written: int,
) -> None:
    if agent is None:
        return
    agent.calls += calls
    agent.read += calls * read
    agent.written += calls * min(written, most_written)
    if agent.price is not None:
        agent.most_usd += most_calls * agent.price.usd(most_read, most_written)
