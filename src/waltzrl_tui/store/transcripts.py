"""Transcripts of chats: what was said, event by event."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import dump, load, storable
from waltzrl_tui.store.rows import (
    PROMPT,
    TranscriptEventRow,
    TranscriptHit,
    TranscriptRow,
    now,
)


class TranscriptStore:
    """Reads and writes of transcripts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, pair: str, title: str = "") -> TranscriptRow:
        """Make an empty transcript of a chat with `pair`."""
        return await self._database.write(lambda connection: _create(connection, pair, title))

    async def begin(
        self, pair: str, title: str, kind: str, data: Mapping[str, Any]
    ) -> tuple[TranscriptRow, int]:
        """A transcript with its first event, whose number is given, too; both at once."""

        def work(connection: sqlite3.Connection) -> tuple[TranscriptRow, int]:
            transcript = _create(connection, pair, title)
            number = _append(connection, transcript.id, ((kind, data),))
            return replace(transcript, turns=int(kind == PROMPT)), number

        return await self._database.write(work)

    async def append(self, transcript_id: int, *events: tuple[str, Mapping[str, Any]]) -> int:
        """Add events (kind and data) at once and return the number of the last one.

        An event of kind `rows.PROMPT` opens a turn.

        Raises:
            NotFoundError: There is no such transcript.
        """

        return await self._database.write(
            lambda connection: _append(connection, transcript_id, events)
        )

    async def events(
        self, transcript_id: int, since: int = 0, limit: int = -1, before: int | None = None
    ) -> list[TranscriptEventRow]:
        """The events after number `since`, in order; at most `limit` of them (-1: all).

        Args:
            before: Only events before that number.
        """
        return await self._database.select(
            "SELECT * FROM transcript_events WHERE transcript_id = ? AND id > ?"
            " AND id < coalesce(?, 9223372036854775807) ORDER BY id LIMIT ?",
            (transcript_id, since, before, limit),
            _event,
        )

    async def openings(self, transcript_id: int) -> list[int]:
        """The numbers of the events that open the turns, in order."""
        return await self._database.select(
            "SELECT id FROM transcript_events WHERE transcript_id = ? AND kind = 'prompt'"
            " ORDER BY id",
            (transcript_id,),
            lambda _, row: int(row["id"]),
        )

    async def edits(self, transcript_id: int) -> list[TranscriptEventRow]:
        """The events of kind `rows.EDIT`, in order."""
        return await self._database.select(
            "SELECT * FROM transcript_events WHERE transcript_id = ? AND kind = 'edit' ORDER BY id",
            (transcript_id,),
            _event,
        )

    async def branch(
        self, transcript_id: int, turns: int, pair: str | None = None
    ) -> TranscriptRow:
        """A transcript that begins with a copy of another one's first `turns` turns.

        Args:
            pair: Who is asked from there on; the same pair as before without.

        Raises:
            NotFoundError: There is no such transcript.
        """

        def work(connection: sqlite3.Connection) -> TranscriptRow:
            row = connection.execute(
                "SELECT title, pair FROM transcripts WHERE id = ?", (transcript_id,)
            ).fetchone()
            if row is None:
                raise _missing(transcript_id)
            at, chosen = now(), row["pair"] if pair is None else pair
            cursor = connection.execute(
                "INSERT INTO transcripts (title, pair, created_at, updated_at, turns,"
                " branched_from) VALUES (?, ?, ?, ?, 0, ?)",
                (row["title"], chosen, at, at, transcript_id),
            )
            new_id = cursor.lastrowid
            assert new_id is not None
            # Edits are appended, so those of a turn that is copied may stand far behind it.
            connection.execute(
                "INSERT INTO transcript_events (transcript_id, at, kind, data)"
                " SELECT ?1, at, kind, data FROM transcript_events WHERE transcript_id = ?2"
                " AND (CASE kind WHEN 'edit' THEN json_extract(data, '$.turn') < ?3"
                " ELSE id < coalesce((SELECT id FROM transcript_events WHERE transcript_id = ?2"
                " AND kind = 'prompt' ORDER BY id LIMIT 1 OFFSET ?3), 9223372036854775807) END)"
                " ORDER BY id",
                (new_id, transcript_id, turns),
            )
            copied = connection.execute(
                "UPDATE transcripts SET turns = (SELECT count(*) FROM transcript_events"
                " WHERE transcript_id = ?1 AND kind = 'prompt') WHERE id = ?1 RETURNING turns",
                (new_id,),
            ).fetchone()[0]
            return TranscriptRow(new_id, row["title"], chosen, at, at, copied, transcript_id)

        return await self._database.write(work)

    async def search(self, words: str, limit: int = 100) -> list[TranscriptHit]:
        """The turns in whose prompt or reply all of `words` stand, the latest first.

        The last word may be the beginning of one. Case and accents make no difference.
        """
        query = _query(words)
        if not query:
            return []

        def work(connection: sqlite3.Connection) -> list[TranscriptHit]:
            rows = connection.execute(
                "SELECT t.*, e.data, (SELECT max(o.id) FROM transcript_events o WHERE"
                " o.transcript_id = t.id AND o.kind = 'prompt' AND o.id <= e.id) AS turn"
                " FROM transcript_words w JOIN transcript_events e ON e.id = w.rowid"
                " JOIN transcripts t ON t.id = e.transcript_id"
                " WHERE transcript_words MATCH ? ORDER BY w.rowid DESC LIMIT ?",
                (query, limit),
            )
            hits: dict[tuple[int, int], TranscriptHit] = {}
            for row in rows:
                fields = dict(row)
                text, turn = str(load(fields.pop("data")).get("text", "")), fields.pop("turn")
                hit = TranscriptHit(TranscriptRow(**fields), int(turn or 0), text)
                hits.setdefault((hit.transcript.id, hit.turn), hit)
            return list(hits.values())

        return await self._database.read(work)

    async def list(self, limit: int = 100) -> list[TranscriptRow]:
        """The transcripts, last used first."""
        return await self._database.select(
            "SELECT * FROM transcripts ORDER BY updated_at DESC, id DESC LIMIT ?",
            (limit,),
            lambda _, row: TranscriptRow(**dict(row)),
        )

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

    async def remove(self, transcript_id: int) -> None:
        """Remove a transcript with its events.

        Raises:
            NotFoundError: There is no such transcript.
        """

        def work(connection: sqlite3.Connection) -> None:
            statement = "DELETE FROM transcripts WHERE id = ?"
            if connection.execute(statement, (transcript_id,)).rowcount == 0:
                raise _missing(transcript_id)

        await self._database.write(work)


def _event(_connection: sqlite3.Connection, row: sqlite3.Row) -> TranscriptEventRow:
    return TranscriptEventRow(**{**dict(row), "data": load(row["data"])})


def _create(connection: sqlite3.Connection, pair: str, title: str) -> TranscriptRow:
    at, name = now(), storable(title)
    cursor = connection.execute(
        "INSERT INTO transcripts (title, pair, created_at, updated_at, turns)"
        " VALUES (?, ?, ?, ?, 0)",
        (name, pair, at, at),
    )
    assert cursor.lastrowid is not None
    return TranscriptRow(cursor.lastrowid, name, pair, at, at, 0)


def _append(
    connection: sqlite3.Connection,
    transcript_id: int,
    events: Sequence[tuple[str, Mapping[str, Any]]],
) -> int:
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
            "INSERT INTO transcript_events (transcript_id, at, kind, data) VALUES (?, ?, ?, ?)",
            (transcript_id, at, kind, dump(data)),
        )
        last = cursor.lastrowid or last
    return last


def _query(words: str) -> str:
    """`words` for FTS5: each one quoted, so that none of them is an operator."""
    *whole, last = storable(words).replace("\x00", " ").split() or [""]
    if not last:
        return ""
    quoted = ['"' + word.replace('"', '""') + '"' for word in (*whole, last)]
    return " ".join(quoted) + " *"


def _missing(transcript_id: int) -> NotFoundError:
    return NotFoundError(f"There is no transcript {transcript_id} in the store.")
