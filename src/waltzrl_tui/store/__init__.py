"""The store: samples, jobs, agents, transcripts and evaluations in one SQLite file."""

from __future__ import annotations

from waltzrl_tui.records.jobs import ENDED, JOB_STATES
from waltzrl_tui.store.connection import Store
from waltzrl_tui.store.job_rows import JobChange
from waltzrl_tui.store.rows import (
    AgentRow,
    DuelRow,
    EvaluationRow,
    EventRow,
    FileRow,
    JobRow,
    NewJob,
    PairRow,
    SampleRow,
    TranscriptEventRow,
    TranscriptHit,
    TranscriptRow,
    Vote,
    now,
)

__all__ = [
    "ENDED",
    "JOB_STATES",
    "AgentRow",
    "DuelRow",
    "EvaluationRow",
    "EventRow",
    "FileRow",
    "JobChange",
    "JobRow",
    "NewJob",
    "PairRow",
    "SampleRow",
    "Store",
    "TranscriptEventRow",
    "TranscriptHit",
    "TranscriptRow",
    "Vote",
    "now",
]
