"""The expected duration of a training, from earlier ones on this machine only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.local.params import PrepareParams, TrainParams
from waltzrl_tui.store import JobRow, Store

if TYPE_CHECKING:
    from waltzrl_tui.training.launch import Stage1


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds for a launch, at the speed of the launch `after` (the first part of its ids)."""

    seconds: float
    after: str


async def estimate(store: Store, plan: Stage1, rows: int) -> TimeEstimate | None:
    """The time for `plan` over `rows` rows, or None when a part of it was never measured.

    Each part (rollouts, then each agent) takes as long per row as the last one that succeeded
    with the same model and settings.
    """
    done = [
        job
        for job in await store.jobs.list(ended=True)
        if job.state == "succeeded" and job.embedded
    ]
    sizes = {sample.id: sample.rows for sample in await store.samples.list()}
    model = plan.model
    seconds = 0.0
    after = ""
    for role in ("both", *plan.roles):
        for job in done:
            took = _seconds(job)
            size = sizes.get(job.sample_id or 0, 0)
            if job.role == role and took and size and _same(job, plan, model):
                seconds += took / size * rows
                after = job.launch
                break
        else:
            return None
    return TimeEstimate(seconds, after)


def _same(job: JobRow, plan: Stage1, model: str) -> bool:
    if model and job.model != model:
        return False
    settings = plan.settings
    try:
        if job.kind == "rollouts":
            done = PrepareParams.from_json(job.params)
            return (done.judged, done.rollout_tokens) == (settings.judged, settings.rollout_tokens)
        return job.role != "both" and (
            TrainParams.from_json(job.params).settings == settings.settings(job.role)
        )
    except WaltzError:
        return False  # written by a version with other settings


def _seconds(job: JobRow) -> float | None:
    if not (job.started_at and job.ended_at):
        return None
    span = datetime.fromisoformat(job.ended_at) - datetime.fromisoformat(job.started_at)
    return span.total_seconds()
