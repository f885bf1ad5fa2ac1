"""Jobs: their state, which changes by compare-and-set only, and their events and metrics."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Final, Unpack

from waltzrl_tui.records.jobs import ENDED, JOB_STATES, JobKind, JobState, Level
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.records.roles import JobRole
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.job_rows import (
    JOB_COLUMNS,
    JobChange,
    JobOptions,
    assignments,
    insert,
    job_row,
    missing,
    require,
)
from waltzrl_tui.store.json_text import storable
from waltzrl_tui.store.metrics import METRIC_COLUMNS, read_metric, write_metric
from waltzrl_tui.store.rows import EventRow, JobRow, NewJob, now

_ENDED_LIST: Final = ", ".join(f"'{state}'" for state in sorted(ENDED))
# No l, o, 0, 1 and i, which are read as one another; the first one is a letter.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz"
_ALPHABET: Final = _LETTERS + "23456789"


class JobStore:
    """Reads and writes of jobs, their events and their metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, id: str, *, kind: JobKind, role: JobRole, model: str, **options: Unpack[JobOptions]
    ) -> JobRow:
        """Write a job before anything of it is sent anywhere; its state is draft by default.

        Raises:
            UsageError: The id or the tag is taken.
            NotFoundError: A job that it depends on, or its sample, is not in the store.
        """
        return (await self.add_all([NewJob(id, kind, role, model, **options)]))[0]

    async def add_all(self, jobs: Sequence[NewJob]) -> list[JobRow]:
        """Write several jobs, all or none; they may depend on one another.

        Raises:
            UsageError: An id or a tag is taken.
            NotFoundError: A job that one depends on, or a sample, is not in the store.
        """

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            for job in jobs:
                insert(connection, job)
            for job in jobs:
                for needed in job.depends_on:
                    require(connection, needed)
            return [require(connection, job.id) for job in jobs]

        return await self._database.write(work)

    async def get(self, id: str) -> JobRow:
        """The job of that id.

        Raises:
            NotFoundError: There is none; the message suggests similar ids.
        """
        return await self._database.read(lambda connection: require(connection, id))

    async def some(self, ids: Iterable[str]) -> list[JobRow]:
        """The jobs of those ids in that order; ids that are not in the store are left out."""
        unique = list(dict.fromkeys(ids))
        # One JSON parameter: the number of separate ones is limited.
        jobs = await self._database.select(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(unique),),
            job_row,
        )
        by_id = {job.id: job for job in jobs}
        return [by_id[id] for id in unique if id in by_id]

    async def dependants(self, id: str) -> list[JobRow]:
        """The jobs that depend on that one directly, oldest first."""
        return await self._database.select(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE EXISTS"
            " (SELECT 1 FROM json_each(depends_on) WHERE value = ?) ORDER BY number",
            (id,),
            job_row,
        )

    async def launch_prefix(self) -> str:
        """An unused prefix for the ids of a launch's jobs, normally of three characters."""

        def work(connection: sqlite3.Connection) -> str:
            length, tries = 3, 0
            while True:
                tail = "".join(secrets.choice(_ALPHABET) for _ in range(length - 1))
                prefix = secrets.choice(_LETTERS) + tail
                taken = connection.execute(
                    "SELECT 1 FROM jobs WHERE id = ? OR id LIKE ? LIMIT 1", (prefix, f"{prefix}-%")
                ).fetchone()
                if taken is None:
                    return prefix
                tries += 1
                # When nearly all are taken, use longer ones instead of searching on.
                length = 3 + tries // 50

        return await self._database.read(work)

    async def update(self, id: str, **change: Unpack[JobChange]) -> None:
        """Change fields of a job, whatever its state; `updated_at` is set to now.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            names, values = assignments(connection, change)
            touched = connection.execute(
                f"UPDATE jobs SET {names}updated_at = ? WHERE id = ?", (*values, now(), id)
            )
            if touched.rowcount == 0:
                raise missing(connection, id)

        await self._database.write(work)

    async def move(
        self,
        id: str,
        state: JobState,
        *,
        from_states: Collection[JobState] | None = None,
        unchanged_since: str | None = None,
        **change: Unpack[JobChange],
    ) -> bool:
        """Compare-and-set: bring a job to `state` if it is in one of `from_states` now.

        Without `from_states` any state counts that has not ended. With `unchanged_since` the
        job must also still have that `updated_at`. Entering running sets `started_at`, entering
        an ended state sets `ended_at` and drops the ETA; leaving one clears `ended_at`.

        Returns:
            True if the job was moved (and `change` applied), False if it was in another state.

        Raises:
            NotFoundError: There is no such job.
        """
        allowed = set(JOB_STATES) - ENDED if from_states is None else set(from_states)
        if state in ENDED and "eta_seconds" not in change:
            change["eta_seconds"] = None

        def work(connection: sqlite3.Connection) -> bool:
            names, values = assignments(connection, change)
            job = require(connection, id)
            if job.state not in allowed or unchanged_since not in (None, job.updated_at):
                return False
            at = now()
            started = at if state == "running" and job.state != "running" else job.started_at
            ended = at if state in ENDED else None
            connection.execute(
                f"UPDATE jobs SET {names}state = ?, started_at = ?, ended_at = ?, updated_at = ?"
                " WHERE id = ?",
                (*values, state, started, ended, at, id),
            )
            return True

        return await self._database.write(work)

    async def request_cancel(self, id: str) -> None:
        """Ask the worker of a job to stop. On a job that has ended it does nothing.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            if not require(connection, id).ended:
                connection.execute(
                    "UPDATE jobs SET cancel_requested = 1, updated_at = ? WHERE id = ?", (now(), id)
                )

        await self._database.write(work)

    async def event(self, id: str, text: str, level: Level = "info") -> None:
        """Record an event of a job.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            require(connection, id)
            connection.execute(
                "INSERT INTO job_events (job_id, at, level, text) VALUES (?, ?, ?, ?)",
                (id, now(), level, storable(text)),
            )

        await self._database.write(work)

    async def events(self, id: str, since: int = 0, limit: int = 500) -> list[EventRow]:
        """The events of a job after number `since`, in order; at most `limit` of them."""
        return await self._database.select(
            "SELECT * FROM job_events WHERE job_id = ? AND id > ? ORDER BY id LIMIT ?",
            (id, since, limit),
            lambda _, row: EventRow(**dict(row)),
        )

    async def metric(self, id: str, metric: Metric) -> None:
        """Record a step and the job's progress with it; a step written before is replaced.

        Values that are not finite numbers are left out.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            touched = connection.execute(
                "UPDATE jobs SET step = ?, eta_seconds = ?, updated_at = ? WHERE id = ?",
                (metric.step, metric.get("eta_seconds"), now(), id),
            )
            if touched.rowcount == 0:
                raise missing(connection, id)
            write_metric(connection, id, metric)

        await self._database.write(work)

    async def metrics(self, id: str, since_step: int = -1) -> list[Metric]:
        """The metrics of a job after step `since_step`, by step."""
        return await self._database.select(
            f"SELECT {METRIC_COLUMNS} FROM metrics WHERE job_id = ? AND step > ? ORDER BY step",
            (id, since_step),
            lambda _, row: read_metric(row),
        )

    async def metrics_written(self, id: str, cursor: int = 0) -> tuple[list[Metric], int]:
        """The metrics of a job written after `cursor`, as they were written, and a new cursor.

        Unlike a step, the cursor also finds the steps that a resumed job repeats.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[Metric], int]:
            rows = connection.execute(
                f"SELECT {METRIC_COLUMNS}, number FROM metrics WHERE job_id = ? AND number > ?"
                " ORDER BY number",
                (id, cursor),
            ).fetchall()
            return [read_metric(row) for row in rows], rows[-1]["number"] if rows else cursor

        return await self._database.read(work)

    async def unfinished(self) -> int:
        """How many jobs have not ended."""

        def work(connection: sqlite3.Connection) -> int:
            row = connection.execute(
                f"SELECT count(*) FROM jobs WHERE state NOT IN ({_ENDED_LIST})"
            ).fetchone()
            return int(row[0])

        return await self._database.read(work)

    async def list(self, *, ended: bool | None = None, limit: int = 500) -> list[JobRow]:
        """The jobs (only those that have ended, or only those that have not), newest first."""
        where = {None: "", True: f"WHERE state IN ({_ENDED_LIST})"}.get(
            ended, f"WHERE state NOT IN ({_ENDED_LIST})"
        )

        return await self._database.select(
            f"SELECT {JOB_COLUMNS} FROM jobs {where} ORDER BY number DESC LIMIT ?",
            (limit,),
            job_row,
        )
