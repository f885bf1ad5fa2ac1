"""Opening: private files, migrations with a backup, and stores that must not be touched."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

from waltzrl_tui.errors import StoreError
from waltzrl_tui.store import Store
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.faults import store_error
from waltzrl_tui.store.migrate import Migration, shipped
from waltzrl_tui.workspace import Workspace

NEXT = shipped()[-1].number + 1


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pragma(path: Path, statement: str) -> object:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"PRAGMA {statement}").fetchone()
        return found[0] if found else None


async def add_job(store: Store, id: str = "k3f-conv") -> None:
    await store.jobs.add(id, kind="train", role="conversation", model="base")


async def test_everything_in_state_is_private_also_what_was_not(workspace: Workspace) -> None:
    workspace.state.mkdir(parents=True, mode=0o755)
    workspace.store_path.touch(mode=0o644)
    workspace.store_path.chmod(0o644)
    async with await Store.open(workspace) as store:
        await add_job(store)
        names = {path.name: mode(path) for path in workspace.state.iterdir() if path.is_file()}
        assert names.keys() >= {"waltzrl.db", "waltzrl.db-wal", "waltzrl.db-shm"}
        assert set(names.values()) == {0o600}
    assert mode(workspace.state) == 0o700


async def test_settings_that_the_promises_rest_on(store: Store, workspace: Workspace) -> None:
    def settings(connection: sqlite3.Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store._database.read(settings) == ["wal", 1, 1, 5000]


async def test_an_older_store_is_copied_and_then_migrated(workspace: Workspace) -> None:
    async with await Store.open(workspace) as store:
        await add_job(store)
    newer = [*shipped(), Migration(NEXT, "ALTER TABLE jobs ADD COLUMN colour TEXT; -- a; b\n")]
    database = await Database.open(workspace.store_path, newer)
    try:
        columns = await database.read(
            lambda connection: [
                row["name"] for row in connection.execute("PRAGMA table_info(jobs)")
            ]
        )
        assert "colour" in columns
    finally:
        await database.close()
    backup = workspace.state / f"waltzrl.db.v{NEXT - 1}.bak"
    assert mode(backup) == 0o600
    assert pragma(workspace.store_path, "user_version") == NEXT
    assert pragma(backup, "user_version") == NEXT - 1
    assert pragma(backup, "integrity_check") == "ok"
    with contextlib.closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [("k3f-conv",)]
    assert not [path.name for path in workspace.state.iterdir() if path.name.startswith(".")]


async def test_a_new_store_leaves_no_backup(store: Store, workspace: Workspace) -> None:
    assert not list(workspace.state.glob("*.bak"))


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE half (a); CREATE TABLE half (a);",
        "INSERT INTO job_events VALUES (1, 'nobody', '', 'info', '');",
    ],
)
async def test_a_migration_that_fails_changes_nothing(workspace: Workspace, sql: str) -> None:
    async with await Store.open(workspace) as store:
        await add_job(store)
    with pytest.raises(StoreError):
        await Database.open(workspace.store_path, [*shipped(), Migration(NEXT, sql)])
    async with await Store.open(workspace) as store:
        assert [job.id for job in await store.jobs.list()] == ["k3f-conv"]
        assert await store.jobs.events("k3f-conv") == []


async def test_a_newer_store_is_refused_and_left_as_it_is(workspace: Workspace) -> None:
    async with await Store.open(workspace):
        pass
    pragma(workspace.store_path, "journal_mode = DELETE")
    pragma(workspace.store_path, f"user_version = {NEXT}")
    before = workspace.store_path.read_bytes()
    with pytest.raises(StoreError, match=r"newer version.*Upgrade"):
        await Store.open(workspace)
    assert workspace.store_path.read_bytes() == before


async def test_a_database_of_another_program_is_refused(workspace: Workspace) -> None:
    workspace.prepare()
    with contextlib.closing(sqlite3.connect(workspace.store_path)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    before = workspace.store_path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        await Store.open(workspace)
    assert workspace.store_path.read_bytes() == before


async def test_opening_waits_for_a_reader_that_is_in_the_way(workspace: Workspace) -> None:
    workspace.prepare()
    reader = sqlite3.connect(workspace.store_path, isolation_level=None, check_same_thread=False)
    with contextlib.closing(reader):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        threading.Timer(0.3, reader.rollback).start()
        async with await Store.open(workspace) as store:
            assert await store.jobs.list() == []


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + b"x" * 5000])
async def test_a_file_that_is_no_database_is_refused(workspace: Workspace, content: bytes) -> None:
    workspace.prepare()
    workspace.store_path.write_bytes(content)
    with pytest.raises(StoreError, match=r"not a database.*Move it away"):
        await Store.open(workspace)
    assert workspace.store_path.read_bytes() == content


async def test_damage_is_told_as_damage(workspace: Workspace) -> None:
    async with await Store.open(workspace) as store:
        for number in range(200):
            await add_job(store, f"k{number}-conv")
    content = bytearray(workspace.store_path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    workspace.store_path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged.*Move it away"):
        async with await Store.open(workspace) as store:
            await store.jobs.list()


async def test_a_folder_where_the_store_should_be(workspace: Workspace) -> None:
    workspace.store_path.mkdir(parents=True)
    with pytest.raises(StoreError, match="cannot be opened"):
        await Store.open(workspace)


async def test_a_full_disk_undoes_the_transaction_and_says_so(store: Store) -> None:
    await add_job(store)

    def fill(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    await store._database.read(fill)
    with pytest.raises(StoreError, match=r"disk is full.*Free some space"):
        async with store.transaction():
            await store.jobs.update("k3f-conv", reason="half")
            await store.jobs.event("k3f-conv", "x" * 100_000)
    assert (await store.jobs.get("k3f-conv")).reason == ""


def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE a (b)")
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        with pytest.raises(sqlite3.OperationalError) as caught:
            connection.execute("INSERT INTO a VALUES (1)")
        told = store_error(caught.value, path)
    assert "is read-only" in told.message
    assert "--home" in told.hint


async def test_a_closed_store_says_so(workspace: Workspace) -> None:
    store = await Store.open(workspace)
    await store.close()
    await store.close()
    with pytest.raises(StoreError, match="has been closed"):
        await store.jobs.list()
