"""An agent whose model a provider has to bring up: asked wherever it is up when it is asked."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from waltzrl_tui.endpoints.openai import Delta
from waltzrl_tui.endpoints.pool import BEDROCK, RemoteEndpoint, RemoteEndpoints
from waltzrl_tui.errors import EndpointError, NotFoundError, StoreError
from waltzrl_tui.providers.errors import ProviderError
from waltzrl_tui.providers.registry import open_provider
from waltzrl_tui.records.messages import Message
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

_USED_EVERY = 60.0
_log = logging.getLogger(__name__)


class DeployedEndpoint:
    """A hosted agent. A reply resets the idle meter of its deployment when it begins and ends."""

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
            EndpointError: It is not up, or its key is not set.
        """
        _, endpoint = await self._now()
        await endpoint.connect()

    async def ready(self) -> None:
        """See that it is up.

        Raises:
            EndpointError: It is not, or its key is not set.
        """
        await self._now()

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        tag, endpoint = await self._now()
        replying = endpoint.stream(
            messages, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        clock = asyncio.get_running_loop().time
        noted = clock()
        try:
            async with aclosing(replying) as deltas:
                async for delta in deltas:
                    if clock() - noted > _USED_EVERY:
                        noted = clock()
                        await self._used(tag)
                    yield delta
        finally:
            await self._used(tag)

    async def _now(self) -> tuple[str, RemoteEndpoint]:
        """The deployment's tag, "" where it needs none, and its endpoint."""
        up = [
            row
            for row in await self._store.deployments.list(up=True)
            if row.agent == self._agent.name
        ]
        for row in up:
            if row.state == "ready" and (address := _address(row)):
                endpoint = await self._endpoints.open(self._agent, address, row.model)
                await self._used(row.tag)
                return row.tag, endpoint
        if address := await self._without_deployment():
            return "", await self._endpoints.open(self._agent, address)
        name = self._agent.name
        if up:
            words = f": {one_line(up[0].words)}" if up[0].words else ""
            raise EndpointError(
                f"The model of {name} is not up yet ({up[0].state}{words}).",
                hint="Ask again in some minutes: waltzrl-tui deployments list",
            )
        raise EndpointError(
            f"The model of {name} is not up.",
            hint=f"Bring it up, which is billed by the hour: waltzrl-tui deployments up {name}",
        )

    async def _without_deployment(self) -> str:
        """Where the provider answers for results that are not deployed, or ""."""
        try:
            job = await self._store.remote.get(self._agent.job_id)
            where = job.url
        except NotFoundError:
            where = ""
        try:
            name = self._agent.url.partition(":")[2]
            provider = await asyncio.to_thread(open_provider, name, self._workspace, url=where)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(provider.close)
                return provider.chat_url()
        except (ProviderError, NotFoundError) as error:
            raise EndpointError(error.message, hint=error.hint) from error

    async def _used(self, tag: str) -> None:
        if not tag:
            return
        try:
            await self._store.deployments.used(tag)
        except StoreError as error:
            # The chat matters more; at worst the model is taken down and brought up again.
            _log.warning("the use of %s was not noted: %s", tag, error)


def _address(row: DeploymentRow) -> str:
    # Bedrock has one address for all models: a deployment is asked for by its ARN.
    return row.endpoint or (BEDROCK if row.model.startswith("arn:aws") else "")
