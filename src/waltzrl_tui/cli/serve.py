"""`serve`: pairs behind an endpoint, until a signal ends it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from waltzrl_tui.cli.addresses import check_variable
from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import Options, add_token_limits, add_yes
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.parser_values import above_zero, count
from waltzrl_tui.cli.parser_values import port as port_number
from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.keys import find_key
from waltzrl_tui.network import is_loopback
from waltzrl_tui.serve.meter import Meter, MeteredEndpoint
from waltzrl_tui.store import AgentRow
from waltzrl_tui.words import money

if TYPE_CHECKING:
    from waltzrl_tui.chat.bill import BilledPair
    from waltzrl_tui.serve.server import RequestCounts
    from waltzrl_tui.waltz.waltz import LivePair

_REDRAW_SECONDS = 0.2


@dataclass(frozen=True, kw_only=True)
class ServeOptions(Options):
    """The options of `serve`."""

    pair: tuple[str, ...]
    host: str
    port: int
    key_env: str
    drafts: bool
    concurrency: int
    budget: float | None
    yes: bool
    max_tokens: int
    verdict_tokens: int


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, ServeOptions, serve)
    parser.add_argument(
        "--pair",
        action="append",
        required=True,
        metavar="NAME",
        help="clients name it as the model; repeatable",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="any but loopback needs --key-env"
    )
    parser.add_argument(
        "--port", type=port_number, default=8088, metavar="N", help="0: any free port (8088)"
    )
    parser.add_argument(
        "--key-env",
        default="",
        metavar="VAR",
        help="the NAME of the variable with the key that clients must send",
    )
    parser.add_argument(
        "--drafts", action="store_true", help="include drafts and verdicts in streams"
    )
    parser.add_argument(
        "--concurrency",
        type=count,
        default=32,
        metavar="N",
        help="requests answered at once; more wait (32)",
    )
    parser.add_argument(
        "--budget",
        type=above_zero,
        metavar="USD",
        help="refuse requests once the answers have cost this much",
    )
    add_yes(parser, "accept what requests cost")
    add_token_limits(parser, 512)


async def serve(context: Context, options: ServeOptions) -> int:
    """`serve --pair NAME … [--host H] [--port N] [--key-env VAR] [--budget USD] [--yes]`."""
    from waltzrl_tui.chat.bill import billed_pairs
    from waltzrl_tui.local.live import ensure_base

    # aiohttp takes a third of a second to import.
    from waltzrl_tui.serve.server import PairServer, ServerSettings

    key = await asyncio.to_thread(_key, options.key_env)
    if not is_loopback(options.host) and not key:
        raise UsageError(
            f"At {options.host} others could use the pair without a key.",
            hint="Put a key into a variable and name it with --key-env, or serve on 127.0.0.1.",
        )
    async with context.store() as store, context.engines() as engines:
        await ensure_base(store)
        rows = [await store.agents.get_pair(name) for name in dict.fromkeys(options.pair)]
        bills = await billed_pairs(store, [row.name for row in rows])
        await agree_to_keys(context, store, [agent for each in bills for agent in each.agents])
        # A pair that cannot be asked at all fails before its price is shown.
        pairs = {row.name: await engines.pair(store, row.name) for row in rows}
        await _agree(context, options, bills)
        for live in pairs.values():
            context.out.status.set(f"getting {live.name} ready")
            await engines.warm(live)
        meter = Meter(options.budget)
        created = {
            row.name: int(datetime.fromisoformat(row.created_at).timestamp()) for row in rows
        }
        settings = ServerSettings(
            key=key,
            drafts=options.drafts,
            max_tokens=options.max_tokens,
            verdict_tokens=options.verdict_tokens,
            concurrency=options.concurrency,
        )
        metered = {bill.name: _metered(pairs[bill.name], bill, meter) for bill in bills}
        server = PairServer(metered, created, settings, meter)
        try:
            port = await server.start(options.host, options.port)
        except OSError as error:
            raise WaltzError(
                f"Cannot listen at {options.host}:{options.port}: {error.strerror or error}.",
                hint="Choose another --port, or --port 0 for any free one.",
            ) from error
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"http://{host}:{port}/v1"
        names = ", ".join(pairs)
        context.out.result(
            {
                "url": url,
                "pairs": list(pairs),
                "key_env": options.key_env,
                "budget": options.budget,
            },
            f"{names} at {url}\nAsk it as the model {next(iter(pairs))!r}; ctrl+c ends it.",
        )
        changed = asyncio.Event()
        server.counts.changed = changed.set
        try:
            while await changed.wait():
                # The last of several changes must not be the one that comes too soon to be drawn.
                await asyncio.sleep(_REDRAW_SECONDS)
                changed.clear()
                context.out.status.set(_words(server.counts, meter))
        except asyncio.CancelledError:
            # A signal is how it ends.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        finally:
            await server.stop()
            if server.counts.answered or server.counts.failed:
                context.out.say(_words(server.counts, meter))
    return 0


async def _agree(context: Context, options: ServeOptions, bills: Sequence[BilledPair]) -> None:
    """Show what requests cost, and return only after a yes if they cost anything."""
    limits = (options.max_tokens, options.verdict_tokens)
    words = list(dict.fromkeys(line for bill in bills for line in bill.words(*limits)))
    unpriced = {agent.name: agent for bill in bills for agent in bill.unpriced}
    if options.budget is not None:
        if unpriced:
            agent = next(iter(unpriced.values()))
            raise UsageError(
                f"--budget cannot be enforced: the price of {agent.name} is not known.",
                hint=f"Set it, USD per 1M tokens: waltzrl-tui agents price {agent.name} IN OUT",
            )
        words.append(f"Requests are refused once the answers have cost {money(options.budget)}.")
    if any(not bill.free for bill in bills):
        await agree(context, "\n".join(words), yes=options.yes)


def _metered(live: LivePair, bill: BilledPair, meter: Meter) -> LivePair:
    """The pair with what it is asked charged to `meter`."""

    def charged(endpoint: ChatEndpoint, agent: AgentRow) -> MeteredEndpoint:
        return MeteredEndpoint(endpoint, meter, bill.rates[agent.name], agent.name)

    judge = None
    if live.feedback is not None and bill.feedback is not None:
        judge = charged(live.feedback, bill.feedback)
    return replace(live, conversation=charged(live.conversation, bill.conversation), feedback=judge)


def _words(counts: RequestCounts, meter: Meter) -> str:
    waiting = f"{counts.waiting} waiting, " if counts.waiting else ""
    cost = f", {meter.words()}" if meter.words() else ""
    full = "; the budget is used up" if meter.used_up else ""
    return (
        f"{waiting}{counts.running} running, {counts.answered} answered, {counts.failed} failed"
        f"{cost}{full}"
    )


def _key(variable: str) -> str:
    check_variable("--key-env", variable)
    if not variable:
        return ""
    if key := find_key(variable):
        return key
    raise UsageError(
        f"{variable} has no key.",
        hint=f"Set {variable} in the environment, or: waltzrl-tui doctor --set-key {variable}",
    )
