"""Models that are up for chat and billed."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Any, Final, TypedDict, Unpack

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import storable
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import now

_COLUMNS: Final = ", ".join(field.name for field in fields(DeploymentRow))
_MARKS: Final = ", ".join("?" for _ in fields(DeploymentRow))


class DeploymentChange(TypedDict, total=False):
    """What of a deployment may change."""

    remote_id: str
    model: str
    endpoint: str
    state: str
    words: str
    usd_per_hour: float | None
    idle_minutes: float
    up_since: str
    used_at: str
    ended_at: str


class DeploymentStore:
    """Reads and writes of deployments. One is written before it is asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: DeploymentRow) -> None:
        """Write a deployment that is about to be asked for, or that was found."""
        await self._database.execute(
            f"INSERT OR IGNORE INTO deployments ({_COLUMNS}) VALUES ({_MARKS})", astuple(row)
        )

    async def get(self, tag: str) -> DeploymentRow:
        """The deployment of that tag.

        Raises:
            NotFoundError: There is none.
        """
        for row in await self.list():
            if row.tag == tag:
                return row
        raise NotFoundError(f"There is no deployment {tag} in the store.")

    async def list(self, *, up: bool | None = None) -> list[DeploymentRow]:
        """The deployments (only those that have not ended, or only those that have), by age."""
        where = {None: "", True: "WHERE ended_at IS NULL"}.get(up, "WHERE ended_at IS NOT NULL")

        return await self._database.select(
            f"SELECT {_COLUMNS} FROM deployments {where} ORDER BY created_at, tag",
            (),
            lambda _, row: DeploymentRow(*row),
        )

    async def update(self, tag: str, **change: Unpack[DeploymentChange]) -> None:
        """Change what is known of a deployment."""
        values: dict[str, Any] = dict(change)
        if "words" in values:
            values["words"] = storable(values["words"])
        names = ", ".join(f"{name} = ?" for name in values)

        await self._database.execute(
            f"UPDATE deployments SET {names} WHERE tag = ?", (*values.values(), tag)
        )

    async def used(self, tag: str) -> None:
        """Note a chat with it now."""
        await self.update(tag, used_at=now())
