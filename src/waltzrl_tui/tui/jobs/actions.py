"""What can be done with jobs, wherever they run: cancel, resume, retry, approve, adopt."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from waltzrl_tui.errors import UsageError
from waltzrl_tui.jobs import control
from waltzrl_tui.records.roles import Role
from waltzrl_tui.remote import control as remote_control
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.workspace import Workspace

if TYPE_CHECKING:
    from waltzrl_tui.remote.session import RemoteSession


class JobActions:
    """Changes jobs of a store. Each method raises a `WaltzError` when it cannot be done.

    Args:
        remote: Opens what launches and watches jobs at providers, when it is first needed.
    """

    def __init__(
        self,
        store: Store,
        workspace: Workspace,
        remote: Callable[[], Awaitable[RemoteSession]],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._remote = remote

    async def cancel(self, ids: Iterable[str]) -> None:
        """Stop jobs, in this order."""
        for id in ids:
            await control.cancel(self._store, self._workspace, id)

    async def resume(self, id: str) -> list[JobRow]:
        """Resume a job and the jobs it depends on; returns those that were resumed."""
        job = await self._store.jobs.get(id)
        if job.embedded:
            return await control.resume(self._store, self._workspace, id)
        remote = await self._remote()
        resumed = await remote_control.resume(self._store, id)
        remote.start()
        return [resumed]

    async def retry(self, job: JobRow) -> JobRow:
        """Run a job again as a new one, which is returned."""
        if job.embedded:
            return await control.retry(self._store, self._workspace, job.id)
        remote = await self._remote()
        retried = await remote_control.retry(self._store, job.id)
        remote.start()
        return retried

    async def approve(self, id: str) -> None:
        """Accept the price that a provider reported for a job."""
        remote = await self._remote()
        await remote_control.approve(self._store, id)
        remote.start()

    async def adopt(self, text: str) -> JobRow:
        """Watch a job that was started elsewhere: `PROVIDER ID ROLE [NAME]`."""
        # Its imports take a moment, and few sessions need them.
        from waltzrl_tui.remote.adopt import adopt

        provider, id, role, name = _parse_adoption(text)
        remote = await self._remote()
        job = await adopt(self._store, remote.providers, provider, id, role, name=name)
        remote.start()
        return job


def _parse_adoption(text: str) -> tuple[str, str, Role, str]:
    match text.split():
        case [provider, id, ("conversation" | "feedback") as role, *rest] if len(rest) < 2:
            return provider, id, role, "".join(rest)
    raise UsageError(
        "That does not name a job.",
        hint="Give its provider, its id, and conversation or feedback.",
    )
