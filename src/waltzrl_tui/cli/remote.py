"""Commands about jobs at providers: `train --provider P`, `jobs adopt|approve`, `deployments …`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from shlex import quote as quote_word

from waltzrl_tui.cli.agree import agree, approve_typed
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import follow
from waltzrl_tui.cli.jobs import finished, jobs_json, jobs_table
from waltzrl_tui.cli.layout import fields, table
from waltzrl_tui.cli.output import Output
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of
from waltzrl_tui.cli.teacher import taught, teacher_of
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.providers.registry import provider_names
from waltzrl_tui.remote import control
from waltzrl_tui.remote.adopt import adopt as adopt_job
from waltzrl_tui.remote.deploy import Deployments, cost_usd
from waltzrl_tui.remote.launch import LaunchQuote, RemoteLaunch, launch, quote
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.results import AgentMaker
from waltzrl_tui.remote.submit import BEFORE_CREATE
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.training_data.teacher import Teacher
from waltzrl_tui.training_data.teacher_text import PROMPT_VERSION
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.workspace import Workspace

_POLL_SECONDS = 0.2


@asynccontextmanager
async def supervising(store: Store, workspace: Workspace, out: Output) -> AsyncIterator[Providers]:
    """Launch and watch remote jobs while inside, unless another process does.

    Args:
        out: Told when the store cannot be used.
    """
    providers = Providers(workspace)
    results = AgentMaker(store, workspace, providers)
    try:
        supervisor = Supervisor(
            store,
            workspace,
            providers,
            after=results,
            trouble=lambda error: out.say(f"! {error.message} {error.hint}"),
        )
        async with supervised(supervisor):
            yield providers
    finally:
        await providers.close()


async def train(context: Context) -> int:
    """`train PATH --provider P`: quote, ask, launch; with --wait follow the jobs to their end."""
    args = context.args
    await _approve_address(args.provider, args.provider_url)
    recipe, base_sha256 = recipe_of(args, args.path), ""
    if args.extend is not None:
        recipe, base_sha256 = await extended(context, recipe)
    teacher = await teacher_of(context)
    wanted = RemoteLaunch(
        recipe=recipe,
        provider=args.provider,
        settings=PlanSettings(
            epochs=3.0 if args.epochs is None else args.epochs,
            size=args.size,
            method=args.method,
            budget_usd=args.budget,
            model=args.model,
            roles=roles_of(args),
        ),
        name=args.name,
        url=args.provider_url,
        base_sha256=base_sha256,
    )
    async with (
        context.store() as store,
        supervising(store, context.workspace, context.out) as providers,
    ):
        context.out.status.set("pricing")
        asked = partial(_write_feedback, context, teacher) if teacher is not None else None
        quoted = await quote(store, context.workspace, providers, wanted, asked)
        context.out.status.clear()
        context.out.say(quote_text(quoted))
        if quoted.blockers:
            raise WaltzError(
                f"Nothing was launched: {quoted.blockers[0]}.",
                hint="Other places and their prices: waltzrl-tui plan",
            )
        await _agree(context, quoted)
        jobs = await launch(store, context.workspace, quoted)
        ids = [job.id for job in jobs]
        if args.wait:
            return finished(context, await follow(store, context.workspace, ids, context.out))
        jobs = await sent(store, ids)
        context.out.result(jobs_json(jobs), jobs_table(jobs))
        prefix = ids[0].partition("-")[0]
        context.out.say(f"\nThey go on at the provider: waltzrl-tui jobs watch {prefix}")
        return 0


async def _approve_address(provider: str, url: str) -> None:
    if url:
        how = f"waltzrl-tui agents approve --provider {provider} --at {quote_word(url)}"
        await approve_typed("--provider-url", provider, url, how)


async def _write_feedback(
    context: Context, teacher: Teacher, rows: list[TrainingRow]
) -> tuple[list[TrainingRow], dict[str, str]]:
    """Have the feedback written, for a yes of its own, and say how it went."""
    context.out.status.clear()
    written, report = await taught(context, teacher, rows)
    context.out.say(report.words)
    return written, {"model": teacher.model, "prompt": PROMPT_VERSION}


async def adopt(context: Context) -> int:
    """`jobs adopt PROVIDER ID --role R`."""
    args = context.args
    await _approve_address(args.provider, args.provider_url)
    providers = Providers(context.workspace)
    try:
        async with context.store() as store:
            job = await adopt_job(
                store,
                providers,
                args.provider,
                args.id,
                args.role,
                name=args.name,
                url=args.provider_url,
            )
    finally:
        await providers.close()
    context.out.result(jobs_json([job]), jobs_table([job]))
    return 0


async def approve(context: Context) -> int:
    """`jobs approve JOB`: yes to the price that the provider asks."""
    async with context.store() as store, supervising(store, context.workspace, context.out):
        job = await control.approve(store, context.args.jobs[0])
        jobs = await sent(store, [job.id])
    context.out.result(jobs_json(jobs), jobs_table(jobs))
    return 0


async def deployments(context: Context) -> int:
    """`deployments list|up|down`."""
    args = context.args
    providers = Providers(context.workspace)
    try:
        async with context.store() as store:
            known = Deployments(store, providers)
            if args.deployments == "up":
                agent = await store.agents.get(args.name)
                await agree(
                    context,
                    f"A deployment of {agent.name} is billed while it is up, idle included. "
                    f"It is taken down after {args.idle:g} minutes without a chat.",
                )
                await _approve_address(agent.url.partition(":")[2], args.provider_url)
                await known.bring_up(agent, idle_minutes=args.idle, url=args.provider_url)
            elif args.deployments == "down":
                await known.take_down(args.name)
            else:
                context.out.status.set("looking for deployments")
                await known.tend()
                probed = set(await store.remote.probes())
                await known.sweep([name for name in provider_names() if name in probed])
                context.out.status.clear()
            rows = await store.deployments.list()
    finally:
        await providers.close()
    document = {
        "deployments": [
            {**asdict(row), "cost_usd": cost_usd(row)}
            for row in rows
            if not getattr(args, "up", False) or not row.ended_at
        ]
    }
    context.out.result(document, _deployments_text(rows))
    return 0


def quote_text(quoted: LaunchQuote) -> str:
    """What a launch would send and cost, for whoever has to say yes."""
    rows = [
        (
            role,
            f"{quoted.workload.roles[role].rows:,}",
            f"{quoted.workload.roles[role].tokens:,}",
            f"{quoted.plan.settings.epochs:g}",
            _usd(quoted.usd[role]),
            _usd(quoted.high[role]),
        )
        for role in quoted.plan.settings.roles
        if role in quoted.workload.roles
    ]
    lines = [
        fields(
            [
                ("at", quoted.row.title),
                ("base", quoted.model),
                ("price of", str(quoted.row.price_as_of or "not known")),
                ("source", quoted.row.price_source),
            ]
        ),
        "",
        table(
            ("agent", "rows", "tokens", "epochs", "about", "at most"), rows, right={1, 2, 3, 4, 5}
        ),
        "",
        "no price is known"
        if quoted.row.total is None
        else f"in all about {_usd(quoted.total)}, at most {_usd(quoted.most)}",
    ]
    lines += [f"! {text}" for text in (*quoted.blockers, *quoted.row.warnings)]
    return "\n".join(lines)


async def _agree(context: Context, quoted: LaunchQuote) -> None:
    count = len(quoted.plan.settings.roles)
    await agree(
        context,
        f"Launch {count} {'jobs' if count > 1 else 'job'} at {quoted.row.title} for about "
        f"{_usd(quoted.total)}, at most {_usd(quoted.most)}?",
    )


async def sent(store: Store, ids: Sequence[str]) -> list[JobRow]:
    """The jobs once each is at its provider, or will not get there without the user."""
    while True:
        jobs = await store.jobs.some(ids)
        if not any(job.state in BEFORE_CREATE and not _waits(job) for job in jobs):
            return jobs
        await asyncio.sleep(_POLL_SECONDS)


def _waits(job: JobRow) -> bool:
    return job.state == "approved" and job.reason.startswith("waits")


def _usd(amount: float) -> str:
    if amount == float("inf"):
        return "not known"
    return f"${amount:,.2f}" if amount >= 0.01 or amount == 0 else f"${amount:.4f}"


def _deployments_text(rows: Sequence[DeploymentRow]) -> str:
    if not rows:
        return "No deployments. One for chat: waltzrl-tui deployments up AGENT"
    cells = []
    for row in rows:
        cost = cost_usd(row)
        cells.append(
            (
                row.tag,
                row.provider,
                row.agent or row.model,
                "up" if row.state == "ready" else row.state,
                f"${row.usd_per_hour:.2f}/h" if row.usd_per_hour is not None else "not known",
                f"${cost:.2f}" if cost is not None else "not known",
                row.words,
            )
        )
    return table(
        ("deployment", "provider", "agent", "state", "price", "so far", ""), cells, right={4, 5}
    )
