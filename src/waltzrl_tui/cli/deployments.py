"""`deployments`: models at providers that are deployed for chat and billed by the hour."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from waltzrl_tui.cli.agree import agree
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import NameOptions, Options, add_provider_url, add_yes
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import above_zero
from waltzrl_tui.providers.registry import provider_names
from waltzrl_tui.remote.deploy import Deployments, cost_usd
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.words import UNKNOWN, money


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """The options of `deployments list`."""

    up: bool


@dataclass(frozen=True, kw_only=True)
class UpOptions(Options):
    """The options of `deployments up`; `idle` is in minutes."""

    name: str
    idle: float
    yes: bool
    provider_url: str


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    deployments = subcommands(parser)
    listed = subcommand(deployments, "list", "all, with their costs so far", ListOptions, show_all)
    listed.add_argument("--up", action="store_true", help="only those that are billed now")
    up = subcommand(deployments, "up", "deploy the model of an agent", UpOptions, bring_up)
    up.add_argument("name", metavar="AGENT")
    up.add_argument(
        "--idle",
        type=above_zero,
        default=30.0,
        metavar="MINUTES",
        help="take it down after so long without a chat (30)",
    )
    add_yes(up, "agree without being asked")
    add_provider_url(up)
    down = subcommand(deployments, "down", "take a deployment down", NameOptions, take_down)
    down.add_argument("name", metavar="DEPLOYMENT", help="its tag, as list shows it")


async def show_all(context: Context, options: ListOptions) -> int:
    """`deployments list [--up]`."""
    async with _deployments(context) as (store, deployments):
        context.out.status.set("looking for deployments")
        await deployments.tend()
        probed = set(await store.remote.probes())
        await deployments.sweep([name for name in provider_names() if name in probed])
        context.out.status.clear()
        rows = await store.deployments.list(up=options.up or None)
    empty = (
        "No deployment is up."
        if options.up
        else "No deployments. Deploy one for chat: waltzrl-tui deployments up AGENT"
    )
    return _print(context, rows, empty)


async def bring_up(context: Context, options: UpOptions) -> int:
    """`deployments up AGENT`."""
    from waltzrl_tui.cli.remote import approve_address

    async with _deployments(context) as (store, deployments):
        agent = await store.agents.get(options.name)
        await agree(
            context,
            f"A deployment of {agent.name} is billed while it is up, even when idle. "
            f"It is taken down after {options.idle:g} minutes without a chat.",
            yes=options.yes,
        )
        await approve_address(agent.url.partition(":")[2], options.provider_url)
        await deployments.bring_up(agent, idle_minutes=options.idle, url=options.provider_url)
        rows = await store.deployments.list()
    return _print(context, rows)


async def take_down(context: Context, options: NameOptions) -> int:
    """`deployments down DEPLOYMENT`."""
    async with _deployments(context) as (store, deployments):
        await deployments.take_down(options.name)
        rows = await store.deployments.list()
    return _print(context, rows)


@asynccontextmanager
async def _deployments(context: Context) -> AsyncIterator[tuple[Store, Deployments]]:
    providers = Providers(context.workspace)
    try:
        async with context.store() as store:
            yield store, Deployments(store, providers)
    finally:
        await providers.close()


def _print(context: Context, rows: Sequence[DeploymentRow], empty: str = "") -> int:
    documents = [{**asdict(row), "cost_usd": cost_usd(row)} for row in rows]
    context.out.result({"deployments": documents}, _table(rows) if rows else empty)
    return 0


def _table(rows: Sequence[DeploymentRow]) -> str:
    cells = [
        (
            row.tag,
            row.provider,
            row.agent or row.model,
            "up" if row.state == "ready" else row.state,
            UNKNOWN if row.usd_per_hour is None else f"{money(row.usd_per_hour)}/h",
            money(cost_usd(row)),
            row.words,
        )
        for row in rows
    ]
    heads = ("deployment", "provider", "agent", "state", "price", "so far", "")
    return table(heads, cells, right={4, 5})
