"""`agents`: agents listed, added, approved, priced and removed."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waltzrl_tui.approvals import approve, origin_of, unencrypted
from waltzrl_tui.cli.addresses import check_variable, checked_address
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import NameOptions, Options
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import usd
from waltzrl_tui.cli.prices import (
    PriceOptions,
    agent_document,
    ask_price,
    price_agent,
    price_sentence,
    price_words,
    refuse_embedded,
    store_price,
)
from waltzrl_tui.endpoints.costs import rate_of
from waltzrl_tui.endpoints.key_gate import may_send
from waltzrl_tui.endpoints.presets import PRESETS
from waltzrl_tui.errors import UsageError
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.weights import DEFAULT_MODEL
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.store import AgentRow
from waltzrl_tui.store.answers import Price
from waltzrl_tui.text import one_line
from waltzrl_tui.waltz.prompts import default_prompt, role_prompt


@dataclass(frozen=True, kw_only=True)
class AddOptions(Options):
    """The options of `agents add`; `price` is USD per 1M tokens read and written."""

    name: str
    role: Role
    at: str
    url: str
    model: str
    adapter: str
    key_env: str
    prompt: str
    price: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class ApproveOptions(Options):
    """The options of `agents approve`."""

    name: str
    key_env: str
    provider: str
    at: str


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    agents = subcommands(parser)
    subcommand(agents, "list", "all agents", Options, list_agents)
    add = subcommand(
        agents, "add", "name an endpoint or an adapter as an agent", AddOptions, add_agent
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", choices=ROLES, required=True, help="what it does in a pair")
    add.add_argument(
        "--at",
        default="",
        metavar="WHERE",
        help=f"its server: {', '.join(PRESETS)}, or the address of an OpenAI-compatible "
        "server, up to /v1",
    )
    add.add_argument("--url", default="", help="the same, an address only")
    add.add_argument(
        "--model", default="", metavar="M", help="its model there, or the base of the adapter"
    )
    add.add_argument("--adapter", default="", metavar="DIR", help="an adapter of this engine")
    add.add_argument(
        "--key-env",
        default="",
        metavar="VAR",
        help="the NAME of its key's variable (default: that of the preset)",
    )
    add.add_argument("--prompt", default="", metavar="VERSION", help="system prompt, by version")
    add.add_argument(
        "--price",
        nargs=2,
        type=usd,
        metavar=("IN", "OUT"),
        help="USD per 1M tokens read and written (default: from its server's list of models)",
    )
    approve = subcommand(
        agents,
        "approve",
        "allow a key to be sent to a server that you have not typed yourself",
        ApproveOptions,
        approve_agent,
    )
    approve.add_argument("name", nargs="?", default="", metavar="NAME", help="an agent")
    approve.add_argument("--key-env", default="", metavar="VAR", help="the NAME of its variable")
    approve.add_argument("--provider", default="", metavar="P", help="a provider, all its keys")
    approve.add_argument("--at", default="", metavar="URL", help="the server they may be sent to")
    price = subcommand(
        agents, "price", "set or look up what an agent's tokens cost", PriceOptions, price_agent
    )
    price.add_argument("name", metavar="NAME")
    price.add_argument(
        "usd_in",
        nargs="?",
        type=usd,
        metavar="IN",
        help="USD per 1M tokens read; without prices its server is asked for them",
    )
    price.add_argument(
        "usd_out", nargs="?", type=usd, metavar="OUT", help="USD per 1M tokens written"
    )
    remove = subcommand(
        agents, "remove", "remove an agent; its files stay", NameOptions, remove_agent
    )
    remove.add_argument("name", metavar="NAME")


async def list_agents(context: Context, options: Options) -> int:
    """`agents list`."""
    from waltzrl_tui.local.live import ensure_base

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


async def add_agent(context: Context, options: AddOptions) -> int:
    """`agents add NAME --role R (--at WHERE --model M [--price IN OUT] | --adapter DIR)`."""
    fields = _endpoint(options) if options.at or options.url else _adapter(options)
    if options.price is not None:
        refuse_embedded(fields["kind"])
    async with context.store() as store:
        await store.agents.check_free(options.name)
        blank = {"adapter": "", "url": "", "key_env": "", "job_id": "", "created_at": ""}
        draft = AgentRow(**blank | fields, name=options.name, role=options.role)
        # An unencrypted server needs an approval of its own: `ask_price` notes how.
        if draft.key_env and draft.kind != "bedrock" and not unencrypted(draft.url):
            await _approved(draft.key_env, draft.url)
        # Before anything is stored: a command that fails or is stopped here leaves nothing.
        listed = await ask_price(context, draft)
        price = None if options.price is None else Price(*options.price)
        async with store.transaction():
            agent = await store.agents.add(options.name, role=options.role, **fields)
            quote = await store_price(store, agent, price, listed)
    notes = [listed.words] if listed and listed.words else []
    words = f"Added agent {agent.name}."
    if not agent.embedded:
        words += f" {price_sentence(quote, agent)}"
    context.out.result({"agents": [{**agent_document(agent, quote), "notes": notes}]}, words)
    return 0


async def approve_agent(context: Context, options: ApproveOptions) -> int:
    """`agents approve NAME`, or `--key-env VAR --at URL`, or `--provider P --at URL`."""
    if sum(map(bool, (options.name, options.key_env, options.provider))) != 1 or bool(
        options.name
    ) == bool(options.at):
        raise UsageError(
            "Give either an agent or an address to approve.",
            hint="That is an agent's NAME, or --at URL with either --key-env VAR or --provider P.",
        )
    check_variable("--key-env", options.key_env)
    if options.name:
        async with context.store() as store:
            agent = await store.agents.get(options.name)
            up = await store.deployments.list(up=True)
        addresses = [row.endpoint for row in up if row.agent == agent.name and row.endpoint]
        key, url = agent.key_env, addresses[0] if addresses else agent.url
        if not key or agent.kind in ("embedded", "bedrock"):
            raise UsageError(f"The agent {one_line(agent.name)} sends no key.")
    else:
        key, url = options.key_env or options.provider, options.at
    origin = await _approved(key, url)
    warning = ""
    if unencrypted(url):
        warning = " It is sent unencrypted: others on the network can read it."
    keys = f"The keys of {key} are" if options.provider else f"The key {key} is"
    context.out.result(
        {"key": key, "server": origin}, f"{keys} sent to {origin} from now on.{warning}"
    )
    return 0


async def _approved(key: str, url: str) -> str:
    if await asyncio.to_thread(may_send, key, url):
        return origin_of(url)
    return await asyncio.to_thread(approve, key, url)


async def remove_agent(context: Context, options: NameOptions) -> int:
    """`agents remove NAME`."""
    async with context.store() as store:
        await store.agents.remove(options.name)
    name = options.name
    context.out.result({"removed": name}, f"Removed agent {name}; its files stay.")
    return 0


def _endpoint(options: AddOptions) -> dict[str, Any]:
    if options.at and options.url:
        raise UsageError("--at and --url are the same; give one.")
    preset = PRESETS.get(options.at)
    if preset is not None:
        url = preset.url
    elif options.at and "/" not in options.at:
        raise UsageError(
            "--at is neither a known preset nor an address.",
            hint=f"Give one of {', '.join(PRESETS)}, or an address.",
        )
    else:
        url = checked_address(
            "--at" if options.at else "--url", options.at or options.url, "--key-env"
        )
    if options.adapter:
        raise UsageError("--adapter is for the embedded engine and goes without --at.")
    if not options.model:
        raise UsageError("--model is missing.", hint="Name the model as the server calls it.")
    check_variable("--key-env", options.key_env)
    if preset is not None and preset.kind == "bedrock" and options.key_env:
        raise UsageError(
            "Amazon Bedrock takes AWS credentials, not one key.",
            hint="Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        )
    return {
        "kind": preset.kind if preset else "openai",
        "base": options.model,
        "url": url,
        "key_env": options.key_env or (preset.key if preset else ""),
        "prompt": _prompt(options, f"{options.role}/full-1"),
    }


def _adapter(options: AddOptions) -> dict[str, Any]:
    if options.key_env:
        raise UsageError("--key-env goes with --at.", hint="Give the server as well: --at.")
    adapter = ""
    if options.adapter:
        folder = Path(options.adapter).expanduser().absolute()
        if not (folder / ADAPTER_GGUF).is_file():
            raise UsageError(
                f"{folder} has no adapter of this engine ({ADAPTER_GGUF}).",
                hint="`waltzrl-tui jobs show JOB` shows where a job's adapter is.",
            )
        adapter = str(folder)
    elif not options.model:
        raise UsageError(
            "The agent has no model.",
            hint="Give --at and --model for a server, --adapter for an adapter, or --model "
            "for a bare model of the embedded engine.",
        )
    return {
        "kind": "embedded",
        "base": options.model or DEFAULT_MODEL,
        "adapter": adapter,
        "prompt": _prompt(options, default_prompt(options.role)),
    }


def _prompt(options: AddOptions, default: str) -> str:
    if not options.prompt:
        return default
    prompt = role_prompt(options.prompt)
    if prompt.role != options.role:
        raise UsageError(f"The prompt {prompt.version} is for the {prompt.role} role.")
    return prompt.version


def _agents_table(agents: Sequence[AgentRow], prices: Sequence[str]) -> str:
    return table(
        ("agent", "role", "model", "prompt", "price per 1M, in / out", "where"),
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
