"""Runs of evaluations: what was asked for, how far it is, its items, and labels by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.answers import INSERT, Answer, answer_rows
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import load
from waltzrl_tui.store.paths import dump_document, load_document
from waltzrl_tui.store.rows import now

RunState = Literal["queued", "running", "done", "stopped", "failed"]
Place = tuple[int, int, int]
"""Which item: the numbers of its subject, suite and prompt in the run's spec."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run as it stood when it was read; `stop` asks the process that works on it to leave off.

    Attributes:
        total: Items it has when it is done.
        seconds: Worked on so far, by all processes that did.
    """

    id: int
    key: str
    state: RunState
    spec: dict[str, Any]
    total: int
    created_at: str
    updated_at: str
    seconds: float
    error: str
    stop: bool

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


@dataclass(frozen=True, slots=True)
class ItemRow:
    """A finished item. `id` grows with every one, so that a reader with a cursor sees the new."""

    id: int
    place: Place
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HandLabel:
    """What a person said of a reply."""

    harmful: bool
    refusal: bool


class RunStore:
    """Reads and writes of evaluation runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, key: str, spec: Mapping[str, Any], total: int) -> RunRow:
        """Record a run that nobody works on yet."""

        def work(connection: sqlite3.Connection) -> RunRow:
            at = now()
            cursor = connection.execute(
                "INSERT INTO evaluation_runs (key, state, spec, total, created_at, updated_at,"
                " seconds, error, stop) VALUES (?, 'queued', ?, ?, ?, ?, 0, '', 0)",
                (key, dump_document(connection, spec), total, at, at),
            )
            assert cursor.lastrowid is not None
            return _get(connection, cursor.lastrowid)

        return await self._database.write(work)

    async def get(self, run_id: int) -> RunRow:
        """The run of that number.

        Raises:
            NotFoundError: There is none.
        """
        return await self._database.read(lambda connection: _get(connection, run_id))

    async def recent(self, limit: int = 100) -> list[RunRow]:
        """The runs, newest first."""
        return await self._database.select(
            "SELECT * FROM evaluation_runs ORDER BY id DESC LIMIT ?", (limit,), _run
        )

    async def unfinished(self, key: str) -> RunRow | None:
        """The newest run of that key that is not done, or None."""

        def work(connection: sqlite3.Connection) -> RunRow | None:
            row = connection.execute(
                "SELECT * FROM evaluation_runs WHERE key = ? AND state <> 'done'"
                " ORDER BY id DESC LIMIT 1",
                (key,),
            ).fetchone()
            return None if row is None else _run(connection, row)

        return await self._database.read(work)

    async def begin(self, run_id: int) -> None:
        """Somebody works on it now; a wish to stop from before is forgotten."""
        await self._set(run_id, "state = 'running', error = '', stop = 0", ())

    async def end(self, run_id: int, state: RunState, seconds: float, error: str = "") -> None:
        """Nobody works on it any more; `seconds` are added to those it has."""
        changes = "state = ?, seconds = seconds + ?, error = ?, stop = 0"
        await self._set(run_id, changes, (state, seconds, error))

    async def ask_to_stop(self, run_id: int) -> None:
        """Have whoever works on the run leave off; what is finished stays."""
        await self._set(run_id, "stop = 1", ())

    async def remove(self, run_id: int) -> None:
        """Forget a run and its items; answers and labels by hand stay."""
        await self._database.write(
            lambda connection: connection.execute(
                "DELETE FROM evaluation_runs WHERE id = ?", (run_id,)
            )
        )

    async def keep(
        self,
        run_id: int,
        items: Iterable[tuple[Place, str]],
        answers: Iterable[tuple[str, Answer]] = (),
    ) -> None:
        """Keep finished items, each with its JSON document, and the answers they are made of.

        All of it is one transaction. An item that is there is replaced.
        """
        rows = [(run_id, *place, document) for place, document in items]
        new_answers = answer_rows(answers)

        def work(connection: sqlite3.Connection) -> None:
            connection.executemany(
                "INSERT OR REPLACE INTO evaluation_items (run_id, subject, suite, number,"
                " document) VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            connection.executemany(INSERT, new_answers)

        await self._database.write(work)

    async def items(self, run_id: int, after: int = 0, limit: int = -1) -> list[ItemRow]:
        """The items of a run that were finished after the one with the id `after`."""
        return await self._database.select(
            "SELECT * FROM evaluation_items WHERE run_id = ? AND id > ? ORDER BY id LIMIT ?",
            (run_id, after, limit),
            lambda _, row: ItemRow(
                row["id"], (row["subject"], row["suite"], row["number"]), load(row["document"])
            ),
        )

    async def counts(self, run_ids: Sequence[int]) -> dict[int, int]:
        """How many items each of those runs has."""
        marks = ",".join("?" * len(run_ids))

        def work(connection: sqlite3.Connection) -> dict[int, int]:
            rows = connection.execute(
                "SELECT run_id, count(*) AS n FROM evaluation_items"
                f" WHERE run_id IN ({marks}) GROUP BY run_id",
                tuple(run_ids),
            )
            return {row["run_id"]: row["n"] for row in rows}

        return dict.fromkeys(run_ids, 0) | await self._database.read(work)

    async def label(self, key: str, label: HandLabel | None) -> None:
        """Keep what a person said of the reply with that content key; None takes it back."""

        def work(connection: sqlite3.Connection) -> None:
            if label is None:
                connection.execute("DELETE FROM hand_labels WHERE key = ?", (key,))
                return
            connection.execute(
                "INSERT OR REPLACE INTO hand_labels (key, at, harmful, refusal)"
                " VALUES (?, ?, ?, ?)",
                (key, now(), label.harmful, label.refusal),
            )

        await self._database.write(work)

    async def labels(self) -> dict[str, HandLabel]:
        """All labels by hand, by content key."""
        rows = await self._database.select(
            "SELECT key, harmful, refusal FROM hand_labels", (), lambda _, row: row
        )
        return {row[0]: HandLabel(bool(row[1]), bool(row[2])) for row in rows}

    async def _set(self, run_id: int, changes: str, values: tuple[object, ...]) -> None:
        await self._database.execute(
            f"UPDATE evaluation_runs SET {changes}, updated_at = ? WHERE id = ?",
            (*values, now(), run_id),
        )


def _get(connection: sqlite3.Connection, run_id: int) -> RunRow:
    row = connection.execute("SELECT * FROM evaluation_runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise NotFoundError(
            f"There is no evaluation run {run_id} in the store.",
            hint="See them with `waltzrl-tui evaluations list`.",
        )
    return _run(connection, row)


def _run(connection: sqlite3.Connection, row: sqlite3.Row) -> RunRow:
    return RunRow(
        **{**dict(row), "spec": load_document(connection, row["spec"]), "stop": bool(row["stop"])}
    )
