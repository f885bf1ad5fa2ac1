"""What a provider would refuse after the upload, found before it; each with what to do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date

from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.plans.model import PlanSettings, Workload
from waltzrl_tui.plans.schema import BaseModelEntry, ProviderEntry, ProviderLimits
from waltzrl_tui.plans.training_tokens import TrainingTokens
from waltzrl_tui.records.roles import Method, Role
from waltzrl_tui.words import plural, size

TAG_LENGTH = 8
"""Characters of the tag that names a job in the provider's suffix field: `k3f-conv`."""

_METHODS: dict[Method, str] = {"sft": "SFT", "dpo": "DPO"}


@dataclass
class Findings:
    """What makes a plan impossible, what may go wrong, and how figures were computed."""

    blockers: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def steps_for(rows: int, epochs: float, batch_rows: int) -> int:
    """Optimizer steps of `epochs` passes over `rows` rows, `batch_rows` rows per step."""
    return math.ceil(rows * epochs / batch_rows)


def preflight(
    provider: ProviderEntry,
    model: BaseModelEntry | None,
    workload: Workload,
    settings: PlanSettings,
    tokens: TrainingTokens,
    today: date,
) -> Findings:
    """Check the workload and the settings against the provider's known limits.

    Args:
        model: The base model; None where none is known.
        tokens: Of the workload; the longest row is checked.
        today: Compared with the day on which the provider closes.
    """
    findings = Findings()
    _check_data(workload, settings, findings)
    if settings.method not in provider.methods:
        offered = " or ".join(_METHODS[method] for method in provider.methods)
        findings.blockers.append(
            f"{_METHODS[settings.method]} is not offered here: choose {offered}, or another "
            "provider"
        )
    elif settings.method == "dpo":
        findings.warnings.append(
            "DPO prefers a good answer to a bad one: prompts without a bad one are left out, and "
            "tokens count twice"
        )
    limits = provider.limits
    _check_epochs(limits, settings, findings)
    _check_sizes(limits, model, workload, tokens, findings)
    if limits.batch_rows and workload.roles:
        steps = [
            f"{role} {plural(steps_for(file.rows, settings.epochs, limits.batch_rows), 'step')}"
            for role, file in workload.roles.items()
        ]
        findings.notes.append(
            f"{_epochs(settings.epochs)}, {plural(limits.batch_rows, 'row')} per step: "
            f"{', '.join(steps)}"
        )
    if limits.concurrent_jobs == 1 and len(workload.roles) > 1:
        findings.notes.append("one job at a time: the second agent waits for the first")
    if limits.max_suffix is not None and limits.max_suffix < TAG_LENGTH:
        findings.blockers.append(
            f"a job's name may have {plural(limits.max_suffix, 'character')}, but its tag needs "
            f"{TAG_LENGTH}: jobs could not be found again"
        )
    if provider.ends is not None and today < provider.ends:
        findings.warnings.append(f"closes to everyone on {provider.ends.isoformat()}")
    return findings


def _check_data(workload: Workload, settings: PlanSettings, findings: Findings) -> None:
    conversation = workload.roles.get("conversation")
    feedback = workload.roles.get("feedback")
    if "conversation" in settings.roles and (conversation is None or not conversation.rows):
        findings.blockers.append(
            "no row has a reply for the conversation agent to learn: give the dataset replies, "
            f"{_train_alone('feedback', workload)}or choose a dataset that has them"
        )
    if "feedback" in settings.roles and (feedback is None or not feedback.rows):
        findings.blockers.append(
            "no row has a label (harmful or benign) for the feedback agent to learn from: correct "
            f"the mapping, {_train_alone('conversation', workload)}or choose a labelled dataset"
        )
    if workload.misordered:
        findings.blockers.append(
            f"{plural(workload.misordered, 'chat')} without alternating user and assistant turns: "
            "leave those rows out"
        )
    if workload.empty_replies and conversation is not None and conversation.rows:
        rows = plural(
            workload.empty_replies, "row with an empty reply is", "rows with an empty reply are"
        )
        findings.warnings.append(f"{rows} left out, not uploaded")
    if workload.unlabelled and feedback is not None and feedback.rows:
        findings.warnings.append(
            f"only the conversation agent learns from {plural(workload.unlabelled, 'row')} "
            "without a label"
        )
    if workload.contradicting and feedback is not None and feedback.rows:
        findings.warnings.append(contradiction_warning(workload.contradicting))
    if not settings.epochs > 0:
        findings.blockers.append("0 epochs train nothing: choose more")


def _train_alone(role: Role, workload: Workload) -> str:
    """The advice where only this role can be trained."""
    file = workload.roles.get(role)
    return f"train the {role} agent alone (--role {role}), " if file and file.rows else ""


def _check_epochs(limits: ProviderLimits, settings: PlanSettings, findings: Findings) -> None:
    epochs = settings.epochs
    if limits.max_epochs is not None and epochs > limits.max_epochs:
        findings.blockers.append(
            f"{_epochs(epochs)} exceed the limit of {limits.max_epochs:g}: choose "
            f"{limits.max_epochs:g} or fewer"
        )
    if limits.whole_epochs and epochs > 0 and epochs != int(epochs):
        below = max(1, math.floor(epochs))
        findings.blockers.append(
            f"only whole epochs are accepted, not {epochs:g}: choose {below} or {below + 1}"
        )


def _check_sizes(
    limits: ProviderLimits,
    model: BaseModelEntry | None,
    workload: Workload,
    tokens: TrainingTokens,
    findings: Findings,
) -> None:
    for role, file in workload.roles.items():
        rows = plural(file.rows, "row")
        if limits.min_rows is not None and 0 < file.rows < limits.min_rows:
            findings.blockers.append(
                f"the {role} file has {rows}, the minimum is {limits.min_rows:,}: choose a larger "
                "sample"
            )
        if limits.max_rows is not None and file.rows > limits.max_rows:
            findings.blockers.append(
                f"the {role} file has {rows}, the maximum is {limits.max_rows:,}: choose a "
                "smaller sample"
            )
        if limits.max_file_bytes is not None and file.bytes > limits.max_file_bytes:
            findings.blockers.append(
                f"the {role} file has {size(file.bytes)}, the maximum is "
                f"{size(limits.max_file_bytes)}: choose a smaller sample"
            )
    context = model.context if model else 0
    longest = plural(tokens.longest, "token")
    if context and tokens.longest > context:
        findings.blockers.append(
            f"the longest row has {longest}, the model reads {context:,}: leave out long rows"
        )
    elif limits.max_sequence is not None and tokens.longest > limits.max_sequence:
        fate = "left out" if limits.drops_long_rows else "refused or cut"
        findings.warnings.append(
            f"the longest row has {longest}; rows above {limits.max_sequence:,} are {fate}"
        )


def _epochs(epochs: float) -> str:
    return "1 epoch" if epochs == 1 else f"{epochs:g} epochs"
