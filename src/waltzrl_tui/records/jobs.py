"""What a job can be and in which state: the same for the store, its workers and the screens."""

from __future__ import annotations

from typing import Final, Literal, get_args

JobKind = Literal["rollouts", "train"]
Level = Literal["info", "warning", "error"]
"""How serious an event is."""

JobState = Literal[
    "draft",
    "approved",
    "uploading",
    "submitting",
    "queued",
    "running",
    "succeeded",
    "failed",
    "cancelled",
]
JOB_STATES: Final[tuple[JobState, ...]] = get_args(JobState)
ENDED: Final[frozenset[JobState]] = frozenset({"succeeded", "failed", "cancelled"})
