"""`jobs`: jobs listed, shown, watched, stopped, resumed, retried, approved and adopted."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import finished, follow
from waltzrl_tui.cli.jobs_text import job_text, jobs_json, jobs_table
from waltzrl_tui.cli.options import Options, add_provider_url, add_yes
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import count
from waltzrl_tui.errors import NotFoundError, StoreError, UsageError
from waltzrl_tui.jobs import control
from waltzrl_tui.jobs.launch import log_path
from waltzrl_tui.records.metrics import metric_document
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.remote import control as remote_control
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.words import money

_CANCEL_SECONDS = 20.0
_POLL_SECONDS = 0.2
_LOG_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """The options of `jobs list`."""

    limit: int


@dataclass(frozen=True, kw_only=True)
class JobsOptions(Options):
    """The options of the commands that take ids of jobs, or of whole launches."""

    jobs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """The options of the commands that take one job."""

    job: str


@dataclass(frozen=True, kw_only=True)
class RetryOptions(JobOptions):
    """The options of `jobs retry`."""

    yes: bool


@dataclass(frozen=True, kw_only=True)
class LogsOptions(JobOptions):
    """The options of `jobs logs`."""

    n: int


@dataclass(frozen=True, kw_only=True)
class AdoptOptions(Options):
    """The options of `jobs adopt`."""

    provider: str
    id: str
    role: Role
    name: str
    provider_url: str


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    jobs = subcommands(parser)
    listed = subcommand(jobs, "list", "all jobs, newest first", ListOptions, list_jobs)
    listed.add_argument("--limit", type=count, default=500, metavar="N", help="at most N (500)")
    for name, help, work in (
        ("show", "one job with its events and metrics", show),
        ("watch", "follow jobs until they have ended", watch),
        ("cancel", "stop jobs; they keep their checkpoints", cancel),
        ("resume", "resume jobs from their last checkpoints", resume),
    ):
        subcommand(jobs, name, help, JobsOptions, work).add_argument(
            "jobs",
            nargs="*" if name == "watch" else "+",
            metavar="JOB",
            help="an id (k3f-conv), or the start of a launch (k3f) for all its jobs",
        )
    again = subcommand(jobs, "retry", "run a job again as a new job", RetryOptions, retry)
    add_yes(again, "accept its price without being asked")
    logged = subcommand(jobs, "logs", "what a job's worker has printed", LogsOptions, logs)
    logged.add_argument("-n", type=count, default=200, metavar="LINES", help="last (200)")
    approved = subcommand(
        jobs, "approve", "accept a price that is above the agreed one", JobOptions, approve
    )
    for one in (again, logged, approved):
        one.add_argument("job", metavar="JOB", help="an id (k3f-conv)")
    adopted = subcommand(
        jobs, "adopt", "watch a job that was started elsewhere", AdoptOptions, adopt
    )
    adopted.add_argument("provider", metavar="PROVIDER", help="together, fireworks, …")
    adopted.add_argument("id", metavar="ID", help="the provider's own id of the job")
    adopted.add_argument("--role", choices=ROLES, required=True, help="the role of its result")
    adopted.add_argument("--name", default="", help="the name of the agent")
    add_provider_url(adopted)


async def list_jobs(context: Context, options: ListOptions) -> int:
    """`jobs list`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        jobs = await store.jobs.list(limit=options.limit)
    empty = "No jobs yet. Start two: waltzrl-tui train PATH"
    context.out.result(jobs_json(jobs), jobs_table(jobs) if jobs else empty)
    return 0


async def show(context: Context, options: JobsOptions) -> int:
    """`jobs show JOB …`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        jobs = await _chosen(store, options.jobs)
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
    text = "\n\n".join(job_text(job, events, metrics[job.id], remote.get(job.id)) for job in jobs)
    context.out.result(document, text)
    return 0


async def watch(context: Context, options: JobsOptions) -> int:
    """`jobs watch [JOB …]`: the named ones, or all that have not ended."""
    async with context.store() as store:
        if options.jobs:
            jobs = await _chosen(store, options.jobs)
        else:
            await control.reconcile(store, context.workspace)
            jobs = list(reversed(await store.jobs.list(ended=False, limit=-1)))
        if not jobs:
            context.out.result(jobs_json([]), "No job is running or waiting.")
            return 0
        async with _supervised(context, store, jobs):
            jobs = await follow(store, context.workspace, [job.id for job in jobs], context.out)
    return finished(context, jobs)


async def cancel(context: Context, options: JobsOptions) -> int:
    """`jobs cancel JOB …`."""
    async with context.store() as store:
        chosen = await _chosen(store, options.jobs)
        # In a launch, ended jobs are left alone; a single ended one is an error to report.
        going = [job for job in chosen if not job.ended] or chosen[:1]
        jobs = [await control.cancel(store, context.workspace, job.id) for job in going]
        if remote := [job for job in jobs if not job.ended and not job.embedded]:
            async with _supervised(context, store, remote):
                await _wait_for_end(store, [job.id for job in remote])
            jobs = await store.jobs.some(job.id for job in jobs)
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    return 0


async def resume(context: Context, options: JobsOptions) -> int:
    """`jobs resume JOB …`."""
    async with context.store() as store:
        await control.reconcile(store, context.workspace)
        chosen = await _chosen(store, options.jobs)
        stopped = [job for job in chosen if job.state in ("failed", "cancelled")] or chosen[:1]
        resumed: dict[str, JobRow] = {}
        for job in stopped:
            # Resuming one resumes what it depends on, which may be the next of these.
            if not job.embedded:
                await remote_control.resume(store, job.id)
                resumed[job.id] = await _sent(context, store, job.id)
            elif job.id not in resumed:
                more = await control.resume(store, context.workspace, job.id)
                resumed |= {each.id: each for each in more}
    jobs = list(resumed.values())
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    return 0


async def retry(context: Context, options: RetryOptions) -> int:
    """`jobs retry JOB`."""
    async with context.store() as store:
        job = await store.jobs.get(options.job)
        if not job.embedded:
            job = await _retry_remote(context, store, job, yes=options.yes)
        else:
            job = await control.retry(store, context.workspace, job.id)
    context.out.result(jobs_json([job]), jobs_table([job]))
    return 0


async def logs(context: Context, options: LogsOptions) -> int:
    """`jobs logs JOB`: the last lines that its worker printed."""
    async with context.store() as store:
        job = await store.jobs.get(options.job)
        remote = not job.embedded
        events = await store.jobs.events(job.id, limit=-1) if remote else []
    path = log_path(context.workspace, job.id)
    if remote:
        lines = [line for event in events if (line := event.log_line) is not None]
        lines = lines[-options.n :]
    else:
        lines = await asyncio.to_thread(_tail, path, options.n)
    document = {"id": job.id, "path": str(path), "lines": lines}
    context.out.result(document, "\n".join(lines) or f"{job.id} has printed nothing.")
    return 0


async def approve(context: Context, options: JobOptions) -> int:
    """`jobs approve JOB`: accept the provider's price."""
    async with context.store() as store:
        await remote_control.approve(store, options.job)
        job = await _sent(context, store, options.job)
    context.out.result(jobs_json([job]), jobs_table([job]))
    return 0


async def adopt(context: Context, options: AdoptOptions) -> int:
    """`jobs adopt PROVIDER ID --role R`."""
    from waltzrl_tui.cli.remote import approve_address
    from waltzrl_tui.remote.adopt import adopt as adopt_job
    from waltzrl_tui.remote.provider_pool import Providers

    await approve_address(options.provider, options.provider_url)
    providers = Providers(context.workspace)
    try:
        async with context.store() as store:
            job = await adopt_job(
                store,
                providers,
                options.provider,
                options.id,
                options.role,
                name=options.name,
                url=options.provider_url,
            )
    finally:
        await providers.close()
    context.out.result(jobs_json([job]), jobs_table([job]))
    return 0


@asynccontextmanager
async def _supervised(
    context: Context, store: Store, jobs: Sequence[JobRow]
) -> AsyncIterator[None]:
    """Launch and watch the providers' jobs while inside, if one of the jobs is theirs."""
    if all(job.embedded for job in jobs):
        yield
        return
    from waltzrl_tui.cli.remote import supervising

    async with supervising(store, context.workspace, context.out):
        yield


async def _wait_for_end(store: Store, ids: Sequence[str]) -> None:
    """Wait until the providers have stopped the jobs, 20 s at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CANCEL_SECONDS):
            while not all(job.ended for job in await store.jobs.some(ids)):
                await asyncio.sleep(_POLL_SECONDS)


async def _sent(context: Context, store: Store, job_id: str) -> JobRow:
    """A provider's job, once it is there, waits its turn there, or needs the user."""
    from waltzrl_tui.cli.remote import sent, supervising

    async with supervising(store, context.workspace, context.out):
        return (await sent(store, [job_id]))[0]


async def _retry_remote(context: Context, store: Store, job: JobRow, *, yes: bool) -> JobRow:
    from waltzrl_tui.cli.agree import agree

    await agree(
        context,
        f"Train {job.model} at {job.provider} again, as a new job, for about "
        f"{money(job.estimate_usd)}?",
        yes=yes,
    )
    fresh = await remote_control.retry(store, job.id)
    return await _sent(context, store, fresh.id)


async def _chosen(store: Store, names: Sequence[str]) -> list[JobRow]:
    """The jobs of those ids, or of the launches whose ids begin like that."""
    chosen: dict[str, JobRow] = {}
    launched: list[JobRow] | None = None
    for name in names:
        try:
            jobs = [await store.jobs.get(name)]
        except NotFoundError:
            launched = launched or list(reversed(await store.jobs.list(limit=-1)))
            jobs = [job for job in launched if name and job.id.startswith(f"{name}-")]
            if not jobs:
                raise
        chosen |= {job.id: job for job in jobs}
    if not chosen:
        raise UsageError("No job is named.", hint="See `waltzrl-tui jobs list`.")
    return list(chosen.values())


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
