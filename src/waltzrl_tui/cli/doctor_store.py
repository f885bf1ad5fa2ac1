"""The store as `doctor` reads it: without a migration, and without creating a folder."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from typing import Any

from waltzrl_tui.errors import StoreError
from waltzrl_tui.jobs.launch import worker_alive
from waltzrl_tui.records.jobs import ENDED
from waltzrl_tui.store.faults import store_error
from waltzrl_tui.store.migrate import shipped
from waltzrl_tui.workspace import Workspace


async def check_store(workspace: Workspace) -> dict[str, Any]:
    """The state of the store.

    Returns:
        `path`, `exists`, `version` (None when unreadable), `integrity` ("ok", or what is wrong),
        `key_envs` that its agents name, ids of `stale_jobs`, and `error`, which is empty when
        the store can be used.
    """
    return await asyncio.to_thread(_check, workspace)


def _check(workspace: Workspace) -> dict[str, Any]:
    path = workspace.store_path
    document: dict[str, Any] = {
        "path": str(path),
        "exists": path.exists(),
        "version": None,
        "integrity": "",
        "key_envs": [],
        "stale_jobs": [],
        "error": "",
    }
    if not document["exists"]:
        return document
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            document["integrity"] = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            document["version"] = version
            if document["integrity"] != "ok":
                document["error"] = f"The store {path} is damaged: {document['integrity']}."
            elif version > shipped()[-1].number:
                document["error"] = (
                    f"The store {path} was made by a newer waltzrl-tui (version {version}). "
                    "Use that one, or choose another folder with --home DIR."
                )
            else:
                keys = connection.execute("SELECT DISTINCT key_env FROM agents WHERE key_env != ''")
                document["key_envs"] = [name for (name,) in keys]
                document["stale_jobs"] = _stale(workspace, connection)
    except sqlite3.Error as error:
        document["error"] = str(store_error(error, path))
    except StoreError as error:
        document["error"] = str(error)
    return document


def _stale(workspace: Workspace, connection: sqlite3.Connection) -> list[str]:
    jobs = connection.execute("SELECT id, state FROM jobs WHERE provider = 'embedded'")
    waiting = ENDED | {"draft", "approved"}
    going = [id for id, state in jobs if state not in waiting]
    return [id for id in going if not worker_alive(workspace, id)]
