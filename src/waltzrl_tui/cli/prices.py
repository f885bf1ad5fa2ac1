"""What agents cost by the token: given, asked of their server, and shown."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from shlex import quote as quote_word
from typing import Any
from urllib.parse import urlsplit

from waltzrl_tui.cli.command import Context
from waltzrl_tui.endpoints.costs import FREE, BillingRate, rate_of
from waltzrl_tui.endpoints.key_gate import KeyUse, may_send
from waltzrl_tui.endpoints.prices import ListedPrice, fetch_price
from waltzrl_tui.errors import UsageError
from waltzrl_tui.keys import find_key
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price, Quote


async def price_agent(context: Context) -> int:
    """`agents price NAME [IN OUT]`: keep a price; without one, ask the agent's server for it."""
    args = context.args
    if (args.usd_in is None) != (args.usd_out is None):
        raise UsageError(
            "One price is missing.", hint="Give both: of what is read, and of what is written."
        )
    async with context.store() as store:
        agent = await store.agents.get(args.name)
        refuse_embedded(agent.kind)
        given = None if args.usd_in is None else Price(args.usd_in, args.usd_out)
        listed = await ask_price(context, agent) if given is None else None
        quote = await keep_price(store, agent, given, listed)
    notes = [listed.words] if listed and listed.words else []
    context.out.result(
        {"agents": [{**agent_document(agent, quote), "notes": notes}]}, told(quote, agent)
    )
    return 0


async def ask_price(context: Context, agent: AgentRow) -> ListedPrice | None:
    """What the list of models of an agent's server, which is free to ask, says of the agent.

    A list that cannot be had, or lacks the model, is a note, which is shown. None for the embedded
    engine.
    """
    if agent.kind == "embedded":
        return None
    use = KeyUse(agent.name, agent.key_env, agent.url)
    if agent.key_env and not await asyncio.to_thread(may_send, use.variable, use.url):
        refused = ListedPrice(
            None, agent.url, f"{use.words} So its list of models was not read. {use.hint}"
        )
        context.out.say(refused.words)
        return refused
    context.out.status.set(f"reading the models of {urlsplit(agent.url).netloc}")
    key = await asyncio.to_thread(find_key, agent.key_env) if agent.key_env else ""
    listed = await fetch_price(agent, key)
    context.out.status.clear()
    if listed.words:
        context.out.say(listed.words)
    return listed


async def keep_price(
    store: Store, agent: AgentRow, given: Price | None, listed: ListedPrice | None
) -> Quote | None:
    """Store the price of an agent: the one that the user gave, else the server's, if any."""
    if given is not None:
        return await store.answers.set_price(agent.name, given)
    if listed is not None and listed.price is not None:
        return await store.answers.set_price(agent.name, listed.price, listed.source)
    return (await store.answers.quotes()).get(agent.name)


def refuse_embedded(kind: str) -> None:
    """See that an agent can have a price.

    Raises:
        UsageError: It runs on this machine.
    """
    if kind == "embedded":
        raise UsageError("Agents of the embedded engine cost nothing; they have no price.")


def agent_document(agent: AgentRow, quote: Quote | None) -> dict[str, Any]:
    """An agent with its price, USD per 1M tokens; None where none was told."""
    price = None
    if quote is not None:
        price = {**asdict(quote.price), "as_of": quote.as_of, "source": quote.source}
    return {**asdict(agent), "price": price}


def told(quote: Quote | None, agent: AgentRow) -> str:
    """What is known of the price of an agent, or how to say it."""
    if quote is None:
        if rate_of(agent, (), {}) is not None:
            return f"{agent.name} costs nothing."
        return (
            f"What {agent.name} costs is not known. Say it in USD per 1M tokens read and written: "
            f"waltzrl-tui agents price {quote_word(agent.name)} IN OUT"
        )
    by = f", as {quote.source} tells" if quote.source else ""
    return (
        f"{agent.name} costs ${quote.price.usd_in:g} for 1M tokens read and "
        f"${quote.price.usd_out:g} for 1M written{by}."
    )


def price_words(rate: BillingRate | None, quote: Quote | None) -> str:
    """The same in a cell of a table."""
    if rate is None:
        return "not known"
    if rate.usd_per_hour:
        return f"${rate.usd_per_hour:.2f}/h while up"
    if rate == FREE:
        return "$0"
    on = f" ({quote.as_of[:10]})" if quote and quote.as_of else ""
    return f"{rate.usd_in:g} / {rate.usd_out:g}{on}"
