"""Agents of the store made ready to be asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from waltzrl_tui.agents.endpoint import ChatEndpoint, OpenAIEndpoint
from waltzrl_tui.agents.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.agents.waltz import LivePair
from waltzrl_tui.errors import EndpointError, EngineError, UsageError
from waltzrl_tui.keys import find_key
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.serving import EmbeddedEndpoint, Servers
from waltzrl_tui.local.waves import Waves
from waltzrl_tui.local.weights import DEFAULT_MODEL, find_weights
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.workspace import Workspace

BASE_PAIR = "base"


class Engines:
    """All that the agents of a workspace are asked through. One an app or command.

    Args:
        bulk: For evaluations: many replies at once, in `Waves`, and each in one piece. A chat
            would rather not wait.
    """

    def __init__(self, workspace: Workspace, *, bulk: bool = False) -> None:
        self._workspace = workspace
        self._waves = Waves() if bulk else None
        self._servers = Servers(streaming=not bulk)
        self._remote: list[OpenAIEndpoint] = []

    async def pair(self, store: Store, name: str) -> LivePair:
        """The pair of that name. Nothing is started yet: see `warm`.

        Raises:
            NotFoundError: There is no such pair.
            EngineError: Weights or an adapter are missing.
            EndpointError: An agent's key is not in the environment.
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
            agent = await _deployed(store, agent)
        if agent.kind != "embedded":
            return await self._openai(agent)
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
        for gguf in {endpoint.gguf for endpoint in mine}:
            adapters = [
                endpoint.adapter for endpoint in mine if endpoint.gguf == gguf and endpoint.adapter
            ]
            server = await self._servers.with_adapters(gguf, adapters)
            for adapter in [*adapters, None]:
                await server.endpoint(adapter).connect()
        for endpoint in (live.conversation, live.feedback):
            if isinstance(endpoint, OpenAIEndpoint):
                await endpoint.connect()

    async def close(self) -> None:
        """Stop the servers and close all connections."""
        remote, self._remote = self._remote, []
        await asyncio.gather(self._servers.close(), *(endpoint.close() for endpoint in remote))

    async def _openai(self, agent: AgentRow) -> OpenAIEndpoint:
        # A server on this machine may ask for no key, but the client must send something.
        key = "none"
        if agent.key_env:
            key = await asyncio.to_thread(find_key, agent.key_env)
            if not key:
                raise EndpointError(
                    f"The key of {agent.name} is not set.",
                    hint=f"Set {agent.key_env} in the environment and start again, or keep it in "
                    f"the OS keyring: waltzrl-tui doctor --set-key {agent.key_env}",
                )
        endpoint = OpenAIEndpoint(agent.url, key, agent.base, name=agent.name)
        self._remote.append(endpoint)
        return endpoint


async def _deployed(store: Store, agent: AgentRow) -> AgentRow:
    """The agent at its deployment's address; the chat that follows keeps it from idling."""
    for row in await store.deployments.list(up=True):
        if row.agent == agent.name and row.state == "ready" and row.endpoint:
            await store.deployments.used(row.tag)
            return replace(agent, base=row.model, url=row.endpoint)
    raise EndpointError(
        f"The model of {agent.name} is not up.",
        hint=f"Bring it up, which is billed by the hour: waltzrl-tui deployments up {agent.name}",
    )


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
