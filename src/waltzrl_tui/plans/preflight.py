"""What would be refused after the upload, found before it: limits in words, with what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date

from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.plans.model import PlanSettings, Workload
from waltzrl_tui.plans.schema import BaseModelEntry, ProviderEntry, ProviderLimits
from waltzrl_tui.plans.training_tokens import TrainingTokens
from waltzrl_tui.records.roles import Method, Role
from waltzrl_tui.words import plural

TAG_LENGTH = 8
"""Characters of the tag that names a job in the provider's suffix field: `k3f-conv`."""

_METHODS: dict[Method, str] = {"sft": "SFT", "dpo": "DPO"}


@dataclass
class Findings:
    """What stands in the way, what may go wrong, and how things were computed."""

    blockers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def steps_for(rows: int, epochs: float, batch_rows: int) -> int:
    """Optimizer steps of `epochs` passes over `rows` rows."""
    return math.ceil(rows * epochs / batch_rows)


def epochs_for(rows: int, steps: int, batch_rows: int) -> float:
    """The passes over `rows` rows that `steps` optimizer steps make (0 without rows)."""
    return steps * batch_rows / rows if rows else 0.0


def preflight(
    provider: ProviderEntry,
    model: BaseModelEntry | None,
    workload: Workload,
    settings: PlanSettings,
    tokens: TrainingTokens,
    today: date,
) -> Findings:
    """Check what is known of the provider's limits against what would be sent."""
    found = Findings()
    _data(workload, settings, found)
    if settings.method not in provider.methods:
        offered = " and ".join(_METHODS[each] for each in provider.methods)
        found.blockers.append(
            f"{_METHODS[settings.method]} is not offered here, {offered} is: choose that or "
            "another row"
        )
    elif settings.method == "dpo":
        found.warnings.append(
            "DPO prefers a good answer to a bad one; prompts without a bad one are left "
            "out, and tokens are counted twice"
        )
    _epochs(provider.limits, settings, found)
    _sizes(provider, model, workload, tokens, found)
    batch = provider.limits.batch_rows
    if batch and workload.roles:
        steps = [
            f"{role} {steps_for(file.rows, settings.epochs, batch):,}"
            for role, file in workload.roles.items()
        ]
        found.notes.append(
            f"{settings.epochs:g} epochs are these steps at {batch} rows each: {', '.join(steps)}"
        )
    if provider.limits.concurrent_jobs == 1 and len(workload.roles) > 1:
        found.notes.append("one job at a time: the second agent waits for the first")
    if provider.limits.max_suffix is not None and provider.limits.max_suffix < TAG_LENGTH:
        found.blockers.append(
            f"a job's name may have {provider.limits.max_suffix} characters, its tag has "
            f"{TAG_LENGTH}: jobs could not be found again"
        )
    if provider.ends is not None and today < provider.ends:
        found.warnings.append(f"ends for all on {provider.ends.isoformat()}")
    return found


def _data(workload: Workload, settings: PlanSettings, found: Findings) -> None:
    conversation, feedback = workload.roles.get("conversation"), workload.roles.get("feedback")
    if "conversation" in settings.roles and (conversation is None or not conversation.rows):
        found.blockers.append(
            "no row has a reply for the conversation agent to learn: give the dataset replies, "
            f"{_alone('feedback', workload)}or take one that has them"
        )
    if "feedback" in settings.roles and (feedback is None or not feedback.rows):
        found.blockers.append(
            "no row has a label (harmful or benign) for the feedback agent to learn from: correct "
            f"the mapping, {_alone('conversation', workload)}or take a labelled dataset"
        )
    if workload.misordered:
        found.blockers.append(
            f"{plural(workload.misordered, 'chat')} without alternating user and assistant turns: "
            "leave those rows out"
        )
    if workload.empty_replies and conversation is not None and conversation.rows:
        found.warnings.append(
            f"{workload.empty_replies:,} rows with an empty reply are left out, not uploaded"
        )
    if workload.unlabelled and feedback is not None and feedback.rows:
        found.warnings.append(
            f"{workload.unlabelled:,} rows without a label teach the conversation agent only"
        )
    if workload.contradicting and feedback is not None and feedback.rows:
        found.warnings.append(contradiction_warning(workload.contradicting))
    if not settings.epochs > 0:
        found.blockers.append("0 epochs train nothing: choose more")


def _alone(role: Role, workload: Workload) -> str:
    """The way on where only this role can be trained."""
    file = workload.roles.get(role)
    return f"train the {role} agent alone (--role {role}), " if file and file.rows else ""


def _epochs(limits: ProviderLimits, settings: PlanSettings, found: Findings) -> None:
    if limits.max_epochs is not None and settings.epochs > limits.max_epochs:
        found.blockers.append(
            f"{settings.epochs:g} epochs are more than the {limits.max_epochs:g} that are taken: "
            f"choose {limits.max_epochs:g} or fewer"
        )
    if limits.whole_epochs and settings.epochs > 0 and settings.epochs != int(settings.epochs):
        below = max(1, math.floor(settings.epochs))
        found.blockers.append(
            f"only whole epochs are taken, not {settings.epochs:g}: choose {below} or {below + 1}"
        )


def _sizes(
    provider: ProviderEntry,
    model: BaseModelEntry | None,
    workload: Workload,
    tokens: TrainingTokens,
    found: Findings,
) -> None:
    limits = provider.limits
    for role, file in workload.roles.items():
        if limits.min_rows is not None and 0 < file.rows < limits.min_rows:
            found.blockers.append(
                f"the {role} file has {file.rows:,} rows, {limits.min_rows:,} are the least that "
                "is taken: raise the sample"
            )
        if limits.max_rows is not None and file.rows > limits.max_rows:
            found.blockers.append(
                f"the {role} file has {file.rows:,} rows, {limits.max_rows:,} are the most that "
                "is taken: lower the sample"
            )
        if limits.max_file_bytes is not None and file.bytes > limits.max_file_bytes:
            found.blockers.append(
                f"the {role} file has {file.bytes / 1e6:,.0f} MB, "
                f"{limits.max_file_bytes / 1e6:,.0f} MB are the most that is taken: lower the "
                "sample"
            )
    context = model.context if model else 0
    longest = tokens.longest
    if context and longest > context:
        found.blockers.append(
            f"the longest row has {longest:,} tokens, the model reads {context:,}: leave out long "
            "rows"
        )
    elif limits.max_sequence is not None and longest > limits.max_sequence:
        kind = "left out" if provider.kind == "embedded" else "refused or cut"
        found.warnings.append(
            f"the longest row has {longest:,} tokens; rows above {limits.max_sequence:,} are {kind}"
        )
