"""Samples and the training files made from them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from typing import Any

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.paths import (
    dump_document,
    load_document,
    path_from_store,
    path_to_store,
)
from waltzrl_tui.store.rows import FileRow, SampleRow, Split, now


class SampleStore:
    """Reads and writes of samples and their files."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        *,
        source: str | os.PathLike[str],
        source_sha256: str,
        recipe: Mapping[str, Any],
        sha256: str,
        rows: int,
    ) -> SampleRow:
        """Record a sample of `rows` rows drawn from the file `source` by `recipe`."""

        def work(connection: sqlite3.Connection) -> SampleRow:
            at, path = now(), path_to_store(connection, source)
            document = dump_document(connection, recipe)
            cursor = connection.execute(
                "INSERT INTO samples (created_at, source, source_sha256, recipe, sha256, rows)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (at, path, source_sha256, document, sha256, rows),
            )
            assert cursor.lastrowid is not None
            return _require(connection, cursor.lastrowid)

        return await self._database.write(work)

    async def add_file(
        self,
        sample_id: int,
        *,
        role: Role,
        split: Split,
        path: str | os.PathLike[str],
        rows: int,
        sha256: str,
        tokens: int | None = None,
        recipe: Mapping[str, Any] | None = None,
    ) -> FileRow:
        """Record a file of `rows` rows that was made from a sample.

        Raises:
            NotFoundError: There is no such sample.
        """

        def work(connection: sqlite3.Connection) -> FileRow:
            _require(connection, sample_id)
            place = path_to_store(connection, path)
            document = dump_document(connection, recipe or {})
            cursor = connection.execute(
                "INSERT INTO files (sample_id, role, split, path, rows, tokens, sha256, recipe)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (sample_id, role, split, place, rows, tokens, sha256, document),
            )
            assert cursor.lastrowid is not None
            number = cursor.lastrowid
            file_row = connection.execute("SELECT * FROM files WHERE id = ?", (number,)).fetchone()
            return _file(connection, file_row)

        return await self._database.write(work)

    async def get(self, sample_id: int) -> SampleRow:
        """The sample of that number.

        Raises:
            NotFoundError: There is none.
        """
        return await self._database.read(lambda connection: _require(connection, sample_id))

    async def files(self, sample_id: int) -> list[FileRow]:
        """The files made from a sample, in the order they were recorded."""
        return await self._database.select(
            "SELECT * FROM files WHERE sample_id = ? ORDER BY id", (sample_id,), _file
        )

    async def list(self, *, limit: int = 500) -> list[SampleRow]:
        """The samples, newest first."""
        return await self._database.select(
            "SELECT * FROM samples ORDER BY id DESC LIMIT ?", (limit,), _sample
        )


def _file(connection: sqlite3.Connection, row: sqlite3.Row) -> FileRow:
    recipe = load_document(connection, row["recipe"])
    path = path_from_store(connection, row["path"])
    return FileRow(**{**dict(row), "path": path, "recipe": recipe})


def _sample(connection: sqlite3.Connection, row: sqlite3.Row) -> SampleRow:
    recipe = load_document(connection, row["recipe"])
    source = path_from_store(connection, row["source"])
    return SampleRow(**{**dict(row), "source": source, "recipe": recipe})


def _require(connection: sqlite3.Connection, sample_id: int) -> SampleRow:
    row = connection.execute("SELECT * FROM samples WHERE id = ?", (sample_id,)).fetchone()
    if row is None:
        raise NotFoundError(f"There is no sample {sample_id} in the store.")
    return _sample(connection, row)
