"""Whether a server's own list of models has a model, and at what price.

The list comes from `GET {address}/models`, which costs nothing. Three forms of prices are known:

- Together's: `pricing.input` and `.output`, USD per 1M tokens; two zeros mean that it is not
  billed by the token, which is not the same as free.
- OpenRouter's: `pricing.prompt` and `.completion`, text, USD per token; "0" is free.
- The Hugging Face router's: `providers[].pricing.input` and `.output`, USD per 1M tokens, one for
  each provider that it may route a request to.
"""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from waltzrl_tui.network import async_transport
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.rows import AgentRow
from waltzrl_tui.text import one_line

SECONDS: Final = 15.0
"""Seconds that a response may take."""

_MAX_BYTES: Final = 8 * 1024 * 1024
_MAX_NAMES: Final = 5_000
_LONGEST_NAME: Final = 200
_MAX_USD: Final = 10_000.0
_ROUTER_CHOOSES: Final = ("", "fastest", "cheapest", "preferred")


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """What a server's list reports about one model.

    Attributes:
        price: None if the list has none, or was not read.
        source: The address of the list.
        words: A remark, safe to show; may be "".
    """

    price: Price | None
    source: str
    words: str = ""


async def fetch_price(agent: AgentRow, key: str) -> ListedPrice:
    """The price of the agent's model in its server's list. Failures are reported in `words`.

    Args:
        key: Of the agent; sent only to the agent's own address.
    """
    source = f"{agent.url.rstrip('/')}/models"
    if agent.kind != "openai":
        return ListedPrice(None, source, "This kind of server has no list of prices.")
    if agent.key_env and not key:
        return ListedPrice(None, source, f"{agent.key_env} is not set, so {source} was not read.")
    try:
        async with asyncio.timeout(SECONDS):
            body = await _body(source, key)
    except TimeoutError:
        return ListedPrice(None, source, f"{source} did not answer within {SECONDS:g} s.")
    except _Refused as error:
        return ListedPrice(None, source, f"{source} {error}.")
    return await asyncio.to_thread(parse_list, body, agent.base, source)


def parse_list(body: bytes, model: str, source: str) -> ListedPrice:
    """The price of `model` in a list, which is not trusted."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ListedPrice(None, source, f"The response of {source} is not JSON.")
    entries = document.get("data") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        return ListedPrice(None, source, f"The response of {source} is not a list of models.")
    named = {
        name: entry
        for entry in reversed(entries)
        if isinstance(entry, dict)
        for name in (entry.get("id"), *_aliases(entry))
        if isinstance(name, str) and name
    }
    # A suffix after a colon tells the router how to serve the model, unless it is in its name.
    plain, _, suffix = model.rpartition(":")
    if f"{model}:latest" in named:  # Ollama's default tag
        return ListedPrice(None, source)
    if model in named:
        price, words = _price(named[model], model, "")
    elif plain in named:
        price, words = _price(named[plain], plain, suffix)
    else:
        return ListedPrice(None, source, _not_listed(model, list(named), source))
    return ListedPrice(price, source, words)


def _price(entry: dict[str, Any], name: str, suffix: str) -> tuple[Price | None, str]:
    providers = entry.get("providers")
    if isinstance(providers, list):
        return _routed([each for each in providers if isinstance(each, dict)], name, suffix)
    pricing = entry.get("pricing")
    if not isinstance(pricing, dict) or suffix:
        return None, ""
    if "prompt" in pricing or "completion" in pricing:
        if _usd(pricing.get("request"), 1.0):
            return None, "It is also billed by the request."
        return _both(pricing.get("prompt"), pricing.get("completion"), 1e6), ""
    price = _both(pricing.get("input"), pricing.get("output"), 1.0)
    return (None if price == Price(0.0, 0.0) else price), ""


def _routed(providers: list[dict[str, Any]], name: str, suffix: str) -> tuple[Price | None, str]:
    """The Hugging Face router's price. If it chooses the provider, the most that it may cost: the
    highest price for reading and the highest for writing."""
    live = [each for each in providers if each.get("status", "live") == "live"]
    if suffix not in _ROUTER_CHOOSES:
        live = [each for each in live if each.get("provider") == suffix]
        if not live:
            names = [str(each.get("provider", "")) for each in providers][:6]
            there = ", ".join(one_line(each, 40) for each in names if each)
            return (
                None,
                f"{one_line(suffix, 40)} does not serve it there; available: {there or 'none'}.",
            )
    prices = [price for each in live if (price := _provider_price(each)) is not None]
    if not prices:
        return None, ""
    if suffix == "cheapest":
        return min(prices, key=lambda price: price.usd_out), ""
    highest = Price(max(p.usd_in for p in prices), max(p.usd_out for p in prices))
    if len(live) == 1:
        return highest, ""
    unpriced = len(live) - len(prices)
    words = (
        f"The router chooses among {len(live)} providers; this is the highest of their "
        f"prices{f' ({unpriced} report none)' if unpriced else ''}. "
        f"Name the model {one_line(name, 80)}:PROVIDER to use only one."
    )
    return highest, words


def _provider_price(provider: dict[str, Any]) -> Price | None:
    if provider.get("is_free") is True:
        return Price(0.0, 0.0)
    pricing = provider.get("pricing")
    return (
        _both(pricing.get("input"), pricing.get("output"), 1.0)
        if isinstance(pricing, dict)
        else None
    )


def _both(read: Any, written: Any, factor: float) -> Price | None:
    usd_in, usd_out = _usd(read, factor), _usd(written, factor)
    return None if usd_in is None or usd_out is None else Price(usd_in, usd_out)


def _usd(value: Any, factor: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        usd = float(value) * factor
    except (ValueError, OverflowError):
        return None
    return round(usd, 6) if math.isfinite(usd) and 0 <= usd <= _MAX_USD else None


def _aliases(entry: dict[str, Any]) -> list[Any]:
    aliases = entry.get("aliases")
    return aliases if isinstance(aliases, list) else []


def _not_listed(model: str, names: list[str], source: str) -> str:
    words = f"{source} does not list the model {one_line(model, 120)!r}"
    similar = similar_names(model, names)
    if similar:
        words += f"; similar: {', '.join(one_line(name, 120) for name in similar)}"
    return f"{words}."


def similar_names(model: str, names: list[str]) -> list[str]:
    """At most three of `names` like `model`, which may lack the maker and upper case."""
    tail = model.casefold().rpartition("/")[2]
    folded: dict[str, str] = {}
    for name in names[:_MAX_NAMES]:
        if len(name) <= _LONGEST_NAME:
            folded.setdefault(name.casefold(), name)
    tails: dict[str, str] = {}
    for each, name in folded.items():
        tails.setdefault(each.rpartition("/")[2], name)
    containing = sorted((each for each in folded if tail and tail in each), key=len)[:3]
    similar = get_close_matches(tail[:_LONGEST_NAME], tails, n=3, cutoff=0.6)
    matches = [*(folded[each] for each in containing), *(tails[each] for each in similar)]
    return list(dict.fromkeys(matches))[:3]


class _Refused(Exception):
    """The list was refused; the message is the end of a sentence."""


async def _body(url: str, key: str) -> bytes:
    import httpx2

    # Compressed, a short response could become a very long one.
    headers = {"accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        async with (
            httpx2.AsyncClient(timeout=SECONDS, transport=async_transport(httpx2, url)) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code in (401, 403):
                raise _Refused(f"needs a valid key ({response.status_code})")
            if response.status_code != 200:
                raise _Refused(f"returned no list of models ({response.status_code})")
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _MAX_BYTES:
                    raise _Refused("returned a list that is too long")
            return bytes(body)
    except httpx2.TimeoutException as error:
        raise TimeoutError from error
    except (httpx2.LocalProtocolError, UnicodeError) as error:
        # The SDK's message would repeat the key.
        raise _Refused("was not read: the key cannot be sent in a header") from error
    except httpx2.InvalidURL as error:
        raise _Refused("is not an address") from error
    except httpx2.HTTPError as error:
        words = one_line(str(error) or type(error).__name__, 300)
        raise _Refused(f"cannot be read now ({words})") from error
