"""`jobs list|show|watch|cancel|resume|retry|logs`."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import doing, failure, follow, progress_text
from waltzrl_tui.cli.layout import duration, fields, table
from waltzrl_tui.errors import NotFoundError, StoreError, UsageError
from waltzrl_tui.jobs import control
from waltzrl_tui.jobs.launch import log_path
from waltzrl_tui.records.metrics import METRICS, Metric, metric_document
from waltzrl_tui.store import EventRow, JobRow, Store
from waltzrl_tui.store.remote_rows import LOG, RemoteJobRow

_CANCEL_SECONDS = 20.0
_LOOK_SECONDS = 0.2
_METRICS_SHOWN = 10
_EVENTS_SHOWN = 20
_LOG_BYTES = 4 * 1024 * 1024


async def list_jobs(context: Context) -> int:
    """`jobs list`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        jobs = await store.jobs.list(limit=context.args.limit)
    empty = "No jobs yet. Start two: waltzrl-tui train PATH"
    context.out.result(jobs_json(jobs), jobs_table(jobs) if jobs else empty)
    return 0


async def show(context: Context) -> int:
    """`jobs show JOB …`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        jobs = await _chosen(store, context.args.jobs)
        events = [e for job in jobs for e in await store.jobs.events(job.id, limit=-1)]
        metrics = {job.id: await store.jobs.metrics(job.id) for job in jobs}
        remote = await store.remote.some(job.id for job in jobs)
    document = {
        **jobs_json(jobs),
        "events": [asdict(event) for event in events],
        "metrics": [
            metric_document(job.id, job.kind, metric) for job in jobs for metric in metrics[job.id]
        ],
        "remote": [asdict(each) for each in remote.values()],
    }
    text = "\n\n".join(_job_text(job, events, metrics[job.id], remote.get(job.id)) for job in jobs)
    context.out.result(document, text)
    return 0


async def watch(context: Context) -> int:
    """`jobs watch [JOB …]`: those named, else all that have not ended."""
    async with context.store() as store:
        if context.args.jobs:
            jobs = await _chosen(store, context.args.jobs)
        else:
            await control.reconcile(store, context.workspace)
            jobs = list(reversed(await store.jobs.list(ended=False, limit=-1)))
        if not jobs:
            context.out.result(jobs_json([]), "No job is running or waiting.")
            return 0
        async with _supervised(context, store, jobs):
            jobs = await follow(store, context.workspace, [job.id for job in jobs], context.out)
    return finished(context, jobs)


async def cancel(context: Context) -> int:
    """`jobs cancel JOB …`."""
    async with context.store() as store:
        chosen = await _chosen(store, context.args.jobs)
        # Of a whole launch, what has ended is left as it is; a single one is told of.
        going = [job for job in chosen if not job.ended] or chosen[:1]
        jobs = [await control.cancel(store, context.workspace, job.id) for job in going]
        if remote := [job for job in jobs if not job.ended and job.provider != "embedded"]:
            async with _supervised(context, store, remote):
                await _told(store, [job.id for job in remote])
            jobs = await store.jobs.some(job.id for job in jobs)
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    return 0


async def resume(context: Context) -> int:
    """`jobs resume JOB …`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        chosen = await _chosen(store, context.args.jobs)
        stopped = [job for job in chosen if job.state in ("failed", "cancelled")] or chosen[:1]
        resumed: dict[str, JobRow] = {}
        for job in stopped:
            # Resuming one resumes what it depends on, which may be the next of these.
            if job.provider != "embedded":
                resumed[job.id] = await _resume_remote(context, store, job.id)
            elif job.id not in resumed:
                more = await control.resume(store, context.workspace, job.id)
                resumed |= {each.id: each for each in more}
    jobs = list(resumed.values())
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    return 0


async def retry(context: Context) -> int:
    """`jobs retry JOB`."""
    async with context.store() as store:
        job = await store.jobs.get(context.args.jobs[0])
        if job.provider != "embedded":
            job = await _retry_remote(context, store, job)
        else:
            job = await control.retry(store, context.workspace, job.id)
    context.out.result(jobs_json([job]), jobs_table([job]))
    return 0


async def logs(context: Context) -> int:
    """`jobs logs JOB`: the last lines that its worker has printed."""
    async with context.store() as store:
        job = await store.jobs.get(context.args.jobs[0])
        said = await store.jobs.events(job.id, limit=-1) if job.provider != "embedded" else []
    path = log_path(context.workspace, job.id)
    if job.provider == "embedded":
        lines = await asyncio.to_thread(_tail, path, context.args.n)
    else:
        lines = [event.text.removeprefix(LOG) for event in said if event.text.startswith(LOG)]
        lines = lines[-context.args.n :]
    document = {"id": job.id, "path": str(path), "lines": lines}
    context.out.result(document, "\n".join(lines) or f"{job.id} has printed nothing.")
    return 0


@asynccontextmanager
async def _supervised(
    context: Context, store: Store, jobs: Sequence[JobRow]
) -> AsyncIterator[None]:
    """Where one of the jobs is a provider's: launch and watch such jobs while inside."""
    if all(job.provider == "embedded" for job in jobs):
        yield
        return
    from waltzrl_tui.cli.remote import supervising

    async with supervising(store, context.workspace, context.out):
        yield


async def _told(store: Store, ids: Sequence[str]) -> None:
    """Wait until the provider of each job was asked to stop it, 20 s at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            while not all(job.ended for job in await store.jobs.some(ids)):
                await asyncio.sleep(_LOOK_SECONDS)


async def _resume_remote(context: Context, store: Store, job_id: str) -> JobRow:
    from waltzrl_tui.cli.remote import sent, supervising
    from waltzrl_tui.remote import control as remote_control

    job = await remote_control.resume(store, job_id)
    async with supervising(store, context.workspace, context.out):
        return (await sent(store, [job.id]))[0]


async def _retry_remote(context: Context, store: Store, job: JobRow) -> JobRow:
    from waltzrl_tui.cli.agree import agree
    from waltzrl_tui.cli.remote import sent, supervising
    from waltzrl_tui.remote import control as remote_control

    await agree(
        context,
        f"Train {job.model} at {job.provider} once more, as a new job, for about "
        f"${job.estimate_usd:.2f}?",
    )
    fresh = await remote_control.retry(store, job.id)
    async with supervising(store, context.workspace, context.out):
        return (await sent(store, [fresh.id]))[0]


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
                duration(job.eta_seconds),
                f"${job.cost_usd:.2f}",
                job.updated_at[:19].replace("T", " "),
                doing(job),
            )
            for job in jobs
        ],
        right={4, 5, 6},
    )


def finished(context: Context, jobs: Sequence[JobRow]) -> int:
    """Print jobs that were waited for.

    Raises:
        WaltzError: One of them failed or was cancelled.
    """
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    if error := failure(jobs):
        raise error
    return 0


async def _chosen(store: Store, names: Sequence[str]) -> list[JobRow]:
    """The jobs of those ids, or of the launches whose ids begin like that."""
    found: dict[str, JobRow] = {}
    launched: list[JobRow] | None = None
    for name in names:
        try:
            jobs = [await store.jobs.get(name)]
        except NotFoundError:
            launched = launched or list(reversed(await store.jobs.list(limit=-1)))
            jobs = [job for job in launched if name and job.id.startswith(f"{name}-")]
            if not jobs:
                raise
        found |= {job.id: job for job in jobs}
    if not found:
        raise UsageError("No job is named.", hint="See `waltzrl-tui jobs list`.")
    return list(found.values())


def _job_text(
    job: JobRow,
    events: Sequence[EventRow],
    metrics: Sequence[Metric],
    remote: RemoteJobRow | None = None,
) -> str:
    said = [event for event in events if event.job_id == job.id][-_EVENTS_SHOWN:]
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
                ("left", duration(job.eta_seconds) if job.eta_seconds is not None else ""),
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
    if said:
        lines += [
            "",
            table(("at (UTC)", "what happened"), [(e.at[11:19], e.text) for e in said]),
        ]
    return "\n".join(lines)


def _remote_fields(job: JobRow, remote: RemoteJobRow) -> list[tuple[str, str]]:
    asked = "" if remote.vendor_usd is None else f", its own ${remote.vendor_usd:.2f}"
    return [
        ("its id", job.provider_job_id),
        ("it says", job.provider_state),
        ("estimate", f"${job.estimate_usd:.2f}{asked}"),
        ("billed", f"${job.cost_usd:.2f}" if job.cost_usd or job.ended else ""),
        ("tokens", "" if remote.tokens is None else f"{remote.tokens:,} trained"),
        ("seen", remote.seen_at or ""),
        ("sent", json.dumps(remote.payload, ensure_ascii=False) if remote.payload else ""),
    ]


def _tail(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    return text.splitlines()[-count:]
