"""The body of a job at Hugging Face, and what its answers about jobs come to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from waltzrl_tui.providers.errors import InvalidRequestError
from waltzrl_tui.providers.protocol import RemoteJob, RemoteState, TuneRequest
from waltzrl_tui.providers.worker_code import REQUIREMENTS, worker_code

STATES: Final[dict[str, RemoteState]] = {
    "SCHEDULING": "queued",
    "RUNNING": "running",
    "COMPLETED": "succeeded",
    "ERROR": "failed",
    "CANCELED": "cancelled",
    "DELETED": "cancelled",
}
IMAGE: Final = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""Debian with Python and uv: the one in which the vendor's own client runs uv scripts."""

SCRIPT: Final = """\
import json, os, sys
from huggingface_hub import hf_hub_download
job = json.loads(os.environ["WALTZRL_JOB"])
sys.path.insert(0, hf_hub_download(job["files"], job["code"], repo_type="dataset"))
from waltzrl_tui.local.remote_worker import main
sys.exit(main(job))
"""
TAG_LABEL: Final = "name"
"""Jobs are listed by it, and it is the name that the vendor's own screens show."""

SETTINGS: Final = (
    "learning_rate",
    "batch_rows",
    "micro_tokens",
    "max_tokens",
    "rank",
    "alpha",
    "last_layers",
    "valid_rows",
    "seed",
)
"""Of `local.recipe.TrainingSettings`, what the options of a request may change."""

_SECONDS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0}
_LONGEST: Final = 7200.0
"""Time limit of a job without another one, seconds."""

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(B|M)\b", re.I)
_BY_SIZE: Final = ((4.0, "a10g-small"), (9.0, "l40sx1"), (33.0, "a100-large"), (62.0, "h200"))
"""Machines by billions of parameters, for jobs without a plan: LoRA over bf16 weights."""


def repositories(account: str, tag: str) -> tuple[str, str]:
    """The dataset repository of all files of an account, and the model repository of one job."""
    return f"{account}/waltzrl-tui", f"{account}/waltzrl-{tag}"


def flavor_of(request: TuneRequest) -> str:
    """The machine for a request: the plan's, or one that holds a model of its name.

    Raises:
        InvalidRequestError: No single GPU there holds it, or its size is unknown.
    """
    flavor = str(request.options.get("flavor") or request.machine)
    if flavor:
        return flavor
    sizes = _SIZE.findall(request.model.rpartition("/")[2])
    if not sizes:
        raise InvalidRequestError(
            f"The size of {request.model} is not in its name.",
            hint="Name a machine with the option flavor, such as a10g-small.",
        )
    number, unit = sizes[-1]
    size = float(number) / (1 if unit in "Bb" else 1000)
    for most, flavor in _BY_SIZE:
        if size <= most:
            return flavor
    raise InvalidRequestError(
        f"{request.model} needs more than one GPU, and the worker uses one.",
        hint="Choose a smaller model, or another provider.",
    )


def body_of(request: TuneRequest, account: str) -> dict[str, Any]:
    """The body of the request that starts a job, without the secret token.

    Raises:
        InvalidRequestError: The worker cannot do it.
    """
    if request.from_model:
        raise InvalidRequestError(
            "A job at Hugging Face trains from the base, not from an adapter.",
            hint="Launch without a model to continue from.",
        )
    files, result = repositories(account, request.tag)
    flavor = flavor_of(request)
    job = {
        "tag": request.tag,
        "files": files,
        "code": worker_code()[0],
        "train": request.training_file,
        "valid": request.validation_file,
        "model": request.model,
        "role": request.role,
        "epochs": request.epochs,
        "settings": {name: request.options[name] for name in SETTINGS if name in request.options},
        "gpu": not flavor.startswith("cpu"),
        "result": result,
    }
    needs = [part for each in REQUIREMENTS for part in ("--with", each)]
    return {
        "command": ["uv", "run", "--no-project", *needs, "python", "-c", SCRIPT],
        "arguments": [],
        "environment": {
            "WALTZRL_JOB": json.dumps(job),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "PYTHONUNBUFFERED": "1",
        },
        "flavor": flavor,
        "timeoutSeconds": timeout_of(request),
        "labels": {TAG_LABEL: request.tag, "waltzrl": request.role},
        "dockerImage": IMAGE,
    }


def timeout_of(request: TuneRequest) -> int:
    """Seconds after which the vendor stops the job: no more than these can be billed."""
    return int(request.timeout_s or _LONGEST)


def usd_per_second(hardware: Any) -> float | None:
    """The price of a machine of `list_jobs_hardware`, USD; None in units that are not known."""
    unit = _SECONDS.get(str(hardware.unit_label))
    return None if unit is None else float(hardware.unit_cost_usd) / unit


def seconds_billed(job: Any) -> float | None:
    """Seconds that a job has run by the vendor's clock, or None before it starts."""
    running = job.durations.running_secs if job.durations else None
    if running is not None:
        return float(running)
    if job.started_at is None:
        return None
    until = job.finished_at or datetime.now(UTC)
    return max(0.0, float((until - job.started_at).total_seconds()))


def described(job: Any) -> Mapping[str, Any]:
    """The settings of our worker in a job, {} for a job of another program."""
    try:
        settings = json.loads((job.environment or {})["WALTZRL_JOB"])
    except (KeyError, TypeError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def job_of(job: Any) -> RemoteJob:
    """A job as the protocol has it."""
    stage = str(job.status.stage)
    return RemoteJob(
        str(job.id),
        str((job.labels or {}).get(TAG_LABEL, "")),
        STATES.get(stage, "unknown"),
        stage,
        str(described(job).get("model", "")),
        job.created_at.isoformat() if job.created_at else "",
    )
