"""Transcripts of chats: what was said, event by event."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import dump, load, storable
from waltzrl_tui.store.rows import PROMPT, TranscriptEventRow, TranscriptRow, now


class TranscriptStore:
    """Reads and writes of transcripts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, pair: str, title: str = "") -> TranscriptRow:
        """Begin a transcript of a chat with `pair`."""

        def work(connection: sqlite3.Connection) -> TranscriptRow:
            at, name = now(), storable(title)
            cursor = connection.execute(
                "INSERT INTO transcripts (title, pair, created_at, updated_at, turns)"
                " VALUES (?, ?, ?, ?, 0)",
                (name, pair, at, at),
            )
            assert cursor.lastrowid is not None
            return TranscriptRow(cursor.lastrowid, name, pair, at, at, 0)

        return await self._database.write(work)

    async def append(self, transcript_id: int, *events: tuple[str, Mapping[str, Any]]) -> int:
        """Add events (kind and data) at once and return the number of the last one.

        An event of kind `rows.PROMPT` opens a turn.

        Raises:
            NotFoundError: There is no such transcript.
        """

        def work(connection: sqlite3.Connection) -> int:
            at = now()
            touched = connection.execute(
                "UPDATE transcripts SET updated_at = ?, turns = turns + ? WHERE id = ?",
                (at, sum(kind == PROMPT for kind, _ in events), transcript_id),
            )
            if touched.rowcount == 0:
                raise _missing(transcript_id)
            last = 0
            for kind, data in events:
                cursor = connection.execute(
                    "INSERT INTO transcript_events (transcript_id, at, kind, data)"
                    " VALUES (?, ?, ?, ?)",
                    (transcript_id, at, kind, dump(data)),
                )
                last = cursor.lastrowid or last
            return last

        return await self._database.write(work)

    async def events(
        self, transcript_id: int, since: int = 0, limit: int = -1
    ) -> list[TranscriptEventRow]:
        """The events after number `since`, in order; at most `limit` of them (-1: all)."""

        def work(connection: sqlite3.Connection) -> list[TranscriptEventRow]:
            found = connection.execute(
                "SELECT * FROM transcript_events WHERE transcript_id = ? AND id > ?"
                " ORDER BY id LIMIT ?",
                (transcript_id, since, limit),
            )
            return [TranscriptEventRow(**{**dict(row), "data": load(row["data"])}) for row in found]

        return await self._database.read(work)

    async def list(self, limit: int = 100) -> list[TranscriptRow]:
        """The transcripts, last used first."""

        def work(connection: sqlite3.Connection) -> list[TranscriptRow]:
            found = connection.execute(
                "SELECT * FROM transcripts ORDER BY updated_at DESC, id DESC LIMIT ?", (limit,)
            )
            return [TranscriptRow(**dict(row)) for row in found]

        return await self._database.read(work)

    async def get(self, transcript_id: int) -> TranscriptRow:
        """The transcript of that number.

        Raises:
            NotFoundError: There is none.
        """

        def work(connection: sqlite3.Connection) -> TranscriptRow:
            row = connection.execute(
                "SELECT * FROM transcripts WHERE id = ?", (transcript_id,)
            ).fetchone()
            if row is None:
                raise _missing(transcript_id)
            return TranscriptRow(**dict(row))

        return await self._database.read(work)

    async def set_title(self, transcript_id: int, title: str) -> None:
        """Rename a transcript.

        Raises:
            NotFoundError: There is no such transcript.
        """
        await self._change(
            "UPDATE transcripts SET title = ? WHERE id = ?", storable(title), transcript_id
        )

    async def remove(self, transcript_id: int) -> None:
        """Remove a transcript with its events.

        Raises:
            NotFoundError: There is no such transcript.
        """
        await self._change("DELETE FROM transcripts WHERE id = ?", transcript_id)

    async def _change(self, statement: str, *values: str | int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(statement, values).rowcount == 0:
                raise _missing(int(values[-1]))

        await self._database.write(work)


def _missing(transcript_id: int) -> NotFoundError:
    return NotFoundError(f"There is no transcript {transcript_id} in the store.")
