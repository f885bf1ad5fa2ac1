"""One SQLite connection for a process: units of work, transactions, and notice of changes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar, cast

import aiosqlite

from waltzrl_tui.errors import StoreError
from waltzrl_tui.store.faults import closed_error, store_error
from waltzrl_tui.store.migrate import Migration, check, migrate, shipped
from waltzrl_tui.store.paths import StoreConnection
from waltzrl_tui.workspace import Workspace

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Statements that run together on the connection's own thread; must not use asyncio."""

_BUSY_SECONDS = 5.0


class _Connection(aiosqlite.Connection):
    """aiosqlite's connection, with whole units of work as single hops to its thread.

    A hop a statement would cost a metric row four thread switches, each of them slow in a
    process that trains, and would leave a cancelled task's transaction open.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        # A process that dies without closing must not hang: for SQLite in WAL mode the end of
        # the process at any moment is safe. (Up to 0.21 the connection is the thread.)
        thread: Any = getattr(self, "_thread", self)
        thread.daemon = True

    async def perform(self, work: Work[T]) -> T:
        result = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return cast("T", result)


class _Transaction:
    """A transaction that tasks may be in; `failed` once a part of it that joined has failed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.open = True
        self.failed = False


# Not the task: `asyncio.wait_for` and `gather` inside a transaction run its parts in new tasks.
_current: ContextVar[_Transaction | None] = ContextVar("store_transaction", default=None)


class Database:
    """The file at `path`, opened by `Database.open`. All sqlite3 errors leave as StoreError."""

    def __init__(self, path: Path, connection: _Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = asyncio.Lock()
        self._closed = False
        self._own_commits = 0
        self._foreign_commits = 0
        self._data_version: int | None = None
        self._woken = asyncio.Event()

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[Migration] | None = None) -> Database:
        """Open or create the database and bring it up to date.

        Raises:
            StoreError: It is newer, damaged, not ours, locked, read-only, or the disk is full.
        """
        steps = shipped() if migrations is None else migrations
        connection = _Connection(lambda: _connect(path, steps))
        try:
            await connection
        except sqlite3.Error as error:
            raise store_error(error, path) from error
        except OSError as error:
            raise StoreError(
                f"The store {path} cannot be opened: {error.strerror or error}.",
                hint="Make the folder writable, or choose another one with --home DIR.",
            ) from error
        return cls(path, connection)

    async def close(self) -> None:
        """Wait for work under way, then close. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        async with self._lock:
            self._woken.set()
            with contextlib.suppress(sqlite3.Error, ValueError):
                await self._connection.close()

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads; it never sees another task's unfinished transaction."""
        if self._joined() is not None:
            return await self._run(work)
        async with self._lock:
            return await self._run(work)

    async def select(
        self, query: str, values: Sequence[Any], build: Callable[[sqlite3.Connection, Any], T]
    ) -> list[T]:
        """The rows of a query, each as `build` returns it."""
        return await self.read(
            lambda connection: [build(connection, row) for row in connection.execute(query, values)]
        )

    async def write(self, work: Work[T]) -> T:
        """Run `work` as one transaction, or as one step of the transaction that is open here.

        Cancelling the caller does not interrupt it: it is kept whole or not at all.
        """
        if self._joined() is not None:
            return await self._run(lambda connection: _step(connection, work))
        async with self._lock:
            try:
                return await self._run(lambda connection: self._unit(connection, work))
            finally:
                self._wake()

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """Run one statement with `write`."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(statement, values)

        await self.write(work)

    async def flush(self) -> None:
        """Sync the write-ahead log to the disk, as far as other readers and writers let it."""
        async with self._lock:
            # Its row has to be read, or the statement stays open.
            await self._run(
                lambda connection: connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            )

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Make the reads and writes inside one transaction; any exception undoes all of them.

        Other tasks of this process wait. Inside another transaction it joins that one, which
        then cannot be kept if this part of it fails.
        """
        outer = self._joined()
        if outer is not None:
            try:
                yield
            except BaseException:
                outer.failed = True
                raise
            return
        async with self._lock:
            scope = _Transaction(self)
            before = _current.get()
            try:
                await self._run(lambda connection: connection.execute("BEGIN IMMEDIATE"))
                _current.set(scope)
                yield
                if scope.failed:
                    raise StoreError("A step of the transaction failed, so none of it was kept.")
                await self._run(self._commit)
            except BaseException:
                # Queued behind a BEGIN that may still be on its way, and before whoever gets
                # the lock next; where nothing is open it does nothing.
                with contextlib.suppress(StoreError):
                    await asyncio.shield(self._run(sqlite3.Connection.rollback))
                raise
            finally:
                scope.open = False
                _current.set(before)
                self._wake()

    async def version(self) -> int:
        """A number that has changed whenever anything was committed, by any process."""
        foreign = await self.read(_data_version)
        if foreign != self._data_version:
            self._data_version = foreign
            self._foreign_commits += 1
        return self._own_commits + self._foreign_commits

    async def changed(
        self, since: int, *, interval: float = 0.25, timeout: float | None = None
    ) -> int:
        """Wait until `version()` is not `since` and return it; after `timeout` s return `since`.

        Commits of this process are noticed at once, those of others every `interval` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            woken = self._woken
            version = await self.version()
            pause = interval if deadline is None else min(interval, deadline - time.monotonic())
            if version != since or pause <= 0:
                return version
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await woken.wait()

    def _joined(self) -> _Transaction | None:
        scope = _current.get()
        return scope if scope and scope.open and scope.database is self else None

    def _wake(self) -> None:
        self._woken.set()
        self._woken = asyncio.Event()

    def _unit(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        before = connection.total_changes
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.rollback()
            raise
        if connection.total_changes != before:
            self._own_commits += 1
        return result

    def _commit(self, connection: sqlite3.Connection) -> None:
        _require_open(connection)
        connection.execute("COMMIT")
        self._own_commits += 1

    async def _run(self, work: Work[T]) -> T:
        try:
            return await self._connection.perform(work)
        except sqlite3.Error as error:
            raise store_error(error, self.path) from error
        except UnicodeEncodeError as error:
            raise StoreError("The store cannot hold text that is not valid Unicode.") from error
        except ValueError as error:
            if self._closed:
                raise closed_error(self.path) from error
            raise


def _step(connection: sqlite3.Connection, work: Work[T]) -> T:
    _require_open(connection)
    connection.execute("SAVEPOINT step")
    try:
        result = work(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO step")
            connection.execute("RELEASE step")
        raise
    connection.execute("RELEASE step")
    return result


def _require_open(connection: sqlite3.Connection) -> None:
    # SQLite rolls back when the disk is full; continuing would commit half of the work.
    if not connection.in_transaction:
        raise StoreError("The transaction was undone by an earlier error, so none of it was kept.")


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _connect(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    # Made before SQLite does, which gives its -wal and -shm files the mode of this one.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(file).st_mode & 0o077:
            os.fchmod(file, 0o600)
    finally:
        os.close(file)
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, factory=StoreConnection
    )
    connection.workspace = Workspace(path.parent.parent)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = OFF")
        check(connection, path, migrations)
        _use_wal(connection, path)
        connection.execute("PRAGMA synchronous = NORMAL")
        migrate(connection, path, migrations)
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    # Changing the mode needs exclusive access and does not wait for it.
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode == "wal":
            return
        raise StoreError(
            f"The store {path} is on a disk that several programs cannot share safely.",
            hint="Choose a folder on a local disk with --home DIR.",
        )
