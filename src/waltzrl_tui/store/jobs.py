"""Jobs: their state, which changes by compare-and-set only, and their events and metrics."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from difflib import get_close_matches
from typing import Any, Final, TypedDict, Unpack

from waltzrl_tui.errors import NotFoundError, UsageError
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import dump, load, storable
from waltzrl_tui.store.rows import (
    ENDED,
    JOB_STATES,
    EventRow,
    JobKind,
    JobRole,
    JobRow,
    JobState,
    Level,
    MetricRow,
    NewJob,
    now,
)


class JobChange(TypedDict, total=False):
    """What of a job may change beside its state."""

    model: str
    reason: str
    provider_state: str
    provider_job_id: str
    depends_on: tuple[str, ...]
    params: Mapping[str, Any]
    sample_id: int | None
    step: int
    total_steps: int
    eta_seconds: float | None
    estimate_usd: float
    cost_usd: float
    cancel_requested: bool
    error: str
    result_model: str
    agent: str


class _JobOptions(JobChange, total=False):
    tag: str
    provider: str
    state: JobState


_COLUMNS: Final = ", ".join(field.name for field in fields(JobRow))
_METRIC_COLUMNS: Final = ", ".join(field.name for field in fields(MetricRow))
_METRIC_MARKS: Final = ", ".join("?" for _ in fields(MetricRow))
# No l, o, 0, 1 and i, which are read as one another; the first one is a letter.
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz"
_ALPHABET: Final = _LETTERS + "23456789"
_ENDED_LIST: Final = ", ".join(f"'{state}'" for state in sorted(ENDED))


class JobStore:
    """Reads and writes of jobs, their events and their metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self, id: str, *, kind: JobKind, role: JobRole, model: str, **options: Unpack[_JobOptions]
    ) -> JobRow:
        """Write a job before anything of it is sent anywhere; its state is draft by default.

        Raises:
            UsageError: The id or the tag is taken.
            NotFoundError: A job that it depends on, or its sample, is not in the store.
        """
        options.pop("cancel_requested", None)
        return (await self.add_all([NewJob(id, kind, role, model, **options)]))[0]  # type: ignore[misc]

    async def add_all(self, jobs: Sequence[NewJob]) -> list[JobRow]:
        """Write several jobs, all or none; they may depend on one another.

        Raises:
            UsageError: An id or a tag is taken.
            NotFoundError: A job that one depends on, or a sample, is not in the store.
        """

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            for job in jobs:
                _insert(connection, job)
            for job in jobs:
                for needed in job.depends_on:
                    _require(connection, needed)
            return [_require(connection, job.id) for job in jobs]

        return await self._database.write(work)

    async def get(self, id: str) -> JobRow:
        """The job of that id.

        Raises:
            NotFoundError: There is none; ids that look alike are told.
        """
        return await self._database.read(lambda connection: _require(connection, id))

    async def some(self, ids: Iterable[str]) -> list[JobRow]:
        """The jobs of those ids in that order; ids that are not in the store are left out."""
        wanted = list(dict.fromkeys(ids))

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            # One JSON parameter: the number of separate ones is limited.
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps(wanted),),
            )
            by_id = {row["id"]: _job(row) for row in found}
            return [by_id[id] for id in wanted if id in by_id]

        return await self._database.read(work)

    async def list(self, *, ended: bool | None = None, limit: int = 500) -> list[JobRow]:
        """The jobs (only those that have ended, or only those that have not), newest first."""
        where = {None: "", True: f"WHERE state IN ({_ENDED_LIST})"}.get(
            ended, f"WHERE state NOT IN ({_ENDED_LIST})"
        )

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs {where} ORDER BY number DESC LIMIT ?", (limit,)
            )
            return [_job(row) for row in found]

        return await self._database.read(work)

    async def dependants(self, id: str) -> list[JobRow]:
        """The jobs that depend on that one directly, oldest first."""

        def work(connection: sqlite3.Connection) -> list[JobRow]:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM jobs WHERE EXISTS"
                " (SELECT 1 FROM json_each(depends_on) WHERE value = ?) ORDER BY number",
                (id,),
            )
            return [_job(row) for row in found]

        return await self._database.read(work)

    async def launch_prefix(self) -> str:
        """Three characters that no job's id begins with yet, to name the jobs of one launch."""

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
                # A store with nearly all of them taken gets longer ones, not an endless search.
                length = 3 + tries // 50

        return await self._database.read(work)

    async def update(self, id: str, **change: Unpack[JobChange]) -> None:
        """Change fields of a job, whatever its state; `updated_at` is set to now.

        Raises:
            NotFoundError: There is no such job.
        """
        names, values = _assignments(change)

        def work(connection: sqlite3.Connection) -> None:
            touched = connection.execute(
                f"UPDATE jobs SET {names}updated_at = ? WHERE id = ?", (*values, now(), id)
            )
            if touched.rowcount == 0:
                raise _missing(connection, id)

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
        names, values = _assignments(change)

        def work(connection: sqlite3.Connection) -> bool:
            job = _require(connection, id)
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
            if not _require(connection, id).ended:
                connection.execute(
                    "UPDATE jobs SET cancel_requested = 1, updated_at = ? WHERE id = ?", (now(), id)
                )

        await self._database.write(work)

    async def event(self, id: str, text: str, level: Level = "info") -> None:
        """Note what happened to a job, in words.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, id)
            connection.execute(
                "INSERT INTO job_events (job_id, at, level, text) VALUES (?, ?, ?, ?)",
                (id, now(), level, storable(text)),
            )

        await self._database.write(work)

    async def events(self, id: str, since: int = 0, limit: int = 500) -> list[EventRow]:
        """The events of a job after number `since`, in order; at most `limit` of them."""

        def work(connection: sqlite3.Connection) -> list[EventRow]:
            found = connection.execute(
                "SELECT * FROM job_events WHERE job_id = ? AND id > ? ORDER BY id LIMIT ?",
                (id, since, limit),
            )
            return [EventRow(**dict(row)) for row in found]

        return await self._database.read(work)

    async def metric(self, row: MetricRow) -> None:
        """Record a step and the job's progress with it; a step written before is replaced.

        Raises:
            NotFoundError: There is no such job.
        """

        def work(connection: sqlite3.Connection) -> None:
            touched = connection.execute(
                "UPDATE jobs SET step = ?, eta_seconds = ?, updated_at = ? WHERE id = ?",
                (row.step, row.eta_seconds, now(), row.job_id),
            )
            if touched.rowcount == 0:
                raise _missing(connection, row.job_id)
            connection.execute(
                f"INSERT OR REPLACE INTO metrics ({_METRIC_COLUMNS}) VALUES ({_METRIC_MARKS})",
                astuple(row),
            )

        await self._database.write(work)

    async def metrics(self, id: str, since_step: int = -1) -> list[MetricRow]:
        """The metrics of a job after step `since_step`, by step."""

        def work(connection: sqlite3.Connection) -> list[MetricRow]:
            found = connection.execute(
                f"SELECT {_METRIC_COLUMNS} FROM metrics WHERE job_id = ? AND step > ?"
                " ORDER BY step",
                (id, since_step),
            )
            return [MetricRow(*row) for row in found]

        return await self._database.read(work)

    async def metrics_written(self, id: str, cursor: int = 0) -> tuple[list[MetricRow], int]:
        """The metrics of a job written after `cursor`, as they were written, and a new cursor.

        Unlike a step, the cursor also finds the steps that a resumed job writes once more.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[MetricRow], int]:
            found = connection.execute(
                f"SELECT {_METRIC_COLUMNS}, number FROM metrics WHERE job_id = ? AND number > ?"
                " ORDER BY number",
                (id, cursor),
            ).fetchall()
            rows = [MetricRow(*tuple(row)[:-1]) for row in found]
            return rows, found[-1]["number"] if found else cursor

        return await self._database.read(work)


def _insert(connection: sqlite3.Connection, job: NewJob) -> None:
    if connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job.id,)).fetchone():
        raise UsageError(f"There is already a job {job.id}.", hint="Choose another id.")
    tag = job.tag or job.id
    if connection.execute("SELECT 1 FROM jobs WHERE tag = ?", (tag,)).fetchone():
        raise UsageError(f"There is already a job with the tag {tag}.", hint="Choose another tag.")
    if job.sample_id is not None:
        sample = connection.execute("SELECT 1 FROM samples WHERE id = ?", (job.sample_id,))
        if sample.fetchone() is None:
            raise NotFoundError(f"There is no sample {job.sample_id} in the store.")
    at = now()
    values = {field.name: getattr(job, field.name) for field in fields(NewJob)} | {
        "tag": tag,
        "reason": storable(job.reason),
        "error": storable(job.error),
        "depends_on": json.dumps(job.depends_on),
        "params": dump(job.params),
        "cancel_requested": 0,
        "created_at": at,
        "updated_at": at,
        "started_at": at if job.state == "running" else None,
        "ended_at": at if job.state in ENDED else None,
    }
    marks = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO jobs ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )


def _assignments(change: JobChange) -> tuple[str, list[Any]]:
    unknown = change.keys() - JobChange.__annotations__.keys()
    if unknown:
        raise TypeError(f"a job's {', '.join(sorted(unknown))} cannot be changed like this")
    values: dict[str, Any] = dict(change)
    for name in ("reason", "error"):
        if name in values:
            values[name] = storable(values[name])
    if "params" in values:
        values["params"] = dump(values["params"])
    if "depends_on" in values:
        values["depends_on"] = json.dumps(values["depends_on"])
    return "".join(f"{name} = ?, " for name in values), list(values.values())


def _job(row: sqlite3.Row) -> JobRow:
    values = dict(row)
    values["depends_on"] = tuple(json.loads(values["depends_on"]))
    values["params"] = load(values["params"])
    values["cancel_requested"] = bool(values["cancel_requested"])
    return JobRow(**values)


def _require(connection: sqlite3.Connection, id: str) -> JobRow:
    row = connection.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise _missing(connection, id)
    return _job(row)


def _missing(connection: sqlite3.Connection, id: str) -> NotFoundError:
    ids = [row["id"] for row in connection.execute("SELECT id FROM jobs ORDER BY number DESC")]
    alike = [known for known in ids if id and known.startswith(id)][:3]
    alike = alike or get_close_matches(id, ids, n=3)
    hint = f"Did you mean {' or '.join(alike)}?" if alike else "See `waltzrl-tui jobs list`."
    return NotFoundError(f"There is no job {id!r} in the store.", hint=hint)
