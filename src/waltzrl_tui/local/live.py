"""Endpoints for the agents of the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.endpoints.deployed import DeployedEndpoint
from waltzrl_tui.endpoints.pool import RemoteEndpoint, RemoteEndpoints
from waltzrl_tui.errors import EngineError, UsageError
from waltzrl_tui.local.adapter_batches import Waves
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.serving import EmbeddedEndpoint, Servers
from waltzrl_tui.local.weights import DEFAULT_MODEL, find_weights
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.waltz.waltz import LivePair
from waltzrl_tui.workspace import Workspace

BASE_PAIR = "base"


class Engines:
    """Opens the endpoints of a workspace's agents. One per app or command.

    Args:
        bulk: For evaluations: replies come in one piece, and many embedded ones at once, in
            `Waves`. A chat would rather not wait.
    """

    def __init__(self, workspace: Workspace, *, bulk: bool = False) -> None:
        self._workspace = workspace
        self._waves = Waves() if bulk else None
        self._servers = Servers(streaming=not bulk)
        self._remote = RemoteEndpoints(workspace, streaming=not bulk)

    async def pair(self, store: Store, name: str) -> LivePair:
        """The pair of that name. Nothing is started yet: see `warm`. Connections are kept, so
        asking for it before each prompt costs nothing.

        Raises:
            NotFoundError: There is no such pair.
            EngineError: Weights or an adapter are missing.
            EndpointError: An agent's key is not set, or its model is not up.
        """
        row = await store.agents.get_pair(name)
        conversation = await store.agents.get(row.conversation)
        feedback = await store.agents.get(row.feedback) if row.feedback else None
        return LivePair(
            row.name,
            await self.endpoint(store, conversation),
            conversation.prompt,
            await self.endpoint(store, feedback) if feedback else None,
            feedback.prompt if feedback else "",
            row.rounds,
        )

    async def endpoint(self, store: Store, agent: AgentRow) -> ChatEndpoint:
        """The endpoint of one agent; errors as for `pair`."""
        if agent.kind == "hosted":
            deployed = DeployedEndpoint(store, self._workspace, self._remote, agent)
            await deployed.ready()
            return deployed
        if not agent.embedded:
            return await self._remote.open(agent)
        weights = await asyncio.to_thread(find_weights, self._workspace, agent.base)
        gguf = weights.servable()
        if not agent.adapter:
            return EmbeddedEndpoint(self._servers, gguf, None, self._waves)
        adapter = Path(agent.adapter) / ADAPTER_GGUF
        if not adapter.is_file():
            raise EngineError(
                f"The adapter of {agent.name} is not at {adapter}.",
                hint="Train it again, or remove the agent with "
                f"`waltzrl-tui agents remove {agent.name}`.",
            )
        return EmbeddedEndpoint(self._servers, gguf, adapter, self._waves)

    async def warm(self, live: LivePair) -> None:
        """Start the server with all that the pair needs, so that the first reply need not wait.

        Raises:
            EngineError: It cannot be started.
        """
        mine = [
            endpoint
            for endpoint in (live.conversation, live.feedback)
            if isinstance(endpoint, EmbeddedEndpoint)
        ]
        for agent in mine:
            also = [other.adapter for other in mine if other.adapter and other.gguf == agent.gguf]
            server = await self._servers.serving(agent.gguf, agent.adapter, also)
            await server.endpoint(agent.adapter).connect()
        for endpoint in (live.conversation, live.feedback):
            if isinstance(endpoint, RemoteEndpoint | DeployedEndpoint):
                await endpoint.connect()

    def share(self, at_once: int) -> None:
        """Say how many streams of embedded agents are to run at the same time, from the next
        prompt on: two pairs side by side, or an agent that judges what another one writes."""
        self._servers.share(at_once)

    async def close(self) -> None:
        """Stop the servers and close all connections."""
        await asyncio.gather(self._servers.close(), self._remote.close())


async def ensure_base(store: Store) -> None:
    """Make the untrained pair, against which every other one is measured, if it is not there."""
    if any(pair.name == BASE_PAIR for pair in await store.agents.pairs()):
        return
    try:
        async with store.transaction():
            await store.agents.add(
                "base-conversation",
                role="conversation",
                kind="embedded",
                base=DEFAULT_MODEL,
                prompt=DEFAULT_CONVERSATION,
            )
            await store.agents.add(
                "base-feedback",
                role="feedback",
                kind="embedded",
                base=DEFAULT_MODEL,
                prompt=DEFAULT_FEEDBACK,
            )
            await store.agents.add_pair(
                BASE_PAIR, conversation="base-conversation", feedback="base-feedback"
            )
    except UsageError:
        # Another process made it at the same time, or the names are the user's own.
        return
