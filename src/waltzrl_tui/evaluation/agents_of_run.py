"""The agents of a run, ready to use: identity, limit, price, endpoint."""

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
from waltzrl_tui.evaluation.answers import AgentClient
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.answers import Price

EMBEDDED_AT_ONCE: Final = 16
"""As many streams as the embedded engine decodes together (`local.serving.BULK`)."""
SERVER_AT_ONCE: Final = 8
FREE: Final = Price(0.0, 0.0)


class EndpointOpener(Protocol):
    """Opens endpoints of agents: `local.live.Engines`."""

    async def endpoint(self, store: Store, agent: AgentRow) -> ChatEndpoint:
        """The endpoint of one agent.

        Raises:
            EngineError: Weights or an adapter are missing.
            EndpointError: The agent's key is not set.
        """
        ...


async def agents_of(store: Store, names: Iterable[str]) -> dict[str, AgentRow]:
    """The agents with these names.

    Raises:
        NotFoundError: An agent does not exist.
    """
    return {name: await store.agents.get(name) for name in names}


async def pins_of(agents: Mapping[str, AgentRow]) -> dict[str, str]:
    """A short hash of what each agent consists of, without its name and system prompt."""
    return await asyncio.to_thread(
        lambda: {name: _identity(agent) for name, agent in agents.items()}
    )


async def sources(
    store: Store,
    opener: EndpointOpener,
    agents: Mapping[str, AgentRow],
    pins: Mapping[str, str],
    at_once: int | None,
    limits: Mapping[str, int],
) -> dict[str, AgentClient]:
    """Clients of the agents; those at the same server share one gate.

    Args:
        pins: See `pins_of`.
        at_once: Requests in flight at one server; None: the default of the agent's kind.
        limits: The same for the server of an agent, by agent.

    Raises:
        EngineError, EndpointError: As `EndpointOpener.endpoint`.
    """
    prices = await known_prices(store, agents)
    server_limits: dict[str, int] = {}
    for name, agent in agents.items():
        default = at_once or (EMBEDDED_AT_ONCE if agent.embedded else SERVER_AT_ONCE)
        server = _server(agent)
        # The lowest limit for a server counts.
        limit = limits.get(name, default)
        server_limits[server] = min(server_limits.get(server, limit), limit)
    gates = {server: asyncio.Semaphore(limit) for server, limit in server_limits.items()}
    return {
        name: AgentClient(
            agent=name,
            identity=pins[name],
            endpoint=await opener.endpoint(store, agent),
            gate=gates[_server(agent)],
            limit=server_limits[_server(agent)],
            price=prices[name],
        )
        for name, agent in agents.items()
    }


async def known_prices(store: Store, agents: Mapping[str, AgentRow]) -> dict[str, Price | None]:
    """Prices per token by agent, in USD; None where unknown.

    Agents on this machine are free, and so, per token, are deployments billed by the hour.
    """
    prices = await store.answers.prices()
    up = await store.deployments.list(up=True)
    return {name: _by_token(rate_of(agent, up, prices)) for name, agent in agents.items()}


def _by_token(rate: BillingRate | None) -> Price | None:
    return None if rate is None else Price(rate.usd_in or 0.0, rate.usd_out or 0.0)


def _server(agent: AgentRow) -> str:
    """The key of a server: its agents share a limit.

    Each adapter of the embedded engine is sampled in its own batches, so it has its own limit.
    """
    if agent.embedded:
        return f"embedded {agent.base} {agent.adapter}"
    if agent.kind == "hosted":
        return f"hosted {agent.base}"
    with suppress(ValueError):
        return urlsplit(agent.url).netloc or agent.url
    return agent.url


def _identity(agent: AgentRow) -> str:
    parts = [agent.kind, agent.base, agent.url, agent.adapter, _stamp(agent.adapter)]
    if agent.kind == "hosted":
        parts.append(agent.job_id)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def _stamp(folder: str) -> list[tuple[str, int, int]]:
    """Changes when an adapter is trained again in the same folder."""
    if not folder:
        return []
    files: list[tuple[str, int, int]] = []
    with suppress(OSError):
        for file in sorted(Path(folder).iterdir()):
            if file.is_file() and file.suffix in (".gguf", ".safetensors"):
                status = file.stat()
                files.append((file.name, status.st_size, status.st_mtime_ns))
    return files
