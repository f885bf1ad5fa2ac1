"""Reads Together's jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.providers.protocol import RemoteEvent, RemoteJob, RemoteMetric, RemoteState
from waltzrl_tui.records.jobs import Level

STATES: Final[dict[str, RemoteState]] = {
    "pending": "queued",
    "queued": "queued",
    "running": "running",
    "compressing": "running",
    "uploading": "running",
    "cancel_requested": "running",
    "completed": "succeeded",
    "error": "failed",
    "user_error": "failed",
    "cancelled": "cancelled",
}
_LEVELS: Final[dict[str, Level]] = {"warning": "warning", "error": "error"}


def job_of(each: Any) -> RemoteJob:
    # The suffix comes back as part of the result's name: `account/model-suffix-hash`.
    status = str(each.status)
    name = str(getattr(each, "suffix", None) or each.x_model_output_name or "")
    return RemoteJob(
        str(each.id),
        tag_in(name),
        STATES.get(status, "unknown"),
        status,
        str(each.model or ""),
        str(each.created_at or ""),
    )


def tag_in(name: str) -> str:
    """Our tag (`k3f-conv-1a2b`) in a result's name, or ""."""
    match = re.search(r"[a-z][a-z2-9]{2,}-(?:conv|feed)-[0-9a-f]{4}", name)
    return match.group() if match else ""


def event_of(number: int, each: Any) -> RemoteEvent:
    level = _LEVELS.get(str(each.level or "").removeprefix("legacy_i"), "info")
    return RemoteEvent(f"{number}:{each.created_at}", "", str(each.message), level)


def metric_of(row: Mapping[str, float]) -> RemoteMetric | None:
    step = row.get("train/global_step", row.get("global_step"))
    if step is None:
        return None
    return RemoteMetric(
        int(step),
        loss=row.get("train/loss"),
        valid_loss=row.get("eval/loss"),
        epoch=row.get("train/epoch"),
        learning_rate=row.get("train/learning_rate"),
    )


def why(events: list[Any]) -> str:
    errors = [each for each in events if "error" in str(each.level or "")]
    return str((errors or events)[-1].message) if events else ""


def cost_of(job: Any) -> float | None:
    # In billionths of a dollar (inferred from the SDK's whole number and its console; not seen).
    return None if job.total_price is None else job.total_price / 1e9
