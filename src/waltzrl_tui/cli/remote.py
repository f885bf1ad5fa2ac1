"""Training at providers: launched for a yes, and supervised by the commands that wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from shlex import quote as quote_word
from typing import TYPE_CHECKING

from waltzrl_tui.cli.agree import agree, approve_typed
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import finished, follow
from waltzrl_tui.cli.jobs_text import jobs_json, jobs_table
from waltzrl_tui.cli.layout import fields, table
from waltzrl_tui.cli.output import Output
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of
from waltzrl_tui.cli.teacher import taught, teacher_of
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.remote.launch import LaunchQuote, RemoteLaunch, launch, quote
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.results import AgentMaker
from waltzrl_tui.remote.submit import BEFORE_CREATE
from waltzrl_tui.remote.supervise import Supervisor, supervised
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.training_data.teacher import Teacher
from waltzrl_tui.training_data.teacher_text import PROMPT_VERSION
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.words import money, plural
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.cli.train import TrainOptions

_POLL_SECONDS = 0.2


@asynccontextmanager
async def supervising(store: Store, workspace: Workspace, out: Output) -> AsyncIterator[Providers]:
    """Launch and watch remote jobs while inside, unless another process does.

    Args:
        out: Where it is reported that the store cannot be used.
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


async def train(context: Context, options: TrainOptions) -> int:
    """`train PATH --provider P`: quote, ask, launch; with --wait follow the jobs to their end."""
    await approve_address(options.provider, options.provider_url)
    recipe, base_sha256 = recipe_of(options, options.path), ""
    if options.extend is not None:
        recipe, base_sha256 = await extended(context, recipe, options.extend)
    teacher = await teacher_of(options)
    request = RemoteLaunch(
        recipe=recipe,
        provider=options.provider,
        settings=PlanSettings(
            epochs=3.0 if options.epochs is None else options.epochs,
            size=options.size,
            method=options.method,
            budget_usd=options.budget,
            model=options.model,
            roles=roles_of(options.role),
        ),
        name=options.name,
        url=options.provider_url,
        base_sha256=base_sha256,
    )
    async with (
        context.store() as store,
        supervising(store, context.workspace, context.out) as providers,
    ):
        context.out.status.set("pricing")
        teach = partial(_taught, context, teacher, options.yes) if teacher is not None else None
        quoted = await quote(store, context.workspace, providers, request, teach)
        context.out.status.clear()
        context.out.say(quote_text(quoted))
        if quoted.blockers:
            raise WaltzError(
                f"Nothing was launched: {quoted.blockers[0]}.",
                hint="Other places and their prices: waltzrl-tui plan",
            )
        await agree(
            context,
            f"Launch {plural(len(quoted.plan.settings.roles), 'job')} at {quoted.row.title} "
            f"for about {money(quoted.total)}, at most {money(quoted.most)}?",
            yes=options.yes,
        )
        jobs = await launch(store, context.workspace, quoted)
        ids = [job.id for job in jobs]
        if options.wait:
            return finished(context, await follow(store, context.workspace, ids, context.out))
        jobs = await sent(store, ids)
        context.out.result(jobs_json(jobs), jobs_table(jobs))
        prefix = ids[0].partition("-")[0]
        context.out.say(f"\nThey continue at the provider. Follow: waltzrl-tui jobs watch {prefix}")
        return 0


async def approve_address(provider: str, url: str) -> None:
    """Approve the address of --provider-url for the provider's keys; "" is its own address.

    Raises:
        UsageError: It is not the address of a server, or others could read the keys.
    """
    if url:
        how = f"waltzrl-tui agents approve --provider {provider} --at {quote_word(url)}"
        await approve_typed("--provider-url", provider, url, how)


async def _taught(
    context: Context, teacher: Teacher, yes: bool, rows: list[TrainingRow]
) -> tuple[list[TrainingRow], dict[str, str]]:
    """Have the feedback written, for a yes of its own, and print the result."""
    context.out.status.clear()
    written, report = await taught(context, teacher, rows, yes=yes)
    context.out.say(report.words)
    return written, {"model": teacher.model, "prompt": PROMPT_VERSION}


def quote_text(quoted: LaunchQuote) -> str:
    """What a launch would send and cost, for the user to agree to."""
    rows = [
        (
            role,
            f"{quoted.workload.roles[role].rows:,}",
            f"{quoted.workload.roles[role].tokens:,}",
            f"{quoted.plan.settings.epochs:g}",
            money(quoted.usd[role]),
            money(quoted.high[role]),
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
        "The price is not known."
        if quoted.row.total is None
        else f"total about {money(quoted.total)}, at most {money(quoted.most)}",
    ]
    lines += [f"! {text}" for text in (*quoted.blockers, *quoted.row.warnings)]
    return "\n".join(lines)


async def sent(store: Store, ids: Sequence[str]) -> list[JobRow]:
    """The jobs, once each is at its provider, waits its turn there, or needs the user."""
    while True:
        jobs = await store.jobs.some(ids)
        if not any(job.state in BEFORE_CREATE and not job.waits_turn for job in jobs):
            return jobs
        await asyncio.sleep(_POLL_SECONDS)
