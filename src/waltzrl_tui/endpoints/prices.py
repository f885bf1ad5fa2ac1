"""What a server's own list of models says of a model: whether it is there, and its price.

The list is asked with `GET {address}/models`, which costs nothing. Three forms of prices are known:

- Together's: `pricing.input` and `.output`, USD per 1M tokens; two zeros mean that it is not
  billed by the token, which is not the same as free.
- OpenRouter's: `pricing.prompt` and `.completion`, text, USD per token; "0" is free.
- The Hugging Face router's: `providers[].pricing.input` and `.output`, USD per 1M tokens, one for
  each provider that it may send a request to.
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
"""How long an answer may take."""

_LARGEST: Final = 8 * 1024 * 1024
_MOST_NAMES: Final = 5_000
_LONGEST_NAME: Final = 200
_DEAREST: Final = 10_000.0
_CHOSEN_THERE: Final = ("", "fastest", "cheapest", "preferred")


@dataclass(frozen=True, slots=True)
class Listed:
    """What was found.

    Attributes:
        price: None where the list tells none, or was not read.
        source: The address of the list.
        words: What there is to say, safe to show; "" for nothing.
    """

    price: Price | None
    source: str
    words: str = ""


async def ask_list(agent: AgentRow, key: str) -> Listed:
    """What the list of the agent's server says of its model. Never fails: it says why not.

    Args:
        key: Of the agent; not sent anywhere but to the agent's own address.
    """
    source = f"{agent.url.rstrip('/')}/models"
    if agent.kind != "openai":
        return Listed(None, source, "No list with prices is known for it.")
    if agent.key_env and not key:
        return Listed(None, source, f"{agent.key_env} is not set, so {source} was not asked.")
    try:
        async with asyncio.timeout(SECONDS):
            body = await _body(source, key)
    except TimeoutError:
        return Listed(None, source, f"{source} did not answer within {SECONDS:g} s.")
    except _Refused as error:
        return Listed(None, source, f"{source} {error}.")
    return await asyncio.to_thread(read_list, body, agent.base, source)


def read_list(body: bytes, model: str, source: str) -> Listed:
    """What a list says of `model`. The list is not trusted."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return Listed(None, source, f"{source} answered what is no JSON.")
    entries = found.get("data") if isinstance(found, dict) else found
    if not isinstance(entries, list):
        return Listed(None, source, f"{source} answered what is no list of models.")
    named = {
        name: entry
        for entry in reversed(entries)
        if isinstance(entry, dict)
        for name in (entry.get("id"), *_aliases(entry))
        if isinstance(name, str) and name
    }
    # A part after a colon is a wish for how to serve the model, if it is not in its name.
    plain, _, wish = model.rpartition(":")
    if f"{model}:latest" in named:  # Ollama's, which is meant where none is named.
        return Listed(None, source)
    if model in named:
        price, words = _price(named[model], model, "")
    elif plain in named:
        price, words = _price(named[plain], plain, wish)
    else:
        return Listed(None, source, _lacking(model, list(named), source))
    return Listed(price, source, words)


def _price(entry: dict[str, Any], name: str, wish: str) -> tuple[Price | None, str]:
    providers = entry.get("providers")
    if isinstance(providers, list):
        return _routed([each for each in providers if isinstance(each, dict)], name, wish)
    pricing = entry.get("pricing")
    if not isinstance(pricing, dict) or wish:
        return None, ""
    if "prompt" in pricing or "completion" in pricing:
        if _usd(pricing.get("request"), 1.0):
            return None, "It is also billed by the request."
        return _both(pricing.get("prompt"), pricing.get("completion"), 1e6), ""
    price = _both(pricing.get("input"), pricing.get("output"), 1.0)
    return (None if price == Price(0.0, 0.0) else price), ""


def _routed(providers: list[dict[str, Any]], name: str, wish: str) -> tuple[Price | None, str]:
    """Of the Hugging Face router: where it chooses the provider, no request costs more than the
    dearest one takes for reading and the dearest for writing."""
    live = [each for each in providers if each.get("status", "live") == "live"]
    if wish not in _CHOSEN_THERE:
        live = [each for each in live if each.get("provider") == wish]
        if not live:
            names = [str(each.get("provider", "")) for each in providers][:6]
            there = ", ".join(one_line(each, 40) for each in names if each)
            return None, f"{one_line(wish, 40)} does not serve it there; so do {there or 'none'}."
    prices = [price for each in live if (price := _provider_price(each)) is not None]
    if not prices:
        return None, ""
    if wish == "cheapest":
        return min(prices, key=lambda price: price.usd_out), ""
    dearest = Price(max(p.usd_in for p in prices), max(p.usd_out for p in prices))
    if len(live) == 1:
        return dearest, ""
    untold = len(live) - len(prices)
    words = (
        f"The router chooses among {len(live)} providers; this is the dearest of those that "
        f"tell a price{f' ({untold} do not)' if untold else ''}. "
        f"{one_line(name, 80)}:PROVIDER as the model asks one only."
    )
    return dearest, words


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
    return round(usd, 6) if math.isfinite(usd) and 0 <= usd <= _DEAREST else None


def _aliases(entry: dict[str, Any]) -> list[Any]:
    aliases = entry.get("aliases")
    return aliases if isinstance(aliases, list) else []


def _lacking(model: str, names: list[str], source: str) -> str:
    words = f"{source} lists no model {one_line(model, 120)!r}"
    alike = near(model, names)
    if alike:
        words += f"; near it: {', '.join(one_line(name, 120) for name in alike)}"
    return f"{words}."


def near(model: str, names: list[str]) -> list[str]:
    """At most three of `names` that look like `model`: its maker and upper case may be missing."""
    wanted = model.casefold()
    tail = wanted.rpartition("/")[2]
    folded: dict[str, str] = {}
    for name in names[:_MOST_NAMES]:
        if len(name) <= _LONGEST_NAME:
            folded.setdefault(name.casefold(), name)
    tails: dict[str, str] = {}
    for each, name in folded.items():
        tails.setdefault(each.rpartition("/")[2], name)
    holding = sorted((each for each in folded if tail and tail in each), key=len)[:3]
    alike = get_close_matches(tail[:_LONGEST_NAME], tails, n=3, cutoff=0.6)
    found = [*(folded[each] for each in holding), *(tails[each] for each in alike)]
    return list(dict.fromkeys(found))[:3]


class _Refused(Exception):
    """A list was not given; why, as the end of a sentence."""


async def _body(url: str, key: str) -> bytes:
    import httpx2

    # Compressed, a short answer could become a very long one.
    headers = {"accept-encoding": "identity"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    try:
        async with (
            httpx2.AsyncClient(timeout=SECONDS, transport=async_transport(httpx2, url)) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code in (401, 403):
                raise _Refused(f"wants a valid key ({answer.status_code})")
            if answer.status_code != 200:
                raise _Refused(f"gives no list of models ({answer.status_code})")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > _LARGEST:
                    raise _Refused("gives a list that is too long")
            return bytes(body)
    except httpx2.TimeoutException as error:
        raise TimeoutError from error
    except (httpx2.LocalProtocolError, UnicodeError) as error:
        # Its words would repeat the key.
        raise _Refused("was not asked: the key cannot be sent in a header") from error
    except httpx2.InvalidURL as error:
        raise _Refused("is no address") from error
    except httpx2.HTTPError as error:
        words = one_line(str(error) or type(error).__name__, 300)
        raise _Refused(f"cannot be asked now ({words})") from error
