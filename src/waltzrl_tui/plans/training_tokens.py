"""The tokens that a plan pays for: counted by the model's own tokenizer, or estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from waltzrl_tui.plans.model import PlanSettings, Workload
from waltzrl_tui.plans.schema import BaseModelEntry
from waltzrl_tui.records.roles import Role
from waltzrl_tui.tokenizers.estimate import ESTIMATE_ERROR


@dataclass(frozen=True, slots=True)
class RoleTokens:
    """One role: tokens trained over all epochs, and read in all evaluations."""

    role: Role
    trained: int
    validated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTokens:
    """The tokens of all roles.

    Attributes:
        longest: Tokens of the longest row.
        exact: Whether the model's own tokenizer counted all of them.
        error: Relative error of the counts, 0 if exact.
        tokenizer: The names of the tokenizers, or "estimate".
    """

    roles: tuple[RoleTokens, ...]
    trained: int
    validated: int
    longest: int
    exact: bool
    error: float
    tokenizer: str


def count_training_tokens(
    workload: Workload, settings: PlanSettings, model: BaseModelEntry | None
) -> TrainingTokens:
    """The tokens of training on `workload`.

    DPO reads a preference pair twice, once with each reply, so its tokens count twice. There is
    one evaluation per epoch.

    Args:
        model: Its tokenizer's counts are used where the workload has them.
    """
    tokenizer = model.tokenizer if model else ""
    exact = bool(workload.roles)
    error = 0.0
    longest = 0
    names = set()
    roles = []
    passes = 2 if settings.method == "dpo" else 1
    evaluations = math.ceil(settings.epochs)
    for role, file in workload.roles.items():
        count = file.counts.get(tokenizer)
        if count is not None:
            tokens, valid, role_longest = count.tokens, count.valid_tokens, count.longest
            names.add(tokenizer)
        else:
            tokens, valid, role_longest = file.tokens, file.valid_tokens, file.longest
            if not (file.exact and file.tokenizer == tokenizer):
                exact = False
                # Another model's tokenizer is off by about as much as the estimate.
                error = max(error, file.error or ESTIMATE_ERROR)
            names.add(file.tokenizer)
        longest = max(longest, role_longest)
        trained = int(tokens * settings.epochs * passes + 0.5)
        roles.append(RoleTokens(role, trained, valid * evaluations * passes))
    return TrainingTokens(
        roles=tuple(roles),
        trained=sum(role.trained for role in roles),
        validated=sum(role.validated for role in roles),
        longest=longest,
        exact=exact,
        error=0.0 if exact else error,
        tokenizer=", ".join(sorted(names)),
    )
