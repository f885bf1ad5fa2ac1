"""Jobs between Python and SQL: columns, conversions, and the checks on writing."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, Final, TypedDict

from waltzrl_tui.errors import NotFoundError, UsageError
from waltzrl_tui.records.jobs import ENDED, JobState
from waltzrl_tui.store.json_text import storable
from waltzrl_tui.store.paths import (
    dump_document,
    load_document,
    path_from_store,
    path_to_store,
)
from waltzrl_tui.store.rows import JobRow, NewJob, now
from waltzrl_tui.text import one_line

_NAMES: Final = tuple(field.name for field in fields(JobRow))
JOB_COLUMNS: Final = ", ".join(_NAMES)
# An id names the job's folder.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


class JobChange(TypedDict, total=False):
    """The fields of a job that may change, besides its state."""

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


class JobOptions(JobChange, total=False):
    """The optional fields of a new job."""

    tag: str
    provider: str
    state: JobState


def insert(connection: sqlite3.Connection, job: NewJob) -> None:
    """Write a job.

    Raises:
        UsageError: The id or the tag is taken, or the id cannot be one.
        NotFoundError: Its sample is not in the store.
    """
    if not _ID.fullmatch(job.id):
        raise UsageError(
            f"{one_line(job.id)!r} cannot be the id of a job.",
            hint="Give letters, digits, dots, dashes and underscores.",
        )
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
        "params": dump_document(connection, job.params),
        "result_model": path_to_store(connection, job.result_model),
        "cancel_requested": int(job.cancel_requested),
        "created_at": at,
        "updated_at": at,
        "started_at": at if job.state == "running" else None,
        "ended_at": at if job.state in ENDED else None,
    }
    marks = ", ".join("?" for _ in values)
    connection.execute(
        f"INSERT INTO jobs ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )


def assignments(connection: sqlite3.Connection, change: JobChange) -> tuple[str, list[Any]]:
    """`change` as the "name = ?, " of an UPDATE, each with its comma, and the values of it."""
    unknown = change.keys() - JobChange.__annotations__.keys()
    if unknown:
        raise TypeError(f"a job's {', '.join(sorted(unknown))} cannot be changed like this")
    values: dict[str, Any] = dict(change)
    for name in ("reason", "error"):
        if name in values:
            values[name] = storable(values[name])
    if "params" in values:
        values["params"] = dump_document(connection, values["params"])
    if "result_model" in values:
        values["result_model"] = path_to_store(connection, values["result_model"])
    if "depends_on" in values:
        values["depends_on"] = json.dumps(values["depends_on"])
    return "".join(f"{name} = ?, " for name in values), list(values.values())


def job_row(connection: sqlite3.Connection, row: sqlite3.Row) -> JobRow:
    """A row of `JOB_COLUMNS` as a job."""
    # Not `dict(row)`, which looks up each of the many columns by its name.
    values = dict(zip(_NAMES, row, strict=True))
    values["depends_on"] = tuple(json.loads(values["depends_on"]))
    values["params"] = load_document(connection, values["params"])
    values["result_model"] = path_from_store(connection, values["result_model"])
    values["cancel_requested"] = bool(values["cancel_requested"])
    return JobRow(**values)


def require(connection: sqlite3.Connection, id: str) -> JobRow:
    """The job of that id.

    Raises:
        NotFoundError: There is none.
    """
    row = connection.execute(f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", (id,)).fetchone()
    if row is None:
        raise missing(connection, id)
    return job_row(connection, row)


def missing(connection: sqlite3.Connection, id: str) -> NotFoundError:
    ids = [row["id"] for row in connection.execute("SELECT id FROM jobs ORDER BY number DESC")]
    alike = [known for known in ids if id and known.startswith(id)][:3]
    alike = alike or get_close_matches(id, ids, n=3)
    hint = f"Did you mean {' or '.join(alike)}?" if alike else "See `waltzrl-tui jobs list`."
    return NotFoundError(f"There is no job {one_line(id)!r} in the store.", hint=hint)
