"""`agents list|add|approve|price|remove` and `pairs list|add|remove`."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from waltzrl_tui.approvals import approve, origin_of, unencrypted
from waltzrl_tui.cli.addresses import check_variable, checked_address
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.prices import (
    agent_document,
    ask_price,
    keep_price,
    price_words,
    refuse_embedded,
    told,
)
from waltzrl_tui.endpoints.costs import rate_of
from waltzrl_tui.endpoints.key_gate import may_send
from waltzrl_tui.endpoints.presets import PRESETS
from waltzrl_tui.errors import UsageError
from waltzrl_tui.local.live import ensure_base
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.weights import DEFAULT_MODEL
from waltzrl_tui.store import AgentRow, PairRow
from waltzrl_tui.store.answers import Price
from waltzrl_tui.text import one_line
from waltzrl_tui.waltz.prompts import default_prompt, role_prompt


async def list_agents(context: Context) -> int:
    """`agents list`."""
    async with context.store() as store:
        await ensure_base(store)
        agents = await store.agents.list()
        quotes = await store.answers.quotes()
        up = await store.deployments.list(up=True)
    prices = {name: quote.price for name, quote in quotes.items()}
    documents = [agent_document(agent, quotes.get(agent.name)) for agent in agents]
    words = [price_words(rate_of(agent, up, prices), quotes.get(agent.name)) for agent in agents]
    context.out.result({"agents": documents}, _agents_table(agents, words))
    return 0


async def add_agent(context: Context) -> int:
    """`agents add NAME --role R (--at WHERE --model M [--price IN OUT] | --adapter DIR)`."""
    args = context.args
    options = _endpoint(args) if args.at or args.url else _adapter(args)
    if args.price is not None:
        refuse_embedded(options["kind"])
    async with context.store() as store:
        await store.agents.check_free(args.name)
        blank = {"adapter": "", "url": "", "key_env": "", "job_id": "", "created_at": ""}
        wanted = AgentRow(**blank | options, name=args.name, role=args.role)
        # What goes unencrypted wants a yes of its own: `ask_price` notes how.
        if wanted.key_env and wanted.kind != "bedrock" and not unencrypted(wanted.url):
            await _approved(wanted.key_env, wanted.url)
        # Before anything is stored: a command that fails or is stopped here leaves nothing.
        listed = await ask_price(context, wanted)
        given = None if args.price is None else Price(*args.price)
        async with store.transaction():
            agent = await store.agents.add(args.name, role=args.role, **options)
            quote = await keep_price(store, agent, given, listed)
    notes = [listed.words] if listed and listed.words else []
    words = f"The agent {agent.name} is added."
    if agent.kind != "embedded":
        words += f" {told(quote, agent)}"
    context.out.result({"agents": [{**agent_document(agent, quote), "notes": notes}]}, words)
    return 0


async def approve_agent(context: Context) -> int:
    """`agents approve NAME`, or `--key-env VAR --at URL`, or `--provider P --at URL`."""
    args = context.args
    if sum(map(bool, (args.name, args.key_env, args.provider))) != 1 or bool(args.name) == bool(
        args.at
    ):
        raise UsageError(
            "What is to be approved is not clear.",
            hint="Give an agent's NAME, or --at URL with either --key-env VAR or --provider P.",
        )
    check_variable("--key-env", args.key_env)
    if args.name:
        async with context.store() as store:
            agent = await store.agents.get(args.name)
            up = await store.deployments.list(up=True)
        addresses = [row.endpoint for row in up if row.agent == agent.name and row.endpoint]
        key, url = agent.key_env, addresses[0] if addresses else agent.url
        if not key or agent.kind in ("embedded", "bedrock"):
            raise UsageError(f"The agent {one_line(agent.name)} sends no key.")
    else:
        key, url = args.key_env or args.provider, args.at
    origin = await _approved(key, url)
    clear = " It goes there unencrypted: others on the network can read it." * unencrypted(url)
    what = f"The keys of {key} go" if args.provider else f"The key {key} goes"
    context.out.result({"key": key, "server": origin}, f"{what} to {origin} from now on.{clear}")
    return 0


async def _approved(key: str, url: str) -> str:
    if await asyncio.to_thread(may_send, key, url):
        return origin_of(url)
    return await asyncio.to_thread(approve, key, url)


async def remove_agent(context: Context) -> int:
    """`agents remove NAME`."""
    async with context.store() as store:
        await store.agents.remove(context.args.name)
    name = context.args.name
    context.out.result({"removed": name}, f"The agent {name} is removed; its files stay.")
    return 0


async def list_pairs(context: Context) -> int:
    """`pairs list`."""
    async with context.store() as store:
        await ensure_base(store)
        pairs = await store.agents.pairs()
    context.out.result({"pairs": [asdict(pair) for pair in pairs]}, _pairs_table(pairs))
    return 0


async def add_pair(context: Context) -> int:
    """`pairs add NAME --conversation AGENT [--feedback AGENT] [--rounds T]`."""
    args = context.args
    async with context.store() as store:
        await ensure_base(store)
        pair = await store.agents.add_pair(
            args.name,
            conversation=args.conversation,
            feedback=args.feedback,
            rounds=args.rounds,
        )
    context.out.result(
        {"pairs": [asdict(pair)]},
        f"The pair {pair.name} is made. Ask it: waltzrl-tui chat --pair {pair.name}",
    )
    return 0


async def remove_pair(context: Context) -> int:
    """`pairs remove NAME`."""
    async with context.store() as store:
        await store.agents.remove_pair(context.args.name)
    name = context.args.name
    context.out.result({"removed": name}, f"The pair {name} is removed; its agents stay.")
    return 0


def _endpoint(args: Namespace) -> dict[str, Any]:
    if args.at and args.url:
        raise UsageError("--at and --url are the same; give one.")
    place = PRESETS.get(args.at)
    if place is not None:
        url = place.url
    elif args.at and "/" not in args.at:
        raise UsageError(
            "--at names no place that is known here.",
            hint=f"Give one of {', '.join(PRESETS)}, or an address.",
        )
    else:
        url = checked_address("--at" if args.at else "--url", args.at or args.url, "--key-env")
    if args.adapter:
        raise UsageError("--adapter is for the embedded engine and goes without --at.")
    if not args.model:
        raise UsageError("--model is missing.", hint="Name the model as the server calls it.")
    check_variable("--key-env", args.key_env)
    if place is not None and place.kind == "bedrock" and args.key_env:
        raise UsageError(
            "Amazon Bedrock takes AWS credentials, not one key.",
            hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    return {
        "kind": place.kind if place else "openai",
        "base": args.model,
        "url": url,
        "key_env": args.key_env or (place.key if place else ""),
        "prompt": _prompt(args, f"{args.role}/full-1"),
    }


def _adapter(args: Namespace) -> dict[str, Any]:
    if args.key_env:
        raise UsageError("--key-env goes with --at.", hint="Say where the model answers: --at.")
    adapter = ""
    if args.adapter:
        folder = Path(args.adapter).expanduser().absolute()
        if not (folder / ADAPTER_GGUF).is_file():
            raise UsageError(
                f"{folder} holds no adapter of this engine ({ADAPTER_GGUF}).",
                hint="`waltzrl-tui jobs show JOB` tells where a job's adapter is.",
            )
        adapter = str(folder)
    elif not args.model:
        raise UsageError(
            "What the agent is made of is missing.",
            hint="Give --at and --model for a server, --adapter for an adapter, or --model "
            "for a bare model of the embedded engine.",
        )
    return {
        "kind": "embedded",
        "base": args.model or DEFAULT_MODEL,
        "adapter": adapter,
        "prompt": _prompt(args, default_prompt(args.role)),
    }


def _prompt(args: Namespace, default: str) -> str:
    if not args.prompt:
        return default
    prompt = role_prompt(args.prompt)
    if prompt.role != args.role:
        raise UsageError(f"The prompt {prompt.version} is for the {prompt.role} role.")
    return prompt.version


def _agents_table(agents: Sequence[AgentRow], prices: Sequence[str]) -> str:
    return table(
        ("agent", "role", "model", "prompt", "USD per 1M in / out", "where"),
        [
            (
                agent.name,
                agent.role,
                agent.base,
                agent.prompt,
                price,
                agent.url or agent.adapter or "the base, untrained",
            )
            for agent, price in zip(agents, prices, strict=True)
        ],
    )


def _pairs_table(pairs: Sequence[PairRow]) -> str:
    return table(
        ("pair", "conversation", "feedback", "rounds", "made (UTC)"),
        [
            (
                pair.name,
                pair.conversation,
                pair.feedback or "–",
                str(pair.rounds),
                pair.created_at[:16].replace("T", " "),
            )
            for pair in pairs
        ],
        right={3},
    )
