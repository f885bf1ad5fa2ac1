"""What goes into a plan (workload, settings, environment) and what comes out: a priced row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final, Literal

from waltzrl_tui.records.roles import ROLES, Method, Role

State = Literal["ready", "needs_key", "needs_gpu", "closed", "blocked"]
Size = Literal["small", "default", "large"]
"""Of the base model: 3B or smaller, 7B to 9B, 70B."""

ProviderKind = Literal["tokens", "machines", "own", "embedded"]
"""What is paid for: trained tokens, rented machines, or nothing (own GPU, embedded engine)."""

SIZES: Final[tuple[Size, ...]] = ("small", "default", "large")
METHODS: Final[tuple[Method, ...]] = ("sft", "dpo")
STALE_DAYS: Final = 90
"""Prices older than this are marked."""

_MICRO: Final = 6
"""Decimals that amounts are rounded to, so that items add up to totals."""


@dataclass(frozen=True, slots=True)
class TokenCount:
    """One role's file, counted by one tokenizer."""

    tokens: int
    valid_tokens: int
    longest: int


@dataclass(frozen=True, slots=True)
class RoleWorkload:
    """One role's training file.

    Attributes:
        rows, valid_rows: Rendered chats for training and for validation.
        tokens: Tokens of one epoch; `valid_tokens`: of one evaluation.
        longest: Tokens of the longest row.
        bytes: Size of the rendered training file.
        exact: Whether the model's own tokenizer counted; otherwise tokens are estimated.
        tokenizer: Its name, or "estimate".
        error: Relative error of an estimate (0.15 is ±15 %); 0 if exact.
        counts: Counts by each available tokenizer, by its name.
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
    """What would be trained: one file for each role, from the dataset named `source`.

    Attributes:
        rows: Rows of the sample that the files were rendered from; 0 when only the files are
            known. A role's file may hold more rows or fewer.
        empty_replies: Rows of the dataset with an empty reply, which are left out.
        unlabelled: Rows with a reply and no label: only the conversation agent learns from them.
        misordered: Rendered chats whose user and assistant turns do not alternate.
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
        """The files of these roles alone."""
        files = {role: self.roles[role] for role in roles if role in self.roles}
        return replace(self, roles=files)

    def scaled(self, rows: int) -> Workload:
        """A sample of `rows` such rows, validation included: every figure in proportion."""
        files = (file.rows + file.valid_rows for file in self.roles.values())
        whole = self.rows or max(files, default=0)
        if not whole:
            return self
        factor = max(0, rows) / whole
        roles = {name: _scaled(role, factor) for name, role in self.roles.items()}
        return replace(self, roles=roles, rows=rows if self.rows else 0)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The user's settings for a plan.

    Attributes:
        chat_hours: Hours of chat with the trained agents.
        budget_usd: For training all `roles`; None for no limit.
        provider: Empty for all providers.
        model: A base model by any known name; empty for the default of `size`.
        roles: The agents to train.
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
    """A provider's answer about this account.

    Attributes:
        allowed: Whether the account may fine-tune; None if the answer does not say.
        words: The provider's own words.
        at: When it was asked, UTC.
        key_ok: Whether the key was accepted; None if that is not known.
    """

    allowed: bool | None
    words: str
    at: str
    key_ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """What this machine and the user's accounts offer, read once.

    Attributes:
        keys: Names of environment variables that hold a key, never values.
        unsloth: Whether Unsloth is installed.
        embedded_tokens_per_second: The embedded engine's speed as past jobs measured it here;
            None before the first.
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
        terms = list(amounts)
        return cls.of(
            math.fsum(each.low for each in terms),
            math.fsum(each.expected for each in terms),
            math.fsum(each.high for each in terms),
        )

    def times(self, factor: float) -> Money:
        return Money.of(self.low * factor, self.expected * factor, self.high * factor)

    def to_json(self) -> dict[str, float]:
        return {"low": self.low, "expected": self.expected, "high": self.high}


FREE: Final = Money(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class CostItem:
    """One item of a cost."""

    what: str
    usd: Money


@dataclass(frozen=True, slots=True)
class RentedMachine:
    """The kind of machine that each agent's job gets for itself.

    Attributes:
        flavor: The provider's name for it.
        usd_per_hour: USD per hour.
        seconds: By role, from machine start to the end of the job: low, expected, high.
    """

    flavor: str
    usd_per_hour: Money
    seconds: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What training the agents at one provider costs, and whether it is possible.

    Attributes:
        kind: What the provider is paid for.
        roles: The agents to train.
        reason: Why it is in this state, in words, and what to use instead.
        training_tokens: Tokens trained, over all epochs and agents.
        total: The sum of `parts`; None without a sourced price, as `missing` says.
        seconds: Training all agents, low to high, waiting for a machine included.
        price_as_of: Date of the oldest price used; `price_stale`: older than `STALE_DAYS`.
        blockers: What would be refused, each with what to do about it.
        notes: How figures were computed.
        rented: The machine, where each agent's job gets its own.
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
    kind: ProviderKind = "tokens"

    def to_json(self) -> dict[str, Any]:
        """The row as `plan --json` prints it."""
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
            "parts": [{"what": item.what, "usd": item.usd.to_json()} for item in self.parts],
            "duration_s": seconds,
            "price_as_of": self.price_as_of.isoformat() if self.price_as_of else None,
            "price_source": self.price_source,
            "price_stale": self.price_stale,
            "blockers": list(self.blockers),
            "warnings": list(self.warnings),
            "notes": list(self.notes),
        }


def _scaled(role: RoleWorkload, factor: float) -> RoleWorkload:
    def times(value: int) -> int:
        return int(value * factor + 0.5)

    return replace(
        role,
        rows=times(role.rows),
        valid_rows=times(role.valid_rows),
        tokens=times(role.tokens),
        valid_tokens=times(role.valid_tokens),
        bytes=times(role.bytes),
        counts={
            name: replace(count, tokens=times(count.tokens), valid_tokens=times(count.valid_tokens))
            for name, count in role.counts.items()
        },
    )
