"""Hosted agents: each reply finds the deployment that is up at that moment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from waltzrl_tui.endpoints.base import Delta
from waltzrl_tui.endpoints.pool import BEDROCK, RemoteEndpoint, RemoteEndpoints
from waltzrl_tui.errors import EndpointError, NotFoundError, StoreError
from waltzrl_tui.providers.errors import ProviderError
from waltzrl_tui.providers.registry import open_provider
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

_RECORD_USE_SECONDS = 60.0
_log = logging.getLogger(__name__)


class DeployedEndpoint:
    """A hosted agent. A reply resets its deployment's idle timer when it begins and ends."""

    def __init__(
        self, store: Store, workspace: Workspace, endpoints: RemoteEndpoints, agent: AgentRow
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._endpoints = endpoints
        self._agent = agent

    async def connect(self) -> None:
        """Make its client now.

        Raises:
            EndpointError: The agent is not up, or its key is not set.
        """
        _, endpoint = await self._current()
        await endpoint.connect()

    async def ready(self) -> None:
        """Check that it is up.

        Raises:
            EndpointError: The agent is not up, or its key is not set.
        """
        await self._current()

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        tag, endpoint = await self._current()
        reply = endpoint.stream(messages, max_tokens=max_tokens, temperature=temperature, seed=seed)
        clock = asyncio.get_running_loop().time
        recorded_at = clock()
        try:
            async with aclosing(reply) as deltas:
                async for delta in deltas:
                    if clock() - recorded_at > _RECORD_USE_SECONDS:
                        recorded_at = clock()
                        await self._record_use(tag)
                    yield delta
        finally:
            await self._record_use(tag)

    async def _current(self) -> tuple[str, RemoteEndpoint]:
        """The deployment's tag ("" for none) and its endpoint."""
        up = [
            row
            for row in await self._store.deployments.list(up=True)
            if row.agent == self._agent.name
        ]
        for row in up:
            if row.state == "ready" and (address := _address(row)):
                endpoint = await self._endpoints.open(self._agent, address, row.model)
                await self._record_use(row.tag)
                return row.tag, endpoint
        if address := await self._without_deployment():
            return "", await self._endpoints.open(self._agent, address)
        name = self._agent.name
        if up:
            words = f": {one_line(up[0].words)}" if up[0].words else ""
            raise EndpointError(
                f"The model of {name} is not up yet ({up[0].state}{words}).",
                hint="Ask again in a few minutes. See: waltzrl-tui deployments list",
            )
        raise EndpointError(
            f"The model of {name} is not up.",
            hint=f"Start it (billed by the hour): waltzrl-tui deployments up {name}",
        )

    async def _without_deployment(self) -> str:
        """The provider's URL for models that need no deployment, or ""."""
        try:
            job = await self._store.remote.get(self._agent.job_id)
            url = job.url
        except NotFoundError:
            url = ""
        try:
            name = self._agent.url.partition(":")[2]
            provider = await asyncio.to_thread(open_provider, name, self._workspace, url=url)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(provider.close)
                return provider.chat_url()
        except (ProviderError, NotFoundError) as error:
            raise EndpointError(error.message, hint=error.hint) from error

    async def _record_use(self, tag: str) -> None:
        if not tag:
            return
        try:
            await self._store.deployments.used(tag)
        except StoreError as error:
            # The chat matters more; at worst the model is stopped and started again.
            _log.warning("the use of %s was not recorded: %s", tag, error)


def _address(row: DeploymentRow) -> str:
    # Bedrock has one address for all models; the ARN names the deployment.
    return row.endpoint or (BEDROCK if row.model.startswith("arn:aws") else "")
