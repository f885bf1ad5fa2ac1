"""Metrics: named series over the steps of a job. Each kind of job declares its own.

A new metric is an entry in `METRICS` and the code that measures it: the store keeps whatever is
named, and screens and commands show what is declared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from waltzrl_tui import words

Better = Literal["lower", "higher", ""]
Format = Literal["loss", "rate", "count", "bytes", "seconds", "figure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """One series of a job.

    Attributes:
        name: In the store and in documents.
        label: On screens and in tables.
        format: How a value is written.
        better: Which direction is the better one; "" where neither is.
        column: Whether `jobs show` has a column for it.
    """

    name: str
    label: str
    format: Format = "figure"
    better: Better = ""
    column: bool = False

    def text(self, value: float | None) -> str:
        """The value with its unit; a dash when there is none."""
        if value is None:
            return words.NONE
        match self.format:
            case "loss":
                return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"
            case "rate":
                return f"{value:.2e}"
            case "count":
                return f"{value:,.0f}"
            case "bytes":
                return words.size(value)
            case "seconds":
                return words.duration(value)
            case "figure":
                return f"{value:.4g}"


METRICS: Final[Mapping[str, tuple[MetricSeries, ...]]] = {
    "train": (
        MetricSeries(name="loss", label="loss", format="loss", better="lower", column=True),
        MetricSeries(name="valid_loss", label="valid", format="loss", better="lower", column=True),
        MetricSeries(
            name="tokens_per_second", label="tok/s", format="count", better="higher", column=True
        ),
        MetricSeries(name="tokens", label="tokens seen", format="count"),
        MetricSeries(name="epoch", label="epoch"),
        MetricSeries(name="learning_rate", label="learning rate", format="rate"),
        MetricSeries(name="memory_bytes", label="memory", format="bytes"),
        MetricSeries(name="eta_seconds", label="ETA", format="seconds"),
    ),
    "rollouts": (),
}
"""The series of each kind of job."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What was measured at one step: a value for each series that has one there.

    Attributes:
        at: The store's time, "" when the source gave none.
    """

    step: int
    values: Mapping[str, float]
    at: str = ""

    def get(self, name: str) -> float | None:
        """The value of a series at this step, or None."""
        return self.values.get(name)


def measured(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers among `values`."""
    return {
        name: value
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def metric_document(job_id: str, kind: str, metric: Metric) -> dict[str, Any]:
    """A metric as `--json` prints it: every declared series of the kind is a key."""
    declared = {series.name: metric.get(series.name) for series in METRICS.get(kind, ())}
    return {
        "job_id": job_id,
        "step": metric.step,
        "at": metric.at,
        **declared,
        **metric.values,
    }
