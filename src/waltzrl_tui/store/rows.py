"""The rows of the store, one frozen dataclass per table, and their timestamps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from waltzrl_tui.records.jobs import ENDED, JobKind, JobState, Level
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.records.roles import JobRole, Role

Split = Literal["train", "valid"]
AgentKind = Literal["embedded", "openai", "anthropic", "bedrock", "hosted"]

PROMPT: Final = "prompt"
"""The kind of the transcript event that opens a turn; `TranscriptRow.turns` counts these."""
EDIT: Final = "edit"
"""The kind of the transcript event that corrects an earlier turn, `turn` of its data (from 0)."""


def stamp(moment: datetime) -> str:
    """`moment` as the store writes times: UTC ISO-8601 with milliseconds and "Z"."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    """The present as the store writes times. Two stamps compare as text as they do as times."""
    return stamp(datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class SampleRow:
    """Rows drawn from one dataset, with the recipe that draws the same ones again."""

    id: int
    created_at: str
    source: str
    source_sha256: str
    recipe: dict[str, Any]
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class FileRow:
    """A training or validation file that was made from a sample for one role."""

    id: int
    sample_id: int
    role: Role
    split: Split
    path: str
    rows: int
    tokens: int | None
    sha256: str
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be added. An empty `tag` becomes the id."""

    id: str
    kind: JobKind
    role: JobRole
    model: str
    tag: str = ""
    provider: str = EMBEDDED
    state: JobState = "draft"
    reason: str = ""
    provider_state: str = ""
    provider_job_id: str = ""
    depends_on: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    sample_id: int | None = None
    step: int = 0
    total_steps: int = 0
    eta_seconds: float | None = None
    estimate_usd: float = 0.0
    cost_usd: float = 0.0
    cancel_requested: bool = False
    error: str = ""
    result_model: str = ""
    agent: str = ""


WAITS_TURN: Final = "queued"
"""The start of `JobRow.reason` while the provider's limit on jobs at once is reached."""


@dataclass(frozen=True, slots=True)
class JobRow:
    """A training or rollout job, as it stood when it was read.

    `reason` is why it waits or its current activity; `provider_state` is the provider's own word;
    `result_model` is the adapter's folder; `agent` is the agent made from it, or "".
    """

    id: str
    tag: str
    kind: JobKind
    role: JobRole
    provider: str
    model: str
    state: JobState
    reason: str
    provider_state: str
    provider_job_id: str
    depends_on: tuple[str, ...]
    params: dict[str, Any]
    sample_id: int | None
    step: int
    total_steps: int
    eta_seconds: float | None
    estimate_usd: float
    cost_usd: float
    cancel_requested: bool
    created_at: str
    updated_at: str
    started_at: str | None
    ended_at: str | None
    error: str
    result_model: str
    agent: str

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def waits_turn(self) -> bool:
        """Whether the provider takes it only once others of this account have ended."""
        # An earlier version wrote the second.
        return self.state == "approved" and self.reason.startswith((WAITS_TURN, "waits its turn"))

    @property
    def embedded(self) -> bool:
        """Whether a worker on this machine runs it."""
        return self.provider == EMBEDDED

    @property
    def launch(self) -> str:
        """The first part of the id, which the jobs of one launch share."""
        return self.id.partition("-")[0]

    @property
    def pair(self) -> str:
        """Name of the pair that the launch is to make, or ""."""
        return str(self.params.get("pair", {}).get("name", ""))

    def id_in(self, launch: str) -> str:
        """The id of the same job of another launch: `abc-conv` for `k3f-conv`."""
        return f"{launch}-{self.id.partition('-')[2] or self.role}"


LOG: Final = "log: "
"""The start of the events that are lines of a provider's own log."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event of a job."""

    id: int
    job_id: str
    at: str
    level: Level
    text: str

    @property
    def log_line(self) -> str | None:
        """The line of the provider's log that this event is, or None."""
        return self.text.removeprefix(LOG) if self.text.startswith(LOG) else None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """A model in a role. `key_env` is the NAME of an environment variable, never a key."""

    name: str
    role: Role
    kind: AgentKind
    base: str
    adapter: str
    prompt: str
    url: str
    key_env: str
    job_id: str
    created_at: str

    @property
    def embedded(self) -> bool:
        """Whether the engine on this machine serves it."""
        return self.kind == EMBEDDED


@dataclass(frozen=True, slots=True)
class PairRow:
    """A conversation agent and the feedback agent beside it ("" when there is none)."""

    name: str
    conversation: str
    feedback: str
    rounds: int
    created_at: str


@dataclass(frozen=True, slots=True)
class TranscriptRow:
    """A chat with a pair; its events are read apart."""

    id: int
    title: str
    pair: str
    created_at: str
    updated_at: str
    turns: int
    branched_from: int | None = None


@dataclass(frozen=True, slots=True)
class TranscriptHit:
    """A turn that contains the searched words.

    Attributes:
        turn: The number of the event that opens the turn.
        text: The prompt or reply that holds the words.
    """

    transcript: TranscriptRow
    turn: int
    text: str


Vote = Literal["left", "right", "tie", "both bad"]


@dataclass(frozen=True, slots=True)
class DuelRow:
    """One prompt that two pairs answered side by side.

    Attributes:
        harm: The prompt's label, "harmful", "benign" or "".
        source: The dataset of the prompt, with its `line`; "" when typed.
        vote: "" before the vote. `voted_early`: while a reply was still streaming.
        left_unsafe: This and the other flags are of the final replies; None when not flagged.
        flagged_by: Who set the flags, or "".
    """

    id: int
    created_at: str
    prompt: str
    harm: str
    source: str
    line: int | None
    blind: bool
    left_pair: str
    right_pair: str
    left_transcript: int | None
    right_transcript: int | None
    vote: Vote | Literal[""] = ""
    voted_at: str | None = None
    voted_early: bool = False
    left_unsafe: bool | None = None
    left_overrefuse: bool | None = None
    right_unsafe: bool | None = None
    right_overrefuse: bool | None = None
    flagged_by: str = ""
    left_seconds: float | None = None
    right_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TranscriptEventRow:
    """One entry of a transcript, in the order it was appended."""

    id: int
    transcript_id: int
    at: str
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """A finished evaluation of a pair: `report` is the document that `evaluate` prints."""

    id: int
    pair: str
    judge: str
    suite: str
    suite_sha256: str
    n: int
    created_at: str
    seconds: float
    report: dict[str, Any]
    items_path: str
