"""Jobs as documents and text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from waltzrl_tui.cli.layout import fields, table
from waltzrl_tui.records.metrics import METRICS, Metric
from waltzrl_tui.store import EventRow, JobRow
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.words import duration, money, tokens

_METRICS_SHOWN = 10
_EVENTS_SHOWN = 20


def jobs_json(jobs: Sequence[JobRow]) -> dict[str, Any]:
    """The document of `train` and `jobs list`."""
    return {"jobs": [asdict(job) for job in jobs]}


def jobs_table(jobs: Sequence[JobRow]) -> str:
    """One line a job."""
    return table(
        ("job", "role", "where", "state", "step", "ETA", "cost", "changed (UTC)", ""),
        [
            (
                job.id,
                job.role,
                job.provider,
                job.state,
                progress_text(job) or "–",
                duration(job.eta_seconds, rough=True),
                money(job.cost_usd),
                job.updated_at[:19].replace("T", " "),
                doing(job),
            )
            for job in jobs
        ],
        right={4, 5, 6},
    )


def progress_text(job: JobRow) -> str:
    """A job's step of all steps; "" before the steps are known."""
    return f"{job.step}/{job.total_steps}" if job.total_steps else ""


def doing(job: JobRow) -> str:
    """What a job does or waits for, which agent it made, or why it failed."""
    if job.state == "failed":
        return job.error
    if job.state == "succeeded":
        return f"→ agent {job.agent}" if job.agent else ""
    if job.cancel_requested and not job.ended:
        return "stopping"
    return job.reason


def job_text(
    job: JobRow,
    events: Sequence[EventRow],
    metrics: Sequence[Metric],
    remote: RemoteJobRow | None = None,
) -> str:
    """One job with its latest events and metrics."""
    recent = [event for event in events if event.job_id == job.id][-_EVENTS_SHOWN:]
    steps = metrics[-_METRICS_SHOWN:]
    lines = [
        fields(
            [
                ("job", job.id),
                ("kind", f"{job.kind}, {job.role}"),
                ("where", f"{job.provider}, {job.model}"),
                ("state", job.state),
                ("", doing(job)),
                ("step", progress_text(job)),
                (
                    "left",
                    duration(job.eta_seconds, rough=True) if job.eta_seconds is not None else "",
                ),
                ("needs", ", ".join(job.depends_on)),
                ("created", job.created_at),
                ("started", job.started_at or ""),
                ("ended", job.ended_at or ""),
                ("result" if remote else "adapter", job.result_model),
                *(_remote_fields(job, remote) if remote else []),
            ]
        )
    ]
    if steps:
        columns = [series for series in METRICS.get(job.kind, ()) if series.column]
        rows = [
            (str(metric.step), *(series.text(metric.get(series.name)) for series in columns))
            for metric in steps
        ]
        heads = ("step", *(series.label for series in columns))
        lines += ["", table(heads, rows, right=set(range(len(heads))))]
    if recent:
        lines += [
            "",
            table(("at (UTC)", "event"), [(e.at[11:19], e.text) for e in recent]),
        ]
    return "\n".join(lines)


def _remote_fields(job: JobRow, remote: RemoteJobRow) -> list[tuple[str, str]]:
    own = "" if remote.vendor_usd is None else f", by the provider {money(remote.vendor_usd)}"
    return [
        ("provider's id", job.provider_job_id),
        ("provider's state", job.provider_state),
        ("estimate", f"{money(job.estimate_usd)}{own}"),
        ("billed", money(job.cost_usd) if job.cost_usd or job.ended else ""),
        ("trained", tokens(remote.tokens, unknown="")),
        ("last polled", remote.seen_at or ""),
        ("request", json.dumps(remote.payload, ensure_ascii=False) if remote.payload else ""),
    ]
