"""`serve`: pairs behind an endpoint, until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from waltzrl_tui.chat.bill import BilledPair, billed_pairs
from waltzrl_tui.cli.addresses import check_variable
from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.keys import find_key
from waltzrl_tui.local.live import ensure_base
from waltzrl_tui.network import is_loopback
from waltzrl_tui.serve.meter import Meter, MeteredEndpoint
from waltzrl_tui.store import AgentRow
from waltzrl_tui.waltz.waltz import LivePair
from waltzrl_tui.words import money

if TYPE_CHECKING:
    from waltzrl_tui.serve.server import Tally

_REDRAW_SECONDS = 0.2


async def serve(context: Context) -> int:
    """`serve --pair NAME … [--host H] [--port N] [--key-env VAR] [--budget USD] [--yes]`."""
    # aiohttp takes a third of a second to import.
    from waltzrl_tui.serve.server import PairServer, Settings

    args = context.args
    key = await asyncio.to_thread(_key, args.key_env)
    if not is_loopback(args.host) and not key:
        raise UsageError(
            f"At {args.host} others could ask the pair, and no key is asked for.",
            hint="Put a key into a variable and name it with --key-env, or serve on 127.0.0.1.",
        )
    async with context.store() as store, context.engines() as engines:
        await ensure_base(store)
        rows = [await store.agents.get_pair(name) for name in dict.fromkeys(args.pair)]
        bills = await billed_pairs(store, [row.name for row in rows])
        await agree_to_keys(context, store, [agent for each in bills for agent in each.agents])
        # What cannot be asked at all is told before anybody says yes to its price.
        pairs = {row.name: await engines.pair(store, row.name) for row in rows}
        await _agreed(context, bills)
        for live in pairs.values():
            context.out.status.set(f"getting {live.name} ready")
            await engines.warm(live)
        meter = Meter(args.budget)
        created = {
            row.name: int(datetime.fromisoformat(row.created_at).timestamp()) for row in rows
        }
        settings = Settings(
            key=key,
            drafts=args.drafts,
            max_tokens=args.max_tokens,
            verdict_tokens=args.verdict_tokens,
            at_once=args.concurrency,
        )
        metered = {bill.name: _metered(pairs[bill.name], bill, meter) for bill in bills}
        server = PairServer(metered, created, settings, meter)
        try:
            port = await server.start(args.host, args.port)
        except OSError as error:
            raise WaltzError(
                f"{args.host}:{args.port} cannot be listened at: {error.strerror or error}.",
                hint="Choose another --port, or --port 0 for one that is free.",
            ) from error
        host = f"[{args.host}]" if ":" in args.host else args.host
        url = f"http://{host}:{port}/v1"
        names = ", ".join(pairs)
        context.out.result(
            {"url": url, "pairs": list(pairs), "key_env": args.key_env, "budget": args.budget},
            f"{names} at {url}\nAsk it as the model {next(iter(pairs))!r}; ctrl+c ends it.",
        )
        changed = asyncio.Event()
        server.tally.changed = changed.set
        try:
            while await changed.wait():
                # The last of several changes must not be the one that comes too soon to be drawn.
                await asyncio.sleep(_REDRAW_SECONDS)
                changed.clear()
                context.out.status.set(_words(server.tally, meter))
        except asyncio.CancelledError:
            # A signal is how it ends.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        finally:
            await server.stop()
            if server.tally.answered or server.tally.failed:
                context.out.say(_words(server.tally, meter))
    return 0


async def _agreed(context: Context, bills: Sequence[BilledPair]) -> None:
    """Say what requests cost, and go on with what costs only after a yes."""
    args = context.args
    caps = (args.max_tokens, args.verdict_tokens)
    words = list(dict.fromkeys(line for bill in bills for line in bill.words(*caps)))
    unpriced = {agent.name: agent for bill in bills for agent in bill.unpriced}
    if args.budget is not None:
        if unpriced:
            agent = next(iter(unpriced.values()))
            raise UsageError(
                f"--budget cannot be kept: what {agent.name} costs is not known.",
                hint=f"Say it, USD per 1M tokens: waltzrl-tui agents price {agent.name} IN OUT",
            )
        words.append(f"Once the answers have cost {money(args.budget)}, requests are refused.")
    if any(not bill.free for bill in bills):
        await agree(context, "\n".join(words))


def _metered(live: LivePair, bill: BilledPair, meter: Meter) -> LivePair:
    """The pair with what it is asked charged to `meter`."""

    def charged(endpoint: ChatEndpoint, agent: AgentRow) -> MeteredEndpoint:
        return MeteredEndpoint(endpoint, meter, bill.rates[agent.name], agent.name)

    judge = None
    if live.feedback is not None and bill.feedback is not None:
        judge = charged(live.feedback, bill.feedback)
    return replace(live, conversation=charged(live.conversation, bill.conversation), feedback=judge)


def _words(tally: Tally, meter: Meter) -> str:
    waiting = f"{tally.waiting} waiting, " if tally.waiting else ""
    cost = f", {meter.words()}" if meter.words() else ""
    full = "; the budget is used up" if meter.used_up else ""
    return (
        f"{waiting}{tally.running} running, {tally.answered} answered, {tally.failed} failed"
        f"{cost}{full}"
    )


def _key(variable: str) -> str:
    check_variable("--key-env", variable)
    if not variable:
        return ""
    if key := find_key(variable):
        return key
    raise UsageError(
        f"{variable} holds no key.",
        hint=f"Set {variable} in the environment, or: waltzrl-tui doctor --set-key {variable}",
    )
