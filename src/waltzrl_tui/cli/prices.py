"""`agents price`, and what agents cost per token: set, read from their server, and shown."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from shlex import quote as quote_word
from typing import Any
from urllib.parse import urlsplit

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import Options
from waltzrl_tui.endpoints.costs import FREE, BillingRate, rate_of
from waltzrl_tui.endpoints.key_gate import KeyUse, may_send
from waltzrl_tui.endpoints.prices import ListedPrice, fetch_price
from waltzrl_tui.errors import UsageError
from waltzrl_tui.keys import find_key
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price, Quote
from waltzrl_tui.words import UNKNOWN, money


@dataclass(frozen=True, kw_only=True)
class PriceOptions(Options):
    """The options of `agents price`."""

    name: str
    usd_in: float | None
    usd_out: float | None


async def price_agent(context: Context, options: PriceOptions) -> int:
    """`agents price NAME [IN OUT]`: set a price; without one, ask the agent's server for it."""
    price = None
    if options.usd_in is not None and options.usd_out is not None:
        price = Price(options.usd_in, options.usd_out)
    elif options.usd_in is not None:
        raise UsageError("One price is missing.", hint="Give both: USD per 1M tokens, IN and OUT.")
    async with context.store() as store:
        agent = await store.agents.get(options.name)
        refuse_embedded(agent.kind)
        listed = await ask_price(context, agent) if price is None else None
        quote = await store_price(store, agent, price, listed)
    notes = [listed.words] if listed and listed.words else []
    context.out.result(
        {"agents": [{**agent_document(agent, quote), "notes": notes}]}, price_sentence(quote, agent)
    )
    return 0


async def ask_price(context: Context, agent: AgentRow) -> ListedPrice | None:
    """The agent's entry in its server's list of models, which costs nothing to read.

    If the list cannot be read or lacks the model, a note says so, which is printed. None for the
    embedded engine.
    """
    if agent.embedded:
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


async def store_price(
    store: Store, agent: AgentRow, price: Price | None, listed: ListedPrice | None
) -> Quote | None:
    """Store the price of an agent: the user's, else the server's, if any."""
    if price is not None:
        return await store.answers.set_price(agent.name, price)
    if listed is not None and listed.price is not None:
        return await store.answers.set_price(agent.name, listed.price, listed.source)
    return (await store.answers.quotes()).get(agent.name)


def refuse_embedded(kind: str) -> None:
    """Raise if an agent cannot have a price.

    Raises:
        UsageError: It runs on this machine.
    """
    if kind == EMBEDDED:
        raise UsageError("Agents of the embedded engine cost nothing; they have no price.")


def agent_document(agent: AgentRow, quote: Quote | None) -> dict[str, Any]:
    """An agent with its price, USD per 1M tokens; None if it is not known."""
    price = None
    if quote is not None:
        price = {**asdict(quote.price), "as_of": quote.as_of, "source": quote.source}
    return {**asdict(agent), "price": price}


def price_sentence(quote: Quote | None, agent: AgentRow) -> str:
    """The price of an agent, or how to set it."""
    if quote is None:
        if rate_of(agent, (), {}) is not None:
            return f"{agent.name} costs nothing."
        return (
            f"The price of {agent.name} is not known. Set it in USD per 1M tokens read and "
            f"written: waltzrl-tui agents price {quote_word(agent.name)} IN OUT"
        )
    by = f", according to {quote.source}" if quote.source else ""
    return (
        f"{agent.name} costs {money(quote.price.usd_in)} per 1M tokens read and "
        f"{money(quote.price.usd_out)} per 1M written{by}."
    )


def price_words(rate: BillingRate | None, quote: Quote | None) -> str:
    """The price of an agent, for a table."""
    if rate is None:
        return UNKNOWN
    if rate.usd_per_hour:
        return f"{money(rate.usd_per_hour)}/h while up"
    if rate == FREE:
        return money(0)
    on = f" ({quote.as_of[:10]})" if quote and quote.as_of else ""
    return f"{money(rate.usd_in)} / {money(rate.usd_out)}{on}"
