"""What Mistral's answers about jobs come to: states, prices, events, metrics."""

from __future__ import annotations

import time
from typing import Any, Final

from waltzrl_tui.providers.protocol import RemoteEvent, RemoteJob, RemoteMetric, RemoteState

STATES: Final[dict[str, RemoteState]] = {
    "QUEUED": "queued",
    "STARTED": "queued",
    "VALIDATING": "queued",
    "VALIDATED": "queued",
    "RUNNING": "running",
    "CANCELLATION_REQUESTED": "running",
    "SUCCESS": "succeeded",
    "FAILED": "failed",
    "FAILED_VALIDATION": "failed",
    "CANCELLED": "cancelled",
}

_USD_AT_MOST: Final = {"USD": 1.0, "EUR": 1.25}
"""Dollars for one of a currency, rather too many: what is compared with a budget."""


def known(job: Any) -> Any:
    """The job, if it is of a kind that the SDK knows.

    Raises:
        TypeError: It is none: the SDK has kept it as it came.
    """
    if not hasattr(job, "suffix"):
        raise TypeError(f"not a job: {job}")
    return job


def waits(job: Any) -> bool:
    """Whether it has not been started and waits for that."""
    if job.auto_start:
        return False
    # The words before the check and after the start are the same; the price comes in between.
    early = str(job.status) in ("QUEUED", "STARTED") and _cost(job) is None
    return early or str(job.status) in ("VALIDATING", "VALIDATED")


def usd_of(job: Any) -> float | None:
    """The vendor's price in USD, rather too high; None without one in a currency known here."""
    cost = _cost(job)
    if cost is None:
        return None
    rate = _USD_AT_MOST.get(str(job.metadata.cost_currency or "USD").upper())
    return None if rate is None else cost * rate


def price_of(job: Any) -> str:
    """The vendor's price as reported, or ""."""
    cost = _cost(job)
    return "" if cost is None else f"{cost:.2f} {job.metadata.cost_currency or 'USD'}"


def _cost(job: Any) -> float | None:
    # The SDK has a false object of its own for an absent value.
    cost = job.metadata.cost if job.metadata else None
    return float(cost) if isinstance(cost, float | int) else None


def seconds_left(job: Any) -> float | None:
    """Seconds left of a running job, by the vendor's expected duration."""
    whole = job.metadata.expected_duration_seconds if job.metadata else None
    if not whole:
        return None
    began = [each.created_at for each in job.events or [] if _status(each) == "RUNNING"]
    gone = time.time() - max(began, default=job.modified_at)
    return float(min(whole, max(0.0, whole - gone)))


def _status(event: Any) -> str:
    return str((event.data or {}).get("status", ""))


def _error_text(event: Any) -> str:
    """The error in an event, or ""."""
    data = event.data or {}
    return next((str(data[key]) for key in ("error", "message", "detail") if data.get(key)), "")


def why(job: Any) -> str:
    """The newest error in the job's events, or ""."""
    return next((text for each in job.events or [] if (text := _error_text(each))), "")


def event_of(number: int, event: Any) -> RemoteEvent:
    """The event of that number, counted from the oldest: they have no ids."""
    status, error = _status(event), _error_text(event)
    text = ": ".join(part for part in (status or str(event.name), error) if part)
    failed = status.startswith("FAILED")
    return RemoteEvent(f"{number}:{event.created_at}", "", text, "error" if failed else "info")


def metric_of(point: Any) -> RemoteMetric:
    """A checkpoint's losses."""
    loss, valid = point.metrics.train_loss, point.metrics.valid_loss
    return RemoteMetric(
        point.step_number,
        loss=loss if isinstance(loss, float | int) else None,
        valid_loss=valid if isinstance(valid, float | int) else None,
    )


def job_of(job: Any) -> RemoteJob:
    """A job as the protocol has it."""
    status = str(job.status)
    return RemoteJob(
        str(job.id),
        str(job.suffix or ""),
        STATES.get(status, "unknown"),
        status,
        str(job.model or ""),
        str(job.created_at or ""),
    )
