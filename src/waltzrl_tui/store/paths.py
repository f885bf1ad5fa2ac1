"""Paths in the store: those inside the workspace are relative to it, so that it can be moved."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.store.json_text import dump, load
from waltzrl_tui.workspace import Workspace

_FIELDS: Final = frozenset(
    {
        *("path", "source", "suite", "suites", "items_path"),
        *("train_rows", "valid_rows", "train_file", "valid_file"),
    }
)
"""Names of the fields of documents that hold a path, or a list of them."""

_PLACES: Final = (
    # Table, columns with a path, columns with a document.
    ("agents", ("adapter",), ()),
    ("jobs", ("result_model",), ("params",)),
    ("remote_jobs", (), ("files",)),
    ("samples", ("source",), ("recipe",)),
    ("files", ("path",), ("recipe",)),
    ("mappings", ("path",), ()),
    ("duels", ("source",), ()),
    ("evaluations", ("suite", "items_path"), ("report",)),
    ("evaluation_runs", (), ("spec",)),
)
_OF_A_JOB: Final = re.compile(r"(/.*)/state/jobs/([^/]+)/")
_OF_AN_EVALUATION: Final = re.compile(r"(/.*)/state/evaluations/")


class StoreConnection(sqlite3.Connection):
    """A connection that knows whose store it has open."""

    workspace: Workspace


def workspace_of(connection: sqlite3.Connection) -> Workspace:
    """The workspace whose store the connection has open."""
    assert isinstance(connection, StoreConnection)
    return connection.workspace


def path_to_store(connection: sqlite3.Connection, path: str | os.PathLike[str]) -> str:
    """`Workspace.to_store` of the connection's workspace."""
    return workspace_of(connection).to_store(path)


def path_from_store(connection: sqlite3.Connection, text: str) -> str:
    """`Workspace.from_store` of the connection's workspace."""
    return workspace_of(connection).from_store(text)


def dump_document(connection: sqlite3.Connection, document: Mapping[str, Any]) -> str:
    """A document as stored, with relative paths."""
    return dump(_changed(document, workspace_of(connection).to_store))


def load_document(connection: sqlite3.Connection, text: str) -> dict[str, Any]:
    """A stored document with its current absolute paths."""
    document: dict[str, Any] = _changed(load(text), workspace_of(connection).from_store)
    return document


def make_relative(connection: sqlite3.Connection, home: Path) -> None:
    """The migration of a store with absolute paths: those inside `home` become relative.

    So do those inside the folders where the workspace was before it was moved here.
    """
    homes = sorted({str(home), *_former_homes(connection)}, key=len, reverse=True)

    def relative(text: str) -> str:
        for each in homes:
            if text.startswith(f"{each}/"):
                return f".{text[len(each) :]}"
        return text

    for table, columns, documents in _PLACES:
        names = (*columns, *documents)
        for row in connection.execute(f"SELECT rowid, {', '.join(names)} FROM {table}").fetchall():
            new = [
                relative(row[name]) if name in columns else _document(row[name], relative)
                for name in names
            ]
            if new != [row[name] for name in names]:
                assigned = ", ".join(f"{name} = ?" for name in names)
                connection.execute(
                    f"UPDATE OR REPLACE {table} SET {assigned} WHERE rowid = ?",
                    (*new, row[0]),
                )


def _former_homes(connection: sqlite3.Connection) -> Iterator[str]:
    """Folders that hold, by the stored paths, the files of its own jobs and evaluations."""
    jobs = {row["id"] for row in connection.execute("SELECT id FROM jobs")}
    for table, column in (("agents", "adapter"), ("jobs", "result_model"), ("files", "path")):
        for row in connection.execute(f"SELECT {column} FROM {table}"):
            at = _OF_A_JOB.match(row[0])
            if at is not None and at[2] in jobs:
                yield at[1]
    for row in connection.execute("SELECT id, params FROM jobs"):
        for text in _paths(load(row["params"])):
            at = _OF_A_JOB.match(text)
            if at is not None and at[2] in jobs:
                yield at[1]
    for row in connection.execute("SELECT items_path FROM evaluations"):
        if at := _OF_AN_EVALUATION.match(row[0]):
            yield at[1]


def _document(text: str, change: Callable[[str], str]) -> str:
    document = load(text)
    new = _changed(document, change)
    return text if new == document else json.dumps(new, separators=(",", ":"))


def _paths(document: Mapping[str, Any]) -> list[str]:
    paths: list[str] = []

    def note(text: str) -> str:
        paths.append(text)
        return text

    _changed(document, note)
    return paths


def _changed(value: Any, change: Callable[[str], str], field: str = "") -> Any:
    """`value` with `change` made to every path in it."""
    if isinstance(value, Mapping):
        return {name: _changed(each, change, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_changed(each, change, field) for each in value]
    return change(value) if field in _FIELDS and isinstance(value, str) else value
