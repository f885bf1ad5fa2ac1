"""Stage 1 on the embedded engine: from a dataset to a trained pair, as three jobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.sampling.sampling import Sample, SampleRecipe, draw
from waltzrl_tui.errors import DatasetError, UsageError, WaltzError
from waltzrl_tui.jobs.launch import launch as launch_worker
from waltzrl_tui.local.optional_deps import require
from waltzrl_tui.local.params import PairNames, PrepareParams, TrainParams
from waltzrl_tui.local.prepare import write_rows
from waltzrl_tui.local.recipe import FULL, QUICK, Recipe
from waltzrl_tui.local.weights import DEFAULT_MODEL, file_sha256
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.store import JobRow, NewJob, PairRow, Store
from waltzrl_tui.training_data.rendering import teaches_feedback
from waltzrl_tui.training_data.teacher import Teacher
from waltzrl_tui.waltz.prompts import default_prompt
from waltzrl_tui.workspace import Workspace

SUFFIX: Final[dict[Role, str]] = {"conversation": "conv", "feedback": "feed"}
"""What the id of a training job ends with, by role."""


@dataclass(frozen=True)
class Stage1:
    """A training on the embedded engine.

    Attributes:
        recipe: Draws the rows; its source is the dataset's file.
        roles: The agents to train; both make a pair.
        model: The base: empty for the embedded default, else a path or hub id.
        epochs: Passes over the rows, None for the recipe's own number.
        quick: Use the settings that take minutes.
        name: Base of the names of agents and pair; empty for the dataset's name.
        overrides: Training settings by role that replace the recipe's.
        base_sha256: Of the sample that this one extends; checked when it is drawn.
        teacher: Writes the feedback of feedback rows; templates without one.
    """

    recipe: SampleRecipe
    roles: tuple[Role, ...] = ROLES
    model: str = ""
    epochs: float | None = None
    quick: bool = False
    name: str = ""
    overrides: tuple[tuple[Role, dict[str, Any]], ...] = ()
    base_sha256: str = ""
    teacher: Teacher | None = None

    @property
    def settings(self) -> Recipe:
        """Rollouts, rendering and training, with this plan's changes."""
        chosen = QUICK if self.quick else FULL
        for role in ROLES:
            mine = [values for changed, values in self.overrides if changed == role]
            changes: dict[str, Any] = {name: each[name] for each in mine for name in each}
            if self.epochs is not None:
                changes["epochs"] = self.epochs
            if changes:
                before = chosen.settings(role)
                after: Any = type(before).from_json({**before.to_json(), **changes})
                chosen = replace(chosen, **{role: after})
        return chosen


async def launch(
    store: Store, workspace: Workspace, plan: Stage1, sample: Sample | None = None
) -> list[JobRow]:
    """Draw the sample, write the jobs into the store, and start their workers.

    The workers outlive this process: one samples the base and renders the files, then one per
    agent trains on them.

    Args:
        sample: The result of `draw_sample` for this plan, if already drawn.

    Returns:
        The jobs: `xyz-prep`, then `xyz-conv` and `xyz-feed` by the plan's roles.

    Raises:
        DatasetError: The dataset cannot be read, or has no row that can train the agents.
        EngineError: The engine is not installed, or a worker cannot be started.
        UsageError: A value of the plan is out of range.
    """
    await asyncio.to_thread(require)
    if plan.epochs is not None and not 0 < plan.epochs <= 100:
        raise UsageError(
            f"{plan.epochs:g} is not a valid number of epochs.",
            hint="Choose a number above 0, up to 100.",
        )
    if sample is None:
        sample = await asyncio.to_thread(draw_sample, plan.recipe, plan.base_sha256, plan.roles)
    started = await begin_launch(store, plan.recipe, sample, plan.name)
    jobs = _jobs(workspace, plan, sample, started)
    await asyncio.to_thread(_write_sample, workspace.job_dir(jobs[0].id), sample)
    await store.jobs.add_all(jobs)
    for job in jobs:
        try:
            await launch_worker(workspace, job.id)
        except WaltzError as error:
            await store.jobs.move(job.id, "failed", from_states={"queued"}, error=str(error))
            raise
    return await store.jobs.some([job.id for job in jobs])


def draw_sample(
    recipe: SampleRecipe, base_sha256: str = "", roles: Sequence[Role] = ROLES
) -> Sample:
    """Draw the sample of the recipe's source. Reads the whole file: not on the event loop.

    Args:
        base_sha256: Hash of the sample that it extends, to be checked.
        roles: The agents to train; only a feedback agent needs labels.

    Raises:
        DatasetError: No row can train them; the message says what is missing.
    """

    def usable(rows: Sequence[Row]) -> list[Row]:
        labelled = "feedback" in roles
        return [row for row in rows if row.reply and (row.harm or row.reply_label or not labelled)]

    sample = draw(open_dataset(recipe.source), recipe, base_sha256=base_sha256)
    rows = [*sample.train, *sample.valid]
    if not any(row.reply and ("feedback" not in roles or teaches_feedback(row)) for row in rows):
        answered = any(row.reply for row in rows)
        missing = "harm labels" if answered else "replies"
        agents = "a pair" if len(roles) > 1 else f"the {roles[0]} agent"
        alone = answered and "conversation" in roles
        raise DatasetError(
            f"No row of {Path(recipe.source).name} can train {agents}: its rows have no {missing}.",
            hint="The conversation agent alone can learn from them: --role conversation."
            if alone
            else 'Give rows with "prompt", "harm" ("harmful" or "benign") and "reply".',
        )
    return replace(sample, train=usable(sample.train), valid=usable(sample.valid))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStart:
    """What the jobs of a new launch share.

    Attributes:
        sample_id: The recorded sample.
        prefix: What their ids begin with.
        name: What their agents and the pair are named after; no other has this name.
    """

    sample_id: int
    prefix: str
    name: str


async def begin_launch(
    store: Store, recipe: SampleRecipe, sample: Sample, name: str = ""
) -> LaunchStart:
    """Record the sample of a launch and choose its names, `name` or else the dataset's."""
    source = Path(recipe.source)
    row = await store.samples.add(
        source=source,
        source_sha256=await asyncio.to_thread(file_sha256, source),
        recipe=recipe.to_json() | {"dropped": sample.dropped},
        sha256=sample.sha256,
        rows=len(sample.train) + len(sample.valid),
    )
    return LaunchStart(
        sample_id=row.id,
        prefix=await store.jobs.launch_prefix(),
        name=await _free_name(store, name or _stem(source)),
    )


async def result_pair(store: Store, job_ids: Iterable[str]) -> PairRow | None:
    """The pair of a launch, once both its agents are trained."""
    names = {job.pair for job in await store.jobs.some(job_ids) if job.kind == "train"}
    return next((pair for pair in await store.agents.pairs() if pair.name in names), None)


def _jobs(workspace: Workspace, plan: Stage1, sample: Sample, started: LaunchStart) -> list[NewJob]:
    settings = plan.settings
    prompts = {role: default_prompt(role) for role in ROLES}
    name = started.name
    pair = PairNames(name=name, conversation=f"{name}-conversation", feedback=f"{name}-feedback")
    model = plan.model or DEFAULT_MODEL
    prepare = f"{started.prefix}-prep"
    folder = workspace.job_dir(prepare)
    jobs = [
        NewJob(
            prepare,
            "rollouts",
            "both",
            model,
            state="queued",
            reason="starting",
            sample_id=started.sample_id,
            params=PrepareParams(
                train_rows=str(folder / "sample-train.jsonl"),
                valid_rows=str(folder / "sample-valid.jsonl"),
                judged=settings.judged,
                rollout_tokens=settings.rollout_tokens,
                revisions=settings.revisions,
                refusals_within=settings.refusals_within,
                prompts=prompts,
                roles=plan.roles,
                teacher=plan.teacher,
            ).to_json(),
        )
    ]
    for role in plan.roles:
        jobs.append(
            NewJob(
                f"{started.prefix}-{SUFFIX[role]}",
                "train",
                role,
                model,
                state="queued",
                reason="starting",
                depends_on=(prepare,),
                sample_id=started.sample_id,
                params=TrainParams(
                    train_file=str(folder / f"{role}-train.jsonl"),
                    valid_file=str(folder / f"{role}-valid.jsonl") if sample.valid else "",
                    settings=settings.settings(role),
                    prompt=prompts[role],
                    agent=f"{name}-{role}",
                    pair=pair,
                ).to_json(),
            )
        )
    return jobs


async def _free_name(store: Store, base: str) -> str:
    """`base`, or `base-2` …, whichever no pair, agent or launch uses."""
    taken = {pair.name for pair in await store.agents.pairs()}
    for agent in await store.agents.list():
        taken |= {agent.name.removesuffix(f"-{role}") for role in ROLES}
    for job in await store.jobs.list(limit=-1):
        if job.kind == "train" and job.state != "cancelled":
            taken.add(job.pair)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return name


def _stem(source: Path) -> str:
    return re.sub(r"[^\w.-]+", "-", source.name.partition(".")[0]).strip("-")[:40] or "agents"


def _write_sample(folder: Path, sample: Sample) -> None:
    write_rows(folder / "sample-train.jsonl", sample.train)
    write_rows(folder / "sample-valid.jsonl", sample.valid)
