"""Prompts that two pairs answered side by side, and what a person said of the answers."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from typing import Final, TypedDict, Unpack

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import storable
from waltzrl_tui.store.paths import path_from_store, path_to_store
from waltzrl_tui.store.rows import DuelRow, Vote, now

_COLUMNS: Final = tuple(field.name for field in fields(DuelRow))
_TRUTHS: Final = (
    "blind",
    "voted_early",
    "left_unsafe",
    "left_overrefuse",
    "right_unsafe",
    "right_overrefuse",
)


class DuelChange(TypedDict, total=False):
    """What is known of a duel once its replies are there."""

    left_unsafe: bool | None
    left_overrefuse: bool | None
    right_unsafe: bool | None
    right_overrefuse: bool | None
    flagged_by: str
    left_seconds: float | None
    right_seconds: float | None
    left_transcript: int | None
    right_transcript: int | None


class DuelStore:
    """Reads and writes of duels. One is written before anybody is asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        prompt: str,
        *,
        left: str,
        right: str,
        blind: bool = False,
        harm: str = "",
        source: str = "",
        line: int | None = None,
    ) -> DuelRow:
        """Record that the pairs `left` and `right` are asked `prompt`."""

        def work(connection: sqlite3.Connection) -> DuelRow:
            at, text = now(), storable(prompt)
            cursor = connection.execute(
                "INSERT INTO duels (created_at, prompt, harm, source, line, blind, left_pair,"
                " right_pair, vote, voted_early, flagged_by)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', 0, '')",
                (
                    at,
                    text,
                    harm,
                    storable(path_to_store(connection, source)),
                    line,
                    int(blind),
                    left,
                    right,
                ),
            )
            assert cursor.lastrowid is not None
            return DuelRow(
                cursor.lastrowid, at, text, harm, source, line, blind, left, right, None, None
            )

        return await self._database.write(work)

    async def vote(self, duel_id: int, vote: Vote, *, early: bool = False) -> None:
        """Record who won; a vote that is given again takes the place of the one before.

        Args:
            early: A reply was still streaming.

        Raises:
            NotFoundError: There is no such duel.
        """
        await self._change(duel_id, {"vote": vote, "voted_at": now(), "voted_early": int(early)})

    async def update(self, duel_id: int, **change: Unpack[DuelChange]) -> None:
        """Record what became known of a duel.

        Raises:
            NotFoundError: There is no such duel.
        """
        await self._change(duel_id, dict(change))

    async def list(self, *, limit: int = -1) -> list[DuelRow]:
        """All duels, oldest first; of more than `limit` the latest."""
        newest_first = await self._database.select(
            "SELECT * FROM duels ORDER BY id DESC LIMIT ?", (limit,), _duel
        )
        return newest_first[::-1]

    async def _change(self, duel_id: int, values: dict[str, object]) -> None:
        names = [name for name in values if name in _COLUMNS]
        assigned = ", ".join(f"{name} = ?" for name in names)

        def work(connection: sqlite3.Connection) -> None:
            done = connection.execute(
                f"UPDATE duels SET {assigned} WHERE id = ?",
                (*(values[name] for name in names), duel_id),
            )
            if done.rowcount == 0:
                raise NotFoundError(f"There is no duel {duel_id} in the store.")

        await self._database.write(work)


def _duel(connection: sqlite3.Connection, row: sqlite3.Row) -> DuelRow:
    values = dict(row)
    values["source"] = path_from_store(connection, values["source"])
    for name in _TRUTHS:
        values[name] = None if values[name] is None else bool(values[name])
    return DuelRow(**values)
