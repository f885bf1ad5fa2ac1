"""Finished evaluations of pairs."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Any

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.paths import (
    dump_document,
    load_document,
    path_from_store,
    path_to_store,
)
from waltzrl_tui.store.rows import EvaluationRow, now


class EvaluationStore:
    """Reads and writes of evaluations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        *,
        pair: str,
        judge: str,
        suite: str | os.PathLike[str],
        suite_sha256: str,
        n: int,
        seconds: float,
        report: Mapping[str, Any],
        items_path: str | os.PathLike[str],
    ) -> EvaluationRow:
        """Record an evaluation of `pair` on the `n` prompts of `suite`."""

        def work(connection: sqlite3.Connection) -> EvaluationRow:
            at, document = now(), dump_document(connection, report)
            name, place = (path_to_store(connection, each) for each in (suite, items_path))
            cursor = connection.execute(
                "INSERT INTO evaluations (pair, judge, suite, suite_sha256, n, created_at,"
                " seconds, report, items_path) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (pair, judge, name, suite_sha256, n, at, seconds, document, place),
            )
            assert cursor.lastrowid is not None
            row = connection.execute(
                "SELECT * FROM evaluations WHERE id = ?", (cursor.lastrowid,)
            ).fetchone()
            return _evaluation(connection, row)

        return await self._database.write(work)

    async def list(self, *, pair: str | None = None, limit: int = 500) -> list[EvaluationRow]:
        """The evaluations (of one pair), newest first."""
        return await self._database.select(
            "SELECT * FROM evaluations WHERE pair = coalesce(?, pair) ORDER BY id DESC LIMIT ?",
            (pair, limit),
            _evaluation,
        )

    async def get(self, evaluation_id: int) -> EvaluationRow:
        """The evaluation of that number.

        Raises:
            NotFoundError: There is none.
        """

        def work(connection: sqlite3.Connection) -> EvaluationRow:
            row = connection.execute(
                "SELECT * FROM evaluations WHERE id = ?", (evaluation_id,)
            ).fetchone()
            if row is None:
                raise NotFoundError(f"There is no evaluation {evaluation_id} in the store.")
            return _evaluation(connection, row)

        return await self._database.read(work)

    async def latest(self, pair: str) -> EvaluationRow | None:
        """The newest evaluation of a pair, or None."""
        rows = await self.list(pair=pair, limit=1)
        return rows[0] if rows else None


def _evaluation(connection: sqlite3.Connection, row: sqlite3.Row) -> EvaluationRow:
    values = dict(row)
    for name in ("suite", "items_path"):
        values[name] = path_from_store(connection, values[name])
    values["report"] = load_document(connection, values["report"])
    return EvaluationRow(**values)
