"""Bring a store to the schema of this version: numbered steps, applied once each."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Final

from waltzrl_tui.errors import StoreError
from waltzrl_tui.store.paths import make_relative

APPLICATION_ID = 0x57545A31
"""Marks a SQLite file as a store of this program ("WTZ1" in its header)."""


@dataclass(frozen=True, slots=True)
class Migration:
    """The step to version `number` from the one before.

    Attributes:
        step: Python code to run after `sql`, called with the workspace's folder.
    """

    number: int
    sql: str
    step: Callable[[sqlite3.Connection, Path], None] | None = None


_STEPS: Final = (Migration(9, "", make_relative),)


def shipped() -> tuple[Migration, ...]:
    """The migrations of this version, in order."""
    folder = resources.files("waltzrl_tui.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    migrations = [Migration(int(f.name[:4]), f.read_text(encoding="utf-8")) for f in files]
    return tuple(sorted([*migrations, *_STEPS], key=lambda migration: migration.number))


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Bring the store at `path` up to date, after a backup copy when it holds anything.

    All of it is one transaction: several processes may do this at once, and one that is killed
    leaves the store as it was. Foreign keys must be off on `connection`.

    Raises:
        StoreError: The store is of a newer version, or not a store of this program.
    """
    latest = migrations[-1].number
    if _version(connection, path, latest) == latest:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have migrated it while this one waited for the lock.
        version = _version(connection, path, latest)
        if 0 < version < latest:
            _back_up(path, path.with_name(f"{path.name}.v{version}.bak"))
        for migration in migrations:
            if migration.number > version:
                for statement in _statements(migration.sql):
                    connection.execute(statement)
                if migration.step is not None:
                    migration.step(connection, path.parent.parent)
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise StoreError(
                f"The store {path} could not be migrated from version {version} to {latest}: "
                "rows would refer to others that do not exist.",
                hint="Nothing was changed. Use the version that you used before.",
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {latest}")
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


def check(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Refuse a store that this version must not touch, before anything is written to it.

    Raises:
        StoreError: The store is of a newer version, or not a store of this program.
    """
    # One read transaction: another process may be creating the tables right now.
    connection.execute("BEGIN")
    try:
        _version(connection, path, migrations[-1].number)
    finally:
        connection.rollback()


def _version(connection: sqlite3.Connection, path: Path, latest: int) -> int:
    def number(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    version = number("PRAGMA user_version")
    mark = number("PRAGMA application_id")
    empty = number("SELECT count(*) FROM sqlite_master") == 0
    if mark != APPLICATION_ID and not (mark == 0 and version == 0 and empty):
        raise StoreError(
            f"{path} is the database of another program.",
            hint="Move it away, or choose another workspace with --home DIR.",
        )
    if version > latest:
        raise StoreError(
            f"The store {path} was made by a newer version of waltzrl-tui "
            f"(store version {version}; this one reads up to {latest}).",
            hint="Upgrade waltzrl-tui, or choose another workspace with --home DIR.",
        )
    return version


def _back_up(path: Path, target: Path) -> None:
    # The caller holds the write lock, so a second connection copies a store that stands still;
    # SQLite refuses to copy through the connection that is itself writing.
    part = target.with_name(f".{target.name}")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    try:
        with (
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(part)) as copy,
        ):
            source.backup(copy)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _statements(sql: str) -> Iterator[str]:
    # `executescript` would commit the transaction that makes a migration all or nothing.
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement
