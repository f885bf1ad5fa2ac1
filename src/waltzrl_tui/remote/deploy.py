"""Deployments for chat: started once, metered while up, stopped when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Final

from waltzrl_tui.errors import StoreError, UsageError, WaltzError
from waltzrl_tui.providers.errors import MissingError, ProviderError
from waltzrl_tui.providers.protocol import Deployment, Provider
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.remote.trust import trust_answers
from waltzrl_tui.store import AgentRow, Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import now
from waltzrl_tui.text import one_line

IDLE_MINUTES: Final = 30.0
"""A deployment idle for this long is stopped."""

START_MINUTES: Final = 30.0
"""One not ready after this long is stopped: it may be billed anyway."""

_log = logging.getLogger(__name__)


def cost_usd(row: DeploymentRow, at: datetime | None = None) -> float | None:
    """The cost of a deployment so far, USD by our own clock; None without a known price."""
    if row.usd_per_hour is None:
        return None
    if row.up_since is None:
        return 0.0
    until = datetime.fromisoformat(row.ended_at) if row.ended_at else (at or datetime.now(UTC))
    seconds = max(0.0, (until - datetime.fromisoformat(row.up_since)).total_seconds())
    return row.usd_per_hour * seconds / 3600


class Deployments:
    """Starts and stops deployments. Each has a row and a tag before anything is sent."""

    def __init__(self, store: Store, providers: Providers) -> None:
        self._store = store
        self._providers = providers

    async def bring_up(
        self,
        agent: AgentRow,
        *,
        url: str = "",
        base_model: str = "",
        usd_per_hour: float | None = None,
        idle_minutes: float = IDLE_MINUTES,
    ) -> DeploymentRow:
        """Start an agent's deployment, or return its existing one. The caller got approval.

        Args:
            usd_per_hour: From the plan, until the provider reports its own.

        Raises:
            UsageError: The agent needs no deployment.
            ProviderError: It was refused, or the answer was lost (`tend` then finds it).
        """
        if not agent.url.startswith("provider:"):
            raise UsageError(f"The agent {agent.name} needs no deployment.")
        name = agent.url.partition(":")[2]
        for row in await self._store.deployments.list(up=True):
            if row.agent == agent.name:
                return await self._sent(row) if not row.remote_id else row
        tag = f"{(agent.job_id or agent.name)[:20]}-{datetime.now(UTC):%m%d%H%M%S}".lower()
        row = DeploymentRow(
            tag=tag,
            provider=name,
            url=url,
            remote_id="",
            agent=agent.name,
            model=agent.base,
            base_model=base_model,
            endpoint="",
            state="wanted",
            words="",
            usd_per_hour=usd_per_hour,
            idle_minutes=idle_minutes,
            created_at=now(),
            up_since=None,
            used_at=now(),
            ended_at=None,
        )
        await self._store.deployments.add(row)
        await self._store.flush()
        return await self._sent(row)

    async def take_down(self, tag: str, why: str = "") -> DeploymentRow:
        """Stop a deployment and check that it is stopped.

        Raises:
            NotFoundError: There is none of that tag.
            ProviderError: The provider did not confirm it: it may still be billed.
        """
        row = await self._store.deployments.get(tag)
        if row.ended_at:
            return row
        provider = await self._providers.get(row.provider, row.url)
        remote_id = row.remote_id or await self._find(provider, row)
        if remote_id:
            try:
                await provider.undeploy(remote_id)
            except MissingError:
                pass
        await self._store.deployments.update(
            tag, state="stopped", words=why or "taken down", ended_at=now()
        )
        return await self._store.deployments.get(tag)

    async def tend(self) -> None:
        """Check every deployment once; stop those idle or not ready in time."""
        for row in await self._store.deployments.list(up=True):
            try:
                await self._tend(row)
            except WaltzError as error:
                _log.warning("deployment %s: %s", row.tag, error)
                with contextlib.suppress(StoreError):
                    await self._store.deployments.update(row.tag, words=one_line(str(error), 200))

    async def sweep(self, names: list[str]) -> list[DeploymentRow]:
        """Find deployments of this program that are up but unknown or stopped in the store.

        Args:
            names: Providers to query: those with a key and with deployments.

        Returns:
            The deployments found, now in the store and metered.
        """
        recovered: list[DeploymentRow] = []
        known = {row.remote_id: row for row in await self._store.deployments.list()}
        for name in names:
            try:
                provider = await self._providers.get(name)
                there = await provider.deployments()
            except WaltzError as error:
                _log.warning("%s was not swept: %s", name, error)
                continue
            for each in there:
                if not each.tag or each.state in ("stopped", "stopping", "failed"):
                    continue
                row = known.get(each.id)
                if row is not None and row.ended_at is None:
                    continue
                recovered.append(await self._recovered(name, each))
        return recovered

    async def _recovered(self, name: str, there: Deployment) -> DeploymentRow:
        row = DeploymentRow(
            tag=f"{there.tag}-again" if await self._has(there.tag) else there.tag,
            provider=name,
            url="",
            remote_id=there.id,
            agent="",
            model=there.model,
            base_model="",
            endpoint=there.url,
            state=there.state,
            words="left running by an earlier session",
            usd_per_hour=there.usd_per_hour,
            idle_minutes=IDLE_MINUTES,
            created_at=now(),
            up_since=now(),
            used_at=now(),
            ended_at=None,
        )
        await self._store.deployments.add(row)
        return row

    async def _has(self, tag: str) -> bool:
        return any(row.tag == tag for row in await self._store.deployments.list())

    async def _sent(self, row: DeploymentRow) -> DeploymentRow:
        provider = await self._providers.get(row.provider, row.url)
        remote_id = await self._find(provider, row)
        if remote_id:
            await self._store.deployments.update(row.tag, remote_id=remote_id)
        else:
            try:
                deployment = await provider.deploy(row.model, row.base_model, row.tag)
            except ProviderError as error:
                if error.sent:
                    await self._store.deployments.update(
                        row.tag, words=one_line(str(error), 200), used_at=now()
                    )
                else:
                    await self._store.deployments.update(
                        row.tag, state="failed", words=one_line(str(error), 200), ended_at=now()
                    )
                raise
            await self._note(provider, row, deployment)
        return await self._store.deployments.get(row.tag)

    async def _find(self, provider: Provider, row: DeploymentRow) -> str:
        for each in await provider.deployments():
            if each.tag == row.tag:
                return each.id
        return ""

    async def _tend(self, row: DeploymentRow) -> None:
        provider = await self._providers.get(row.provider, row.url)
        if not row.remote_id:
            # The answer to its creation was lost: by now it exists or never will.
            remote_id = await self._find(provider, row)
            if not remote_id:
                if _minutes_since(row.used_at) > 2:
                    await self._store.deployments.update(
                        row.tag, state="failed", words="was never created", ended_at=now()
                    )
                return
            await self._store.deployments.update(row.tag, remote_id=remote_id)
            row = await self._store.deployments.get(row.tag)
        try:
            there = await provider.deployment(row.remote_id)
        except MissingError:
            await self._store.deployments.update(
                row.tag, state="stopped", words="no longer at the provider", ended_at=now()
            )
            return
        # A store that cannot be written must not keep a billed deployment up.
        with contextlib.suppress(StoreError):
            await self._note(provider, row, there)
        # One in an unknown state may be billed too, and nobody can chat with it.
        idle = there.state in ("ready", "unknown")
        if idle and _minutes_since(row.used_at) >= row.idle_minutes:
            await self.take_down(row.tag, f"idle for {row.idle_minutes:g} minutes")
        elif there.state == "starting" and _minutes_since(row.created_at) >= START_MINUTES:
            await self.take_down(row.tag, f"not ready after {START_MINUTES:g} minutes")

    async def _note(self, provider: Provider, row: DeploymentRow, there: Deployment) -> None:
        # Count from its creation, so that the meter is never below the bill.
        since = row.up_since or now()
        if there.url and there.url != row.endpoint:
            with contextlib.suppress(WaltzError):
                # A chat asks for approval later, or explains it.
                await trust_answers(provider, there.url)
        await self._store.deployments.update(
            row.tag,
            remote_id=there.id,
            endpoint=there.url or row.endpoint,
            model=there.model or row.model,
            state=there.state,
            words=one_line(there.words, 200),
            usd_per_hour=row.usd_per_hour if there.usd_per_hour is None else there.usd_per_hour,
            up_since=since,
        )
        if there.state in ("stopped", "failed"):
            await self._store.deployments.update(row.tag, ended_at=now())


async def tend_for_ever(deployments: Deployments, every: float = 20.0) -> None:
    """Call `tend` until cancelled."""
    while True:
        try:
            await deployments.tend()
        except StoreError as error:
            _log.warning("deployments are not being managed: %s", error)
        await asyncio.sleep(every)


def _minutes_since(at: str) -> float:
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds() / 60)
