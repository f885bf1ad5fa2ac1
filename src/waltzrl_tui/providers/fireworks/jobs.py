"""Reads Fireworks' SFT and DPO jobs."""

from __future__ import annotations

from typing import Any, Final

from waltzrl_tui.providers.protocol import RemoteJob, RemoteState

DPO: Final = "dpoJobs/"
"""In the names of DPO jobs, which Fireworks keeps apart."""

_STATES: Final[dict[str, RemoteState]] = {
    "UNSPECIFIED": "queued",
    "CREATING": "queued",
    "PENDING": "queued",
    "VALIDATING": "queued",
    "CREATING_INPUT_DATASET": "queued",
    "RE_QUEUEING": "queued",
    "RUNNING": "running",
    "WRITING_RESULTS": "running",
    "IDLE": "running",
    "PAUSED": "running",
    "CANCELLING": "running",
    "COMPLETED": "succeeded",
    "EARLY_STOPPED": "succeeded",
    "FAILED": "failed",
    "EXPIRED": "failed",
    "CANCELLED": "cancelled",
    "DELETING": "cancelled",
    "DELETING_CLEANING_UP": "cancelled",
    "DELETED": "cancelled",
}
ENDED: Final = ("succeeded", "failed", "cancelled")


def last(name: Any) -> str:
    """The id at the end of a resource name (`accounts/me/models/x`)."""
    return str(name or "").rpartition("/")[2]


def state_of(job: Any) -> tuple[RemoteState, str]:
    """Our state of a job and the vendor's word for it; the first one when it reports none."""
    word = str(job.state or "JOB_STATE_UNSPECIFIED")
    return _STATES.get(word.removeprefix("JOB_STATE_"), "unknown"), word


def job_of(each: Any) -> RemoteJob:
    state, word = state_of(each)
    preference = DPO in str(each.name)
    training = each.training_config if preference else each
    name = last(each.name)
    return RemoteJob(
        f"{DPO}{name}" if preference else name,
        name,
        state,
        word,
        str((training.base_model or training.warm_start_from or "") if training else ""),
        str(each.create_time or ""),
    )


def result_of(job: Any) -> str:
    """The resource name of a job's model; without one, the model's id is the job's."""
    training = job.training_config if DPO in str(job.name) else job
    name = str((training.output_model if training else "") or last(job.name))
    return name if "/" in name else f"accounts/{str(job.name).split('/')[1]}/models/{name}"


def fraction_of(job: Any, progress: Any) -> float | None:
    """Progress of the whole job (0 to 1): the vendor reports percent of the current epoch."""
    if progress is None or progress.percent is None:
        return None
    done = (progress.epoch or 0) + progress.percent / 100
    return float(min(1.0, max(0.0, done / (job.epochs or 1))))


def cost_of(job: Any) -> float | None:
    # The only figure that the vendor reports, also once the job has ended.
    money = getattr(job, "estimated_cost", None)
    return usd_of(money.currency_code, money.units, money.nanos) if money else None


def usd_of(currency: Any, units: Any, nanos: Any) -> float | None:
    """An amount in dollars; None in another currency."""
    if currency not in (None, "", "USD"):
        return None
    return float(int(units or 0) + int(nanos or 0) / 1e9)
