"""The tokens that a plan pays for: counted by the model's own tokenizer, else estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass

from waltzrl_tui.plans.model import PlanSettings, Workload
from waltzrl_tui.plans.schema import BaseModelEntry
from waltzrl_tui.records.roles import Role
from waltzrl_tui.tokenizers.estimate import ESTIMATE_ERROR


@dataclass(frozen=True, slots=True)
class RoleTokens:
    """One role: tokens trained over all epochs, tokens of validation over all evaluations."""

    role: Role
    trained: int
    validated: int


@dataclass(frozen=True, slots=True)
class TrainingTokens:
    """All roles. `error` is the relative error of the counts, 0 when they are exact."""

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
    """What training on `workload` costs in tokens.

    A preference pair (DPO) is read twice, once with each reply, so its tokens count twice; there
    is one evaluation an epoch.
    """
    wanted = model.tokenizer if model else ""
    exact = bool(workload.roles)
    error = 0.0
    longest = 0
    names = set()
    roles = []
    twice = 2 if settings.method == "dpo" else 1
    evaluations = math.ceil(settings.epochs)
    for role, file in workload.roles.items():
        count = file.counts.get(wanted)
        if count is not None:
            tokens, valid, long = count.tokens, count.valid_tokens, count.longest
            names.add(wanted)
        else:
            tokens, valid, long = file.tokens, file.valid_tokens, file.longest
            if not (file.exact and file.tokenizer == wanted):
                exact = False
                # Another model's tokenizer is off by about as much as the estimate is.
                error = max(error, file.error or ESTIMATE_ERROR)
            names.add(file.tokenizer)
        longest = max(longest, long)
        trained = int(tokens * settings.epochs * twice + 0.5)
        roles.append(RoleTokens(role, trained, valid * evaluations * twice))
    return TrainingTokens(
        tuple(roles),
        sum(each.trained for each in roles),
        sum(each.validated for each in roles),
        longest,
        exact,
        0.0 if exact else error,
        ", ".join(sorted(names)),
    )
