"""What the store knows of jobs at providers, of uploads, deployments and accounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from waltzrl_tui.records.intents import IntentFile, LaunchIntent
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store.rows import LOG as LOG


@dataclass(frozen=True, slots=True)
class RemoteJobRow:
    """What a job at a provider needs beyond its row in `jobs`.

    Attributes:
        url: In place of the vendor's address, "" for the vendor's own.
        method: "sft" or "dpo".
        files: By split ("train", "valid").
        request: What is asked for.
        payload: The body of the create call as it was sent; no key is in it.
        vendor_usd, vendor_says: The provider's own estimate, and its words.
        sent_at: When a create call was first about to be sent: from then on the job is looked
            for by its tag before it is created.
        seen_at: When the provider last told of it.
        tokens: Trained and billed, as the provider tells. fraction: done, 0 to 1.
        cursor: Where the provider's events and metrics were read to.
    """

    job_id: str
    url: str
    method: str
    files: dict[str, IntentFile]
    request: LaunchIntent
    payload: dict[str, Any]
    vendor_usd: float | None
    vendor_says: str
    sent_at: str | None
    seen_at: str | None
    tokens: int | None
    fraction: float | None
    cursor: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewRemoteJob:
    """The same, of a job that is about to be written."""

    job_id: str
    method: str
    files: dict[str, IntentFile]
    request: LaunchIntent
    url: str = ""


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A model that is, was, or is to be up for chat.

    Attributes:
        tag: Ours: by it the provider finds it again. remote_id: the provider's name of it.
        agent: Whose model it is.
        endpoint: Of its OpenAI-compatible API; `model` is asked for there.
        state: A `providers.protocol.DeploymentState`, or "wanted" before anything was sent.
        usd_per_hour: None when neither the provider nor the catalogue tells.
        idle_minutes: It is taken down after so long without a chat.
        up_since: Since when it is billed, as far as we know; `ended_at`: until when.
        used_at: The last chat with it, or its start.
    """

    tag: str
    provider: str
    url: str
    remote_id: str
    agent: str
    model: str
    base_model: str
    endpoint: str
    state: str
    words: str
    usd_per_hour: float | None
    idle_minutes: float
    created_at: str
    up_since: str | None
    used_at: str
    ended_at: str | None


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """What a provider said of this account, and when. Times are the store's."""

    provider: str
    key_ok: bool | None
    may_tune: bool | None
    words: str
    account: str
    at: str


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that a provider says. `key` is unique for its job: an event is kept once."""

    key: str
    text: str
    at: str = ""
    level: str = "info"


@dataclass(frozen=True, slots=True)
class RemoteUpdate:
    """All that one answer about a job brings, to be written at once.

    Attributes:
        state: The job's new state, or None to leave it.
        cost_usd: Billed so far, None when not told.
    """

    cursor: dict[str, Any]
    state: str | None = None
    provider_state: str = ""
    reason: str = ""
    error: str = ""
    step: int | None = None
    total_steps: int | None = None
    fraction: float | None = None
    eta_seconds: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    result_model: str = ""
    events: tuple[NewEvent, ...] = ()
    metrics: tuple[Metric, ...] = field(default_factory=tuple)
