"""Jobs at providers: intents, uploads, reported state, and what accounts may do."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypedDict, Unpack

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.records.jobs import ENDED
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.job_rows import insert, require
from waltzrl_tui.store.json_text import dump, load, storable
from waltzrl_tui.store.metrics import merge_metric
from waltzrl_tui.store.paths import dump_document, load_document
from waltzrl_tui.store.remote_rows import NewRemoteJob, ProbeRow, RemoteJobRow, RemoteUpdate
from waltzrl_tui.store.rows import JobRow, NewJob, now

_COLUMNS: Final = ", ".join(field.name for field in fields(RemoteJobRow))
_DOCUMENTS: Final = ("files", "request", "payload", "cursor")


class RemoteChange(TypedDict, total=False):
    """What of a remote job may change."""

    files: dict[str, IntentFile]
    request: LaunchIntent
    payload: dict[str, Any]
    vendor_usd: float | None
    vendor_says: str
    sent_at: str | None
    cursor: dict[str, Any]


class RemoteStore:
    """Reads and writes of what only jobs at providers have."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, jobs: Sequence[tuple[NewJob, NewRemoteJob]]) -> list[JobRow]:
        """Write jobs with what is to be asked for, all or none, before anything is sent.

        Raises:
            UsageError: An id or a tag is taken.
        """

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            for job, remote in jobs:
                insert(connection, job)
                connection.execute(
                    f"INSERT INTO remote_jobs ({_COLUMNS}) VALUES"
                    " (?, ?, ?, ?, ?, '{}', NULL, '', NULL, NULL, NULL, NULL, '{}')",
                    (
                        remote.job_id,
                        remote.url,
                        remote.method,
                        _dump(connection, "files", remote.files),
                        _dump(connection, "request", remote.request),
                    ),
                )
            return [require(connection, job.id) for job, _ in jobs]

        return await self._database.write(work)

    async def get(self, job_id: str) -> RemoteJobRow:
        """What the job of that id needs.

        Raises:
            NotFoundError: It is none of a provider.
        """
        rows = await self.some([job_id])
        if job_id not in rows:
            raise NotFoundError(f"The job {job_id} is not at a provider.")
        return rows[job_id]

    async def some(self, ids: Iterable[str]) -> dict[str, RemoteJobRow]:
        """Those of the ids that are jobs at providers."""
        rows = await self._database.select(
            f"SELECT {_COLUMNS} FROM remote_jobs WHERE job_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
            _row,
        )
        return {row.job_id: row for row in rows}

    async def busy(self) -> bool:
        """Whether a job at a provider has not ended or has no agent yet, or a model is up."""

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT EXISTS (SELECT 1 FROM remote_jobs JOIN jobs ON jobs.id = job_id WHERE"
                " state NOT IN ('failed', 'cancelled', 'draft') AND agent = '')"
                " OR EXISTS (SELECT 1 FROM deployments WHERE ended_at IS NULL)"
            ).fetchone()
            return bool(row[0])

        return await self._database.read(work)

    async def update(self, job_id: str, **change: Unpack[RemoteChange]) -> None:
        """Change what is known of a remote job."""
        names = ", ".join(f"{name} = ?" for name in change)

        def work(connection: sqlite3.Connection) -> None:
            values: dict[str, Any] = dict(change)
            for name in values.keys() & set(_DOCUMENTS):
                values[name] = _dump(connection, name, values[name])
            connection.execute(
                f"UPDATE remote_jobs SET {names} WHERE job_id = ?", (*values.values(), job_id)
            )

        await self._database.write(work)

    async def record(self, job_id: str, update: RemoteUpdate) -> bool:
        """Write all that one answer about a job brings, at once; a job that has ended stays so.

        Returns:
            Whether the job's state changed.
        """

        def work(connection: sqlite3.Connection) -> bool:
            job = require(connection, job_id)
            at = now()
            _events(connection, job_id, update, at)
            for metric in update.metrics:
                merge_metric(connection, job_id, metric if metric.at else replace(metric, at=at))
            connection.execute(
                "UPDATE remote_jobs SET seen_at = ?, cursor = ?, tokens = coalesce(?, tokens),"
                " fraction = coalesce(?, fraction) WHERE job_id = ?",
                (at, dump(update.cursor), update.tokens, update.fraction, job_id),
            )
            if job.ended:
                return False
            state = update.state or job.state
            ended = at if state in ENDED else None
            started = job.started_at or (at if state == "running" else None)
            changed = state != job.state
            same = (
                not changed
                and update.provider_state == job.provider_state
                and storable(update.reason) == job.reason
                and update.step in (None, job.step)
                and update.cost_usd in (None, job.cost_usd)
                and not update.events
                and not update.metrics
            )
            connection.execute(
                "UPDATE jobs SET state = ?, provider_state = ?, reason = ?, error = ?,"
                " step = coalesce(?, step), total_steps = coalesce(?, total_steps),"
                " eta_seconds = ?, cost_usd = coalesce(?, cost_usd), result_model ="
                " CASE ? WHEN '' THEN result_model ELSE ? END, started_at = ?, ended_at = ?,"
                " updated_at = ? WHERE id = ?",
                (
                    state,
                    storable(update.provider_state),
                    storable(update.reason),
                    storable(update.error),
                    update.step,
                    update.total_steps,
                    None if ended else update.eta_seconds,
                    update.cost_usd,
                    update.result_model,
                    update.result_model,
                    started,
                    ended,
                    job.updated_at if same else at,
                    job_id,
                ),
            )
            return changed

        return await self._database.write(work)

    async def uploaded(self, provider: str, account: str, sha256: str) -> str:
        """The provider's id of a file that it has, or ""."""

        def work(connection: sqlite3.Connection) -> str:
            row = connection.execute(
                "SELECT remote_id FROM uploads WHERE provider = ? AND account = ? AND sha256 = ?",
                (provider, account, sha256),
            ).fetchone()
            return row["remote_id"] if row else ""

        return await self._database.read(work)

    async def keep_upload(
        self, provider: str, account: str, sha256: str, remote_id: str, bytes: int
    ) -> None:
        """Note that a provider has a file."""
        await self._database.execute(
            "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?)",
            (provider, account, sha256, remote_id, bytes, now()),
        )

    async def keep_probe(self, probe: ProbeRow) -> None:
        """Store the result of a probe."""
        await self._database.execute(
            "INSERT OR REPLACE INTO probes VALUES (?, ?, ?, ?, ?, ?)",
            (
                probe.provider,
                probe.key_ok,
                probe.may_tune,
                storable(probe.words),
                storable(probe.account),
                probe.at,
            ),
        )

    async def forget_probes(self) -> None:
        """Forget what providers said: a key was changed."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM probes")

        await self._database.write(work)

    async def probes(self) -> dict[str, ProbeRow]:
        """What each provider last said, by its name."""

        def work(connection: sqlite3.Connection) -> dict[str, ProbeRow]:
            return {
                row["provider"]: ProbeRow(
                    row["provider"],
                    _truth(row["key_ok"]),
                    _truth(row["may_tune"]),
                    row["words"],
                    row["account"],
                    row["at"],
                )
                for row in connection.execute("SELECT * FROM probes")
            }

        return await self._database.read(work)


def _dump(connection: sqlite3.Connection, name: str, value: Any) -> str:
    if isinstance(value, LaunchIntent):
        return dump(value.to_json())
    if name == "files":
        files = {split: file.to_json() for split, file in value.items()}
        return dump_document(connection, files)
    # What is sent to a provider, and what it says, are kept as they are.
    return dump(value)


def _row(connection: sqlite3.Connection, row: sqlite3.Row) -> RemoteJobRow:
    values = dict(row)
    for name in _DOCUMENTS:
        text = values[name]
        values[name] = load_document(connection, text) if name == "files" else load(text)
    values["request"] = LaunchIntent.from_json(values["request"])
    values["files"] = {split: IntentFile.from_json(file) for split, file in values["files"].items()}
    return RemoteJobRow(**values)


def _truth(value: int | None) -> bool | None:
    return None if value is None else bool(value)


def _events(connection: sqlite3.Connection, job_id: str, update: RemoteUpdate, at: str) -> None:
    for event in update.events:
        known = connection.execute(
            "INSERT OR IGNORE INTO remote_events VALUES (?, ?)", (job_id, storable(event.key))
        )
        if known.rowcount:
            connection.execute(
                "INSERT INTO job_events (job_id, at, level, text) VALUES (?, ?, ?, ?)",
                (job_id, event.at or at, event.level, storable(event.text)),
            )
