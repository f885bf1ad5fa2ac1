"""What a run will cost, before it is begun; what is kept already is found by playing it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.endpoints.base import Delta
from waltzrl_tui.evaluation.agents_of_run import FREE, known_prices
from waltzrl_tui.evaluation.answers import Answers, Kept, Source
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.opinions import OPINION_TOKENS
from waltzrl_tui.evaluation.run_item import Stand, play
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.tokenizers.estimate import estimate_tokens

# Tokens: what a usual reply and a usual verdict have, and what a prompt of each role adds.
_USUAL_REPLY: Final = 180
_USUAL_VERDICT: Final = 60
_USUAL_OPINION: Final = 30
_ROLE_TOKENS: Final = 160
_JUDGE_ROLE_TOKENS: Final = 330


@dataclass
class AgentBill:
    """What one agent is asked for.

    Attributes:
        calls: As expected. usd, most_usd: As expected, and at most; None without a price.
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
    """The agents that cost something, or may.

    Attributes:
        kept: Items that need nothing asked any more, of `items`.
    """

    items: int = 0
    kept: int = 0
    agents: dict[str, AgentBill] = field(default_factory=dict)

    @property
    def free(self) -> bool:
        """Whether nothing that costs, or may cost, is asked for."""
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
        """All of it in one or two sentences."""
        if self.free:
            return "This costs nothing."
        calls = sum(each.calls for each in self.agents.values())
        said = f"About {calls:,.0f} answers are asked for"
        priced = [each for each in self.agents.values() if each.price is not None and each.calls]
        if priced:
            said += f": about ${self.usd:,.4f}, at most ${self.most_usd:,.4f}"
        said += "."
        if self.kept:
            said += f" {self.kept:,} of {self.items:,} prompts are kept from earlier."
        if self.unpriced:
            said += f" What {', '.join(self.unpriced)} costs is not known"
            said += " and comes on top." if priced else "."
        return said


class _NotKeptError(Exception):
    def __init__(self, agent: str) -> None:
        super().__init__(agent)
        self.agent = agent


class _Nobody:
    """An endpoint that is never asked: what is not kept ends the play."""

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
    """What the run of `spec` will be charged. Nothing is asked.

    Args:
        rows: The prompts of each suite.
    """
    prices = await known_prices(store, agents)
    made = Bill(agents={n: AgentBill(n, p) for n, p in prices.items() if p != FREE})
    if not made.agents:
        return made
    stand = Stand(
        sources={
            name: Source(name, spec.pins[name], _Nobody(name), asyncio.Semaphore(1), 1)
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
            made.items += 1
            try:
                await play(stand, subject, row)
            except _NotKeptError as missing:
                _charge(made, spec, subject, row, missing.agent)
            else:
                made.kept += 1
    return made


def _never(kept: Kept) -> None:
    raise AssertionError(f"nobody answers, but {kept} came")


def _charge(made: Bill, spec: RunSpec, subject: Subject, row: Row, missing: str) -> None:
    """Add what an item needs from the call on that is missing."""
    asked = estimate_tokens(row.prompt)
    told = asked + min(spec.max_tokens, _USUAL_REPLY)
    most_told = asked + spec.max_tokens
    from_reply = missing == subject.conversation
    from_verdict = from_reply or missing == subject.feedback
    revisions = subject.rounds if subject.feedback or subject.kind == "oracle" else 0
    if from_verdict:
        talk = made.agents.get(subject.conversation)
        replies = int(from_reply) + revisions / 2
        most = int(from_reply) + revisions
        _add(talk, replies, most, told + _ROLE_TOKENS, most_told, _USUAL_REPLY, spec.max_tokens)
        guard = made.agents.get(subject.feedback)
        _add(
            guard,
            1 + revisions / 2,
            1 + revisions,
            told + _ROLE_TOKENS,
            most_told + _ROLE_TOKENS,
            _USUAL_VERDICT,
            spec.verdict_tokens,
        )
    for judge in spec.judges:
        if judge != DETECTOR:
            bill_of = made.agents.get(judge)
            read, most_read = told + _JUDGE_ROLE_TOKENS, most_told + _JUDGE_ROLE_TOKENS
            _add(bill_of, 1.5, 3, read, most_read, _USUAL_OPINION, OPINION_TOKENS)


def _add(
    mine: AgentBill | None,
    calls: float,
    most_calls: float,
    read: int,
    most_read: int,
    written: int,
    most_written: int,
) -> None:
    if mine is None:
        return
    mine.calls += calls
    mine.read += calls * read
    mine.written += calls * min(written, most_written)
    if mine.price is not None:
        mine.most_usd += most_calls * mine.price.usd(most_read, most_written)
