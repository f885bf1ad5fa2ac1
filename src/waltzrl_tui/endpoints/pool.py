"""Endpoints of agents on servers: one client for each, kept open."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec

from waltzrl_tui.endpoints.anthropic import AnthropicEndpoint
from waltzrl_tui.endpoints.bedrock import BedrockEndpoint, region_of
from waltzrl_tui.endpoints.key_gate import KeyUse, key_for
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.retry import Timeouts
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.keys import find_key
from waltzrl_tui.providers.bedrock.session import Aws
from waltzrl_tui.providers.errors import ProviderError
from waltzrl_tui.providers.protocol import ProviderContext
from waltzrl_tui.store.rows import AgentKind, AgentRow
from waltzrl_tui.workspace import Workspace

BEDROCK = "bedrock:"
"""The prefix of the address of a model on Bedrock."""

RemoteEndpoint = OpenAIEndpoint | AnthropicEndpoint | BedrockEndpoint

_DEFAULT_REGION = "us-east-1"
_WHOLE_REPLY = Timeouts(first_token=600.0)


class RemoteEndpoints:
    """Makes endpoints and keeps their connections for the next chat.

    Args:
        streaming: False for unattended work, where replies arrive in one piece.
    """

    def __init__(self, workspace: Workspace, *, streaming: bool = True) -> None:
        self._workspace = workspace
        self._streaming = streaming
        self._endpoints: dict[tuple[str, ...], RemoteEndpoint] = {}
        self._lock = asyncio.Lock()

    async def open(self, agent: AgentRow, url: str = "", model: str = "") -> RemoteEndpoint:
        """The endpoint of an agent, at its own address or at another.

        Raises:
            EndpointError: Its key is not set or not approved for that address, or its client is
                not installed.
        """
        url, model = url or agent.url, model or agent.base
        kind: AgentKind = "bedrock" if url.startswith(BEDROCK) else agent.kind
        key = "" if kind == "bedrock" else await self._key(agent, url)
        endpoint_key = (kind, agent.name, url, model, key)
        async with self._lock:  # Of two chats that begin together one makes it.
            if endpoint_key not in self._endpoints:
                self._endpoints[endpoint_key] = await self._make(kind, agent.name, url, model, key)
            return self._endpoints[endpoint_key]

    async def close(self) -> None:
        """Close all connections."""
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        await asyncio.gather(*(endpoint.close() for endpoint in endpoints))

    async def _make(
        self, kind: AgentKind, name: str, url: str, model: str, key: str
    ) -> RemoteEndpoint:
        if kind == "bedrock":
            return await asyncio.to_thread(self._bedrock, name, model)
        if kind == "anthropic":
            if find_spec("anthropic") is not None:
                return AnthropicEndpoint(url, key, model, name=name)
            # Without its SDK: through its OpenAI-compatible API.
            url = f"{url.rstrip('/')}/v1"
        if self._streaming:
            return OpenAIEndpoint(url, key, model, name=name)
        return OpenAIEndpoint(url, key, model, name=name, timeouts=_WHOLE_REPLY, streaming=False)

    def _bedrock(self, name: str, model: str) -> BedrockEndpoint:
        context = ProviderContext(find_key, "", self._workspace.cache / "providers" / "bedrock")
        try:
            aws = Aws(context, "bedrock", _DEFAULT_REGION, region=region_of(model))
            return BedrockEndpoint(aws, model, name=name)
        except ProviderError as error:
            raise EndpointError(error.message, hint=error.hint) from error

    async def _key(self, agent: AgentRow, url: str) -> str:
        # A local server may need no key, but the client must send something.
        if not agent.key_env:
            return "none"
        # A keyring may block on its daemon.
        key = await asyncio.to_thread(key_for, KeyUse(agent.name, agent.key_env, url))
        if not key:
            raise EndpointError(
                f"The key of {agent.name} is not set.",
                hint=f"Set {agent.key_env} in the environment and start again, or store it in "
                f"the OS keyring: waltzrl-tui doctor --set-key {agent.key_env}",
            )
        return key
