"""What a plan is made of: the workload, the settings, the environment, and one priced row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Literal

from waltzrl_tui.records.roles import ROLES, Method, Role

State = Literal["ready", "needs_key", "needs_gpu", "closed", "blocked"]
Size = Literal["small", "default", "large"]
"""Of the base model: 3B and smaller, 7–9B, 70B."""

SIZES: Final[tuple[Size, ...]] = ("small", "default", "large")
METHODS: Final[tuple[Method, ...]] = ("sft", "dpo")
STALE_DAYS: Final = 90
"""A price that is older is marked."""

_MICRO: Final = 6
"""Decimals of a dollar that amounts are kept to, so that parts add up to totals."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What one tokenizer makes of one role's file."""

    tokens: int
    valid_tokens: int
    longest: int


@dataclass(frozen=True, slots=True)
class RoleWorkload:
    """One role's training file.

    Attributes:
        rows, valid_rows: Rendered chats, of training and of validation.
        tokens: Of one epoch over the training rows; `valid_tokens`: of one evaluation.
        longest: Tokens of the longest row.
        bytes: Of the rendered training file.
        exact: Counted with the model's own tokenizer; else estimated.
        tokenizer: Its name, or "estimate".
        error: Relative error of an estimate (0.15 is ±15 %), 0 when exact.
        counts: The same by each tokenizer that was at hand, by its name.
    """

    rows: int
    valid_rows: int
    tokens: int
    valid_tokens: int
    longest: int
    bytes: int
    exact: bool
    tokenizer: str
    error: float
    counts: Mapping[str, TokenCount] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is to be trained: one file a role, of the dataset named `source`.

    Attributes:
        rows: Rows of the sample, of which the files were rendered: a role's file may hold more or
            fewer. 0 when only the files are known.
        empty_replies: Rows of the dataset with an empty reply, which are left out.
        unlabelled: Rows with a reply and no label, which only the conversation agent learns from.
        misordered: Rendered chats whose roles do not alternate.
        contradicting: Prompts that the dataset labels both harmful and benign.
    """

    roles: Mapping[Role, RoleWorkload]
    source: str
    rows: int = 0
    empty_replies: int = 0
    unlabelled: int = 0
    misordered: int = 0
    contradicting: int = 0

    def only(self, roles: Sequence[Role]) -> Workload:
        """The same without the files of other roles."""
        files = {role: self.roles[role] for role in roles if role in self.roles}
        return replace(self, roles=files)

    def scaled(self, rows: int) -> Workload:
        """The same rows on average, but a sample of `rows` of them, validation included."""
        files = (file.rows + file.valid_rows for file in self.roles.values())
        whole = self.rows or max(files, default=0)
        if not whole:
            return self
        factor = max(0, rows) / whole
        roles = {name: _scaled(role, factor) for name, role in self.roles.items()}
        return replace(self, roles=roles, rows=rows if self.rows else 0)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What the user asks for. An empty provider means all, an empty model the size's default.

    Attributes:
        budget_usd: For the training of all `roles`.
        roles: The agents that are trained.
    """

    epochs: float = 3.0
    size: Size = "default"
    chat_hours: float = 1.0
    method: Method = "sft"
    budget_usd: float | None = None
    provider: str = ""
    model: str = ""
    roles: tuple[Role, ...] = ROLES


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine; memory in 10⁹ bytes."""

    name: str
    memory_gb: float
    free_gb: float


@dataclass(frozen=True, slots=True)
class Probe:
    """What a provider said of this account.

    Attributes:
        allowed: Whether it may tune; None: it did not say. `key_ok`: whether its key is taken.
        words: The provider's own. `at`: When, UTC.
    """

    allowed: bool | None
    words: str
    at: str
    key_ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What this machine and its accounts have; gathered once.

    Attributes:
        keys: Names of environment variables that hold a key, never values.
        embedded_tokens_per_second: As past jobs of the embedded engine measured it here, or None.
    """

    keys: frozenset[str]
    gpus: tuple[Gpu, ...]
    unsloth: bool
    embedded_tokens_per_second: float | None
    probes: Mapping[str, Probe]
    today: date


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in USD: low ≤ expected ≤ high, each rounded to a millionth of a dollar."""

    low: float
    expected: float
    high: float

    @classmethod
    def of(cls, low: float, expected: float, high: float) -> Money:
        return cls(round(low, _MICRO), round(expected, _MICRO), round(high, _MICRO))

    @classmethod
    def sum(cls, amounts: Iterable[Money]) -> Money:
        """The sum, whatever the order."""
        found = list(amounts)
        return cls.of(
            math.fsum(each.low for each in found),
            math.fsum(each.expected for each in found),
            math.fsum(each.high for each in found),
        )

    def times(self, factor: float) -> Money:
        return Money.of(self.low * factor, self.expected * factor, self.high * factor)

    def to_json(self) -> dict[str, float]:
        return {"low": self.low, "expected": self.expected, "high": self.high}


FREE: Final = Money(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CostItem:
    """One line of a sum."""

    what: str
    usd: Money


@dataclass(frozen=True, slots=True)
class RentedMachine:
    """The machine that each agent's job is to have for itself.

    Attributes:
        flavor: What the provider calls it. usd_per_hour: low, expected, high.
        seconds: By role: from the start of the machine to the end of the job (low, expected,
            high).
    """

    flavor: str
    usd_per_hour: Money
    seconds: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What training the agents at one provider costs, and whether it can be done.

    Attributes:
        roles: The agents that are trained.
        reason: Why it is in that state, in words, and what to use instead.
        training_tokens: All tokens trained, epochs and all agents included.
        total: The sum of `parts`; None when there is no sourced price, as `reason` says.
        seconds: Training all agents, low to high, waiting for a machine included.
        price_as_of: Of the oldest price in the sum; `price_stale`: older than `STALE_DAYS`.
        blockers: What would be refused, each with what to do.
        notes: How it was computed.
        rented: The machine, where each agent's job has its own.
        missing: Why there is no total, in words.
    """

    provider: str
    title: str
    model: str
    state: State
    reason: str
    training_tokens: int
    exact: bool
    total: Money | None
    parts: tuple[CostItem, ...]
    seconds: tuple[float, float] | None
    price_as_of: date | None
    price_source: str
    price_stale: bool
    blockers: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    rented: RentedMachine | None = None
    missing: str = ""
    roles: tuple[Role, ...] = ROLES

    def to_json(self) -> dict[str, Any]:
        """The row of the document that `plan --json` prints."""
        seconds = self.seconds and {"low": self.seconds[0], "high": self.seconds[1]}
        return {
            "provider": self.provider,
            "title": self.title,
            "model": self.model,
            "roles": list(self.roles),
            "state": self.state,
            "reason": self.reason,
            "training_tokens": self.training_tokens,
            "exact": self.exact,
            "total_usd": self.total.to_json() if self.total else None,
            "parts": [{"what": part.what, "usd": part.usd.to_json()} for part in self.parts],
            "duration_s": seconds,
            "price_as_of": self.price_as_of.isoformat() if self.price_as_of else None,
            "price_source": self.price_source,
            "price_stale": self.price_stale,
            "blockers": list(self.blockers),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def _scaled(role: RoleWorkload, factor: float) -> RoleWorkload:
    def part(value: int) -> int:
        return int(value * factor + 0.5)

    return replace(
        role,
        rows=part(role.rows),
        valid_rows=part(role.valid_rows),
        tokens=part(role.tokens),
        valid_tokens=part(role.valid_tokens),
        bytes=part(role.bytes),
        counts={
            name: replace(count, tokens=part(count.tokens), valid_tokens=part(count.valid_tokens))
            for name, count in role.counts.items()
        },
    )
