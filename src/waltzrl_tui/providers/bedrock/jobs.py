"""Reads Bedrock's jobs and deployments, and writes its settings."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from waltzrl_tui.providers.protocol import (
    Deployment,
    DeploymentState,
    RemoteEvent,
    RemoteJob,
    RemoteState,
)

OURS: Final = "waltzrl "
"""What a deployment's description begins with when we made it; the tag follows."""

PROVISIONED: Final = ":provisioned-model/"
ENDED: Final = ("succeeded", "failed", "cancelled")

_STATES: Final[dict[str, RemoteState]] = {
    "InProgress": "running",
    "Stopping": "running",
    "Completed": "succeeded",
    "Failed": "failed",
    "Stopped": "cancelled",
}
_PHASES: Final = {
    "validationDetails": "validation of the data",
    "dataProcessingDetails": "processing of the data",
    "trainingDetails": "training",
}
_DEPLOYMENT_STATES: Final[dict[str, DeploymentState]] = {
    "creating": "starting",
    "active": "ready",
    "inservice": "ready",
    "updating": "ready",
    "failed": "failed",
}
_SETTINGS: Final = {
    "learning_rate": "learningRate",
    "learning_rate_warmup_steps": "learningRateWarmupSteps",
    "batch_size": "batchSize",
}


def state_of(job: Mapping[str, Any]) -> tuple[RemoteState, str]:
    """Our state of a job and the vendor's word: queued until the first of its phases begins."""
    word = str(job["status"])
    phases = [part.get("status") for part in _phases(job).values()]
    if word == "InProgress" and phases and set(phases) == {"NotStarted"}:
        return "queued", word
    return _STATES.get(word, "unknown"), word


def job_of(job: Mapping[str, Any]) -> RemoteJob:
    """A job, whole or from a list."""
    state, word = state_of(job)
    return RemoteJob(
        str(job["jobArn"]),
        str(job["jobName"]),
        state,
        word,
        model_of(str(job.get("baseModelArn") or "")),
        at_of(job.get("creationTime")),
    )


def events_of(job: Mapping[str, Any]) -> list[RemoteEvent]:
    """Where each of the job's phases stands, and its losses once it is complete."""
    events = []
    for name, title in _PHASES.items():
        part = _phases(job).get(name) or {}
        status = str(part.get("status") or "NotStarted")
        if status != "NotStarted":
            at = at_of(part.get("lastModifiedTime"))
            level: Any = "error" if status == "Failed" else "info"
            events.append(RemoteEvent(f"{name}:{status}", at, f"{title}: {status}", level))
    losses = [("training", (job.get("trainingMetrics") or {}).get("trainingLoss"))]
    losses += [
        ("validation", each.get("validationLoss")) for each in job.get("validationMetrics") or []
    ]
    texts = [f"{what} loss {loss:.4f}" for what, loss in losses if loss is not None]
    if texts:
        events.append(RemoteEvent("losses", at_of(job.get("endTime")), ", ".join(texts)))
    return events


def settings_of(epochs: float, options: Mapping[str, Any]) -> dict[str, str]:
    """Hyperparameters by Bedrock's names, all as text, numbers written out."""
    known = {
        _SETTINGS[name]: format(Decimal(str(value)), "f")
        for name, value in options.items()
        if name in _SETTINGS
    }
    return {"epochCount": str(max(1, round(epochs))), **known}


def deployment_of(each: Mapping[str, Any]) -> Deployment:
    """An on-demand deployment: it bills the tokens of chats and nothing while it is idle."""
    word = str(each["status"])
    about = str(each.get("description") or "")
    arn = str(each["customModelDeploymentArn"])
    return Deployment(
        arn,
        _DEPLOYMENT_STATES.get(word.lower(), "unknown"),
        word,
        arn,
        usd_per_hour=0.0,
        tag=about.removeprefix(OURS) if about.startswith(OURS) else "",
        words=str(each.get("failureMessage") or "billed by the token, not by the hour"),
    )


def provisioned_of(each: Mapping[str, Any]) -> Deployment:
    """Provisioned throughput that somebody bought: it is billed by the hour, at an untold price."""
    word = str(each["status"])
    arn = str(each["provisionedModelArn"])
    units = each.get("modelUnits")
    return Deployment(
        arn,
        _DEPLOYMENT_STATES.get(word.lower(), "unknown"),
        word,
        arn,
        words=f"provisioned throughput of {units} model units, billed by the hour",
    )


def model_of(arn: str) -> str:
    """A base model's id from its ARN; the ARN itself of a custom model."""
    return arn.partition(":foundation-model/")[2] or arn


def at_of(at: Any) -> str:
    return str(at.isoformat()) if hasattr(at, "isoformat") else ""


def _phases(job: Mapping[str, Any]) -> Mapping[str, Any]:
    return job.get("statusDetails") or {}
