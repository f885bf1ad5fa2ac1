"""Corrected mappings of datasets: by file, as documents that only datasets/ understands."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import dump, load, storable
from waltzrl_tui.store.paths import StoreConnection, workspace_of
from waltzrl_tui.store.rows import now
from waltzrl_tui.workspace import Workspace


class MappingStore:
    """Reads and writes of the mappings that the user corrected, by the dataset's path.

    A mapping stays with its path when the file grows or is replaced; whoever uses it checks that
    the file still has its fields.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, path: str | os.PathLike[str]) -> dict[str, Any] | None:
        """The mapping kept for the file at `path`, or None."""
        return await self._database.read(lambda connection: _get(connection, path))

    async def set(self, path: str | os.PathLike[str], mapping: Mapping[str, Any]) -> None:
        """Keep `mapping` for the file at `path`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO mappings (path, mapping, updated_at) VALUES (?, ?, ?)"
                " ON CONFLICT (path) DO UPDATE SET mapping = excluded.mapping,"
                " updated_at = excluded.updated_at",
                (_key(connection, path), dump(mapping), now()),
            )

        await self._database.write(work)

    async def clear(self, path: str | os.PathLike[str]) -> bool:
        """Forget the mapping kept for the file at `path`; whether there was one."""

        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "DELETE FROM mappings WHERE path = ?", (_key(connection, path),)
            )
            return cursor.rowcount > 0

        return await self._database.write(work)


def kept_mapping(store_path: Path, path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """`MappingStore.get` for code in threads, which reads datasets without an open store.

    None also when the store does not exist, is older than this table, or cannot be read: the
    command that opens it says so, and a dataset can be read without it.
    """
    if not store_path.is_file():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(
                f"file:{quote(str(store_path))}?mode=ro",
                uri=True,
                timeout=5,
                factory=StoreConnection,
            )
        ) as connection:
            connection.workspace = Workspace(store_path.parent.parent)
            return _get(connection, path)
    except sqlite3.Error:
        return None


def _get(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> dict[str, Any] | None:
    # A store that was not opened since paths in it are relative has the absolute one.
    keys = _key(connection, path), storable(os.path.realpath(path))
    rows = connection.execute("SELECT mapping FROM mappings WHERE path IN (?, ?)", keys)
    row = rows.fetchone()
    return None if row is None else load(row[0])


def _key(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> str:
    home = Workspace(Path(os.path.realpath(workspace_of(connection).home)))
    return home.to_store(storable(os.path.realpath(path)))
