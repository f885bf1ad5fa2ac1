"""From the agents of a spec to what they are asked through: identity, limit, price, endpoint."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.endpoints.costs import BillingRate, rate_of
from waltzrl_tui.evaluation.answers import Source
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price

EMBEDDED_AT_ONCE: Final = 16
"""As many streams as the embedded engine decodes together (`local.serving.BULK`)."""
SERVER_AT_ONCE: Final = 8
FREE: Final = Price(0.0, 0.0)


class Opener(Protocol):
    """Makes agents ready to be asked: `local.live.Engines`."""

    async def endpoint(self, store: Store, agent: AgentRow) -> ChatEndpoint:
        """The endpoint of one agent.

        Raises:
            EngineError: Weights or an adapter are missing.
            EndpointError: The agent's key is not set.
        """
        ...


async def agents_of(store: Store, names: Iterable[str]) -> dict[str, AgentRow]:
    """The agents of those names.

    Raises:
        NotFoundError: One is not there.
    """
    return {name: await store.agents.get(name) for name in names}


async def pins_of(agents: Mapping[str, AgentRow]) -> dict[str, str]:
    """What each agent is made of, as a short hash: its name and its prompt are no part of it."""
    return await asyncio.to_thread(
        lambda: {name: _identity(agent) for name, agent in agents.items()}
    )


async def sources(
    store: Store,
    opener: Opener,
    agents: Mapping[str, AgentRow],
    pins: Mapping[str, str],
    at_once: int | None,
    limits: Mapping[str, int],
) -> dict[str, Source]:
    """The agents ready to be asked; those at the same server share one gate.

    Args:
        pins: See `pins_of`.
        at_once: Requests in flight at one server; by kind when None.
        limits: The same by agent, for the server of that agent.

    Raises:
        EngineError, EndpointError: As `Opener.endpoint`.
    """
    prices = await known_prices(store, agents)
    wanted: dict[str, int] = {}
    for name, agent in agents.items():
        usual = at_once or (EMBEDDED_AT_ONCE if agent.kind == "embedded" else SERVER_AT_ONCE)
        server = _server(agent)
        # Of two wishes for one server the lower one counts.
        mine = limits.get(name, usual)
        wanted[server] = min(wanted.get(server, mine), mine)
    gates = {server: asyncio.Semaphore(limit) for server, limit in wanted.items()}
    return {
        name: Source(
            agent=name,
            identity=pins[name],
            endpoint=await opener.endpoint(store, agent),
            gate=gates[_server(agent)],
            limit=wanted[_server(agent)],
            price=prices[name],
        )
        for name, agent in agents.items()
    }


async def known_prices(store: Store, agents: Mapping[str, AgentRow]) -> dict[str, Price | None]:
    """What the tokens of each agent cost; None where that is not known.

    What runs on this machine is free, and so is by the token what is up and billed by the hour.
    """
    said = await store.answers.prices()
    up = await store.deployments.list(up=True)
    return {name: _by_token(rate_of(agent, up, said)) for name, agent in agents.items()}


def _by_token(rate: BillingRate | None) -> Price | None:
    return None if rate is None else Price(rate.usd_in or 0.0, rate.usd_out or 0.0)


def _server(agent: AgentRow) -> str:
    """Agents with the same one share a limit. An adapter of the embedded engine has its own waves
    of streams, so its limit is its own."""
    if agent.kind == "embedded":
        return f"embedded {agent.base} {agent.adapter}"
    if agent.kind == "hosted":
        return f"hosted {agent.base}"
    with suppress(ValueError):
        return urlsplit(agent.url).netloc or agent.url
    return agent.url


def _identity(agent: AgentRow) -> str:
    made_of = [agent.kind, agent.base, agent.url, agent.adapter, _stamp(agent.adapter)]
    if agent.kind == "hosted":
        made_of.append(agent.job_id)
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:20]


def _stamp(folder: str) -> list[tuple[str, int, int]]:
    """What tells that an adapter was trained anew in the same place."""
    if not folder:
        return []
    found: list[tuple[str, int, int]] = []
    with suppress(OSError):
        for file in sorted(Path(folder).iterdir()):
            if file.is_file() and file.suffix in (".gguf", ".safetensors"):
                status = file.stat()
                found.append((file.name, status.st_size, status.st_mtime_ns))
    return found
