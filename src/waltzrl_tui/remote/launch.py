"""A launch at a provider: files and price first, then, once approved, intents in the store."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.sampling.sampling import Sample, SampleRecipe, draw
from waltzrl_tui.errors import UsageError
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.environment import read_environment
from waltzrl_tui.plans.model import PlanRow, PlanSettings, Workload
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.tokenizers import counters_for
from waltzrl_tui.plans.workload import measure_role, render_rows, roles_alternate
from waltzrl_tui.providers.protocol import Provider, TuneRequest
from waltzrl_tui.providers.registry import provider_names
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.records.roles import ROLES, Method, Role
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.tokenizers.counting import TokenCounter
from waltzrl_tui.training.launch import SUFFIX, LaunchStart, begin_launch
from waltzrl_tui.training_data.preferences import conversation_preferences, feedback_preferences
from waltzrl_tui.training_data.provider_formats import Style, bedrock_style
from waltzrl_tui.training_data.training_file import TrainingFile, TrainingRow, write_training
from waltzrl_tui.waltz.prompts import default_prompt
from waltzrl_tui.workspace import Workspace

Rendered = dict[str, list[TrainingRow]]
"""Training rows by split: `train` and `valid`."""

FeedbackWriter = Callable[[list[TrainingRow]], Awaitable[tuple[list[TrainingRow], dict[str, str]]]]
"""Returns the rows in the same order with their feedback written, and who wrote it."""

_TIMEOUT_FACTOR: Final = 1.5
_LEAST_TIMEOUT: Final = 900.0


@dataclass(frozen=True)
class RemoteLaunch:
    """A training to launch at a provider.

    Attributes:
        recipe: Draws the rows; its source is the dataset's file.
        settings: Agents, epochs, method, budget (USD, for all agents' training), and the base:
            `model` by any known name, "" for the catalogue's choice of `size`.
        url: Replaces the provider's address.
        options: Further settings by the provider's names.
        base_sha256: Of the sample that this one extends; checked when it is drawn.
    """

    recipe: SampleRecipe
    provider: str
    settings: PlanSettings
    name: str = ""
    url: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    base_sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class LaunchQuote:
    """The content and cost of a launch; nothing has been written or sent.

    Attributes:
        row: The plan's row, without hours of chat.
        model: The base, by the provider's own name.
        usd: Expected cost by role, USD. `high`: the most, by the catalogue.
        blockers: Reasons why it cannot be launched.
        payloads: By role, the body of the create call as known before the upload.
        rows: Training rows by role and split.
        written: The teacher that wrote the feedback file, if any.
        style: Format of the files.
    """

    plan: RemoteLaunch
    sample: Sample
    rows: Mapping[Role, Rendered]
    written: Mapping[str, str]
    style: Style
    workload: Workload
    row: PlanRow
    model: str
    usd: Mapping[Role, float]
    high: Mapping[Role, float]
    blockers: tuple[str, ...]
    payloads: Mapping[Role, dict[str, Any]]

    @property
    def total(self) -> float:
        return sum(self.usd.values())

    @property
    def most(self) -> float:
        """The approved limit, USD: a job that its provider prices higher is not created."""
        return sum(self.high.values())


async def quote(
    store: Store,
    workspace: Workspace,
    providers: Providers,
    plan: RemoteLaunch,
    teacher: FeedbackWriter | None = None,
) -> LaunchQuote:
    """Draw the sample, price it, and check the provider's known limits.

    Args:
        teacher: Writes the feedback once there are no blockers; its rows are then priced.

    Raises:
        DatasetError: The dataset cannot be read, or has no usable row.
        UsageError: The provider is unknown, or a setting is out of range.
    """
    catalogue = await asyncio.to_thread(load_catalogue, workspace)
    if plan.provider not in provider_names():
        raise UsageError(
            f"There is no provider {plan.provider!r} to train at.",
            hint=f"There are embedded, {', '.join(provider_names())}. "
            "See: waltzrl-tui train --help",
        )
    if plan.provider not in catalogue.provider:
        raise UsageError(
            f"{plan.provider} is not in the catalogue, so its cost cannot be estimated.",
            hint="Add its prices to plans.toml in the workspace; see docs/plans.md.",
        )
    settings = replace(plan.settings, provider=plan.provider, chat_hours=0.0)
    sample = await asyncio.to_thread(_drawn, plan)
    method = plan.settings.method
    rows = {
        role: await asyncio.to_thread(_rendered, role, sample, method) for role in settings.roles
    }
    counters = await asyncio.to_thread(counters_for, catalogue, workspace, settings)
    workload = await asyncio.to_thread(_load_of, plan, rows, counters)
    environment = await read_environment(store, workspace)
    row = price_plans(catalogue, workload, settings, environment)[0]
    provider = await providers.get(plan.provider, plan.url)
    # The model sent is the one priced, perhaps under another name.
    model = own_name(catalogue, plan.provider, row.model)
    blockers = _blockers(row, provider, plan, rows)
    written: dict[str, str] = {}
    if teacher is not None and "feedback" in rows and not blockers:
        rows["feedback"], written = await _write_feedback(teacher, rows["feedback"])
        train, valid = rows["feedback"]["train"], rows["feedback"]["valid"]
        role_load = await asyncio.to_thread(measure_role, train, valid, counters)
        workload = replace(workload, roles=dict(workload.roles) | {"feedback": role_load})
        row = price_plans(catalogue, workload, settings, environment)[0]
        blockers = _blockers(row, provider, plan, rows)
    usd, high = _shares(row, workload)
    requests = {role: _request(plan, role, model, workload, row) for role in workload.roles}
    payloads = {role: provider.payload(each) for role, each in requests.items()}
    return LaunchQuote(
        plan=plan,
        sample=sample,
        rows=rows,
        written=written,
        style=_style(provider, model, method),
        workload=workload,
        row=row,
        model=model,
        usd=usd,
        high=high,
        blockers=tuple(blockers),
        payloads=payloads,
    )


async def launch(store: Store, workspace: Workspace, quoted: LaunchQuote) -> list[JobRow]:
    """Write the files and the intents; a supervisor does the rest.

    The caller has shown the quote and got the user's approval.

    Raises:
        UsageError: The quote has blockers.
        DatasetError: A file cannot be written.
    """
    if quoted.blockers:
        raise UsageError(f"This cannot be launched: {quoted.blockers[0]}.")
    plan = quoted.plan
    started = await begin_launch(store, plan.recipe, quoted.sample, plan.name)
    jobs = []
    for role in plan.settings.roles:
        job_id = f"{started.prefix}-{SUFFIX[role]}"
        folder = workspace.job_dir(job_id)
        files = await asyncio.to_thread(_write, folder, quoted.rows[role], quoted.style)
        recipe: dict[str, Any] = {"prompt": default_prompt(role), "provider": plan.provider}
        if role == "feedback" and quoted.written:
            recipe["teacher"] = dict(quoted.written)
        for split, file in files.items():
            await store.samples.add_file(
                started.sample_id,
                role=role,
                split="train" if split == "train" else "valid",
                path=file.path,
                rows=file.rows,
                tokens=file.tokens,
                sha256=file.sha256,
                recipe=recipe,
            )
        jobs.append(_job(quoted, role, job_id, started, files))
    return await store.remote.add(jobs)


def _drawn(plan: RemoteLaunch) -> Sample:
    dataset = open_dataset(plan.recipe.source)
    return draw(dataset, plan.recipe, base_sha256=plan.base_sha256)


def _load_of(
    plan: RemoteLaunch, rows: Mapping[Role, Rendered], counters: Sequence[TokenCounter]
) -> Workload:
    """The workload of the rows to send."""
    files = {
        role: measure_role(splits["train"], splits["valid"], counters)
        for role, splits in rows.items()
        if splits["train"]
    }
    every = [row for splits in rows.values() for row in (*splits["train"], *splits["valid"])]
    misordered = sum(not roles_alternate(row) for row in every)
    return Workload(files, Path(plan.recipe.source).name, misordered=misordered)


def own_name(catalogue: Catalogue, provider: str, model: str) -> str:
    """The provider's own name for a base model in the catalogue."""
    entry = catalogue.provider[provider]
    for offer in entry.offer.values():
        if offer.model == model and offer.id:
            return offer.id
    base = catalogue.base.get(model)
    return base.hub if base is not None and base.hub else model


def _blockers(
    row: PlanRow,
    provider: Provider,
    plan: RemoteLaunch,
    rows: Mapping[Role, Rendered],
) -> list[str]:
    blockers = [
        f"no row of this dataset can train the {role} agent by DPO"
        for role, splits in rows.items()
        if plan.settings.method == "dpo" and not splits["train"]
    ]
    blockers += row.blockers
    if row.state in ("closed", "needs_key", "needs_gpu"):
        blockers.append(row.reason)
    if plan.settings.method not in provider.capabilities.methods:
        blockers.append(f"{row.title} does not train by {plan.settings.method.upper()}")
    if row.total is None:
        blockers.append(row.missing)
    return list(dict.fromkeys(blockers))


def _shares(row: PlanRow, workload: Workload) -> tuple[dict[Role, float], dict[Role, float]]:
    """Expected and highest cost by role: the total, by each file's tokens."""
    if rented := row.rented:
        hours = {role: rented.seconds[role][1] / 3600 for role in workload.roles}
        most = {role: _timeout(rented.seconds[role][2]) / 3600 for role in workload.roles}
        return (
            {role: round(each * rented.usd_per_hour.expected, 6) for role, each in hours.items()},
            {role: round(each * rented.usd_per_hour.high, 6) for role, each in most.items()},
        )
    whole = sum(each.tokens for each in workload.roles.values()) or 1
    shares = {role: each.tokens / whole for role, each in workload.roles.items()}
    if row.total is None:
        return dict.fromkeys(shares, float("inf")), dict.fromkeys(shares, float("inf"))
    return (
        {role: round(row.total.expected * share, 6) for role, share in shares.items()},
        {role: round(row.total.high * share, 6) for role, share in shares.items()},
    )


def _machine(row: PlanRow, role: Role) -> dict[str, Any]:
    """The rented machine, its expected seconds and its time limit, as fields of an intent."""
    if row.rented is None:
        return {"timeout_s": None if row.seconds is None else _timeout(row.seconds[1])}
    seconds = row.rented.seconds[role]
    return {
        "machine": row.rented.flavor,
        "seconds": seconds[1],
        "timeout_s": _timeout(seconds[2]),
    }


def _timeout(seconds: float) -> float:
    """The time limit of a job expected to take at most `seconds`; it can cost until then."""
    return max(_LEAST_TIMEOUT, seconds * _TIMEOUT_FACTOR)


def _request(
    plan: RemoteLaunch, role: Role, model: str, workload: Workload, row: PlanRow
) -> TuneRequest:
    file = workload.roles[role]
    return TuneRequest(
        tag=f"…-{SUFFIX[role]}",
        role=role,
        model=model,
        method=plan.settings.method,
        training_file="",
        validation_file="",
        epochs=plan.settings.epochs,
        options=plan.options,
        rows=file.rows,
        valid_rows=file.valid_rows,
        tokens=file.tokens,
        **_machine(row, role),
    )


def _style(provider: Provider, model: str, method: Method) -> Style:
    if method == "dpo":
        return "preferences"
    style = provider.capabilities.style
    return bedrock_style(model) if style.startswith("bedrock") else style


async def _write_feedback(
    teacher: FeedbackWriter, rows: Rendered
) -> tuple[Rendered, dict[str, str]]:
    rewritten, written = await teacher([*rows["train"], *rows["valid"]])
    count = len(rows["train"])
    return {"train": rewritten[:count], "valid": rewritten[count:]}, written


def _write(folder: Path, rows: Rendered, style: Style) -> dict[str, TrainingFile]:
    files = {"train": write_training(folder / "train.jsonl", rows["train"], style)}
    if rows["valid"]:
        files["valid"] = write_training(folder / "valid.jsonl", rows["valid"], style)
    return files


def _rendered(role: Role, sample: Sample, method: Method) -> Rendered:
    return {
        "train": _rows(role, sample.train, method),
        "valid": _rows(role, sample.valid, method),
    }


def _rows(role: Role, rows: Sequence[Row], method: Method) -> list[TrainingRow]:
    if method == "sft":
        return render_rows(role, rows)
    version = default_prompt(role)
    # A reply not worth learning is the worse one of a pair.
    usable = [row for row in rows if row.reply and (row.harm or role == "conversation")]
    if role == "conversation":
        return conversation_preferences(usable, version)
    return feedback_preferences(usable, version)


def _job(
    quoted: LaunchQuote,
    role: Role,
    job_id: str,
    started: LaunchStart,
    files: Mapping[str, TrainingFile],
) -> tuple[NewJob, NewRemoteJob]:
    plan, high = quoted.plan, quoted.high[role]
    intent = LaunchIntent(
        epochs=plan.settings.epochs,
        options=dict(plan.options),
        **_machine(quoted.row, role),
        agreed_usd=None if high == float("inf") else high,
        agent=f"{started.name}-{role}",
        pair=started.name if len(plan.settings.roles) == len(ROLES) else "",
        prompt=default_prompt(role),
    )
    described = {
        split: IntentFile(
            path=str(file.path),
            sha256=file.sha256,
            bytes=file.path.stat().st_size,
            rows=file.rows,
            tokens=quoted.workload.roles[role].tokens if split == "train" else file.tokens,
        )
        for split, file in files.items()
    }
    job = NewJob(
        job_id,
        "train",
        role,
        quoted.model,
        # Unique beyond this workspace: another one may use the same account and ids.
        tag=f"{job_id}-{secrets.token_hex(2)}",
        provider=plan.provider,
        state="approved",
        sample_id=started.sample_id,
        params={
            "pair": {"name": started.name},
            "epochs": plan.settings.epochs,
            "method": plan.settings.method,
        },
        estimate_usd=quoted.usd[role],
    )
    return job, NewRemoteJob(job_id, plan.settings.method, described, intent, plan.url)
