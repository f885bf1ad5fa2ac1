"""The protocol of every provider; nothing else in the project knows an SDK.

A provider is made by a factory that takes a `ProviderContext`, is asked from one event loop, and
is closed at the end. Whoever writes one reads `docs/providers.md`, which has a worked example.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from waltzrl_tui.records.jobs import Level
from waltzrl_tui.records.providers import PROVIDERS, FileStyle
from waltzrl_tui.records.roles import Method, Role

RemoteState = Literal["queued", "running", "succeeded", "failed", "cancelled", "unknown"]
"""What a provider's own word comes to. `unknown`: a word that we do not know; polled on."""

DeploymentState = Literal["starting", "ready", "stopping", "stopped", "failed", "unknown"]
Progress = Callable[[int, int], Awaitable[None]]
"""Called with (bytes sent, bytes in all) during an upload."""


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What a provider is given.

    Attributes:
        key: Gives the value of a key by its variable's name (environment, then OS keyring), or
            "". Asked for at each use; never kept, logged or shown.
        url: Takes the place of the vendor's address (`--provider-url`); "" for the vendor's own,
            which the SDK's variable may replace.
        cache: A private folder of the workspace for what the provider needs to keep.
    """

    key: Callable[[str], str]
    url: str
    cache: Path


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. The screens ask this, never a name.

    Attributes:
        methods: Of training.
        keys: Variables of which one must hold a key; empty where none is needed.
        estimates: It prices a request itself (`estimate` gives an `PriceEstimate`).
        client_ids: The id of a job is chosen by us: a second create of the same one is refused
            as a duplicate, so none can be paid twice.
        deploys: Chat with a result needs a deployment that is billed while it is up.
        weights: `collect` downloads adapters.
        cancels: A running job can be stopped.
        concurrent_jobs: The most unfinished jobs at once; None when unknown.
        style: Of the training file.
    """

    methods: tuple[Method, ...] = ("sft",)
    keys: tuple[str, ...] = ()
    estimates: bool = False
    client_ids: bool = False
    deploys: bool = False
    weights: bool = False
    cancels: bool = True
    concurrent_jobs: int | None = None
    style: FileStyle = "chat"

    @classmethod
    def of(
        cls,
        name: str,
        *,
        estimates: bool = False,
        client_ids: bool = False,
        deploys: bool = False,
        weights: bool = False,
    ) -> Capabilities:
        """Those of a provider in the table of facts, which has its keys, methods and limits."""
        facts = PROVIDERS[name]
        return cls(
            methods=facts.methods,
            keys=facts.keys,
            estimates=estimates,
            client_ids=client_ids,
            deploys=deploys,
            weights=weights,
            concurrent_jobs=facts.concurrent_jobs,
            style=facts.style or "chat",
        )


@dataclass(frozen=True, slots=True)
class Account:
    """What a probe found, at no cost.

    Attributes:
        key_ok: Whether the key is accepted; None when unknown.
        may_tune: Whether this account may train; None when the provider does not report it.
        words: The provider's own words, or ours where it has none.
        account: Name or id of the account, "" when unknown. Uploads are recorded by it.
    """

    key_ok: bool | None
    may_tune: bool | None
    words: str
    account: str = ""


@dataclass(frozen=True, slots=True)
class TrainingUpload:
    """A file to send: what it is, and its SHA-256, by which it is known again.

    Attributes:
        rows: Lines in the file.
        name: A file name that carries the tag or the hash, so that it can be found again.
    """

    path: Path
    sha256: str
    bytes: int
    rows: int
    name: str


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """One job to create.

    Attributes:
        tag: Ours, unique (`k3f-conv`): goes into the provider's name, suffix or id field.
        model: The base model by the provider's own name.
        training_file, validation_file: As `upload` named them; the second may be "".
        epochs: Passes over the rows.
        options: Further settings by name (learning_rate, lora_rank, …) that the provider knows.
        rows, valid_rows: Of the files. `tokens`: of one epoch, estimated or counted.
        timeout_s: A machine that is paid by the minute is stopped after so long.
        machine: The one that the plan chose, by the provider's own name; "" where none is rented.
        seconds: How long the plan expects such a machine to be at work for this job.
        from_model: A result to go on from, "" for the base.
    """

    tag: str
    role: Role
    model: str
    method: Method
    training_file: str
    validation_file: str
    epochs: float
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    valid_rows: int = 0
    tokens: int = 0
    timeout_s: float | None = None
    from_model: str = ""
    machine: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PriceEstimate:
    """The provider's own price of a request.

    Attributes:
        usd: None without a price (`words` has the reason).
        allowed: False when this account may not train: then nothing is created.
        tokens: Training tokens that it would bill, or None.
        pending: Not known yet (the file is being checked): ask again.
    """

    usd: float | None
    allowed: bool = True
    words: str = ""
    tokens: int | None = None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job at its provider, as `create`, `find` and `list` report it."""

    id: str
    tag: str
    state: RemoteState
    provider_state: str
    model: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class RemoteEvent:
    """A provider's event. `key` is its id, or else makes it unique."""

    key: str
    at: str
    text: str
    level: Level = "info"


@dataclass(frozen=True, slots=True)
class RemoteMetric:
    """One step's figures, None where not reported. `epoch` counts passes."""

    step: int
    loss: float | None = None
    valid_loss: float | None = None
    epoch: float | None = None
    learning_rate: float | None = None
    tokens: int | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """The news of a job since a cursor.

    Attributes:
        provider_state: The provider's own word, shown unchanged.
        words: Why it failed or waits, in the provider's words.
        step, total_steps, fraction: Progress where reported (fraction 0 to 1).
        eta_seconds: Seconds left, if reported.
        cost_usd: Billed so far, if reported. `tokens`: trained and billed, if reported.
        result_model: Names the result once there is one.
        cursor: Opaque, JSON: given back at the next call.
        log: New lines of the provider's own log.
    """

    state: RemoteState
    provider_state: str
    words: str = ""
    step: int | None = None
    total_steps: int | None = None
    fraction: float | None = None
    eta_seconds: float | None = None
    cost_usd: float | None = None
    tokens: int | None = None
    result_model: str = ""
    events: Sequence[RemoteEvent] = ()
    metrics: Sequence[RemoteMetric] = ()
    log: Sequence[str] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A model that is up and billed.

    Attributes:
        id: The provider's name for it.
        url: Of its OpenAI-compatible endpoint, with `/v1`; `model`: the name to ask for there.
        usd_per_hour: As the provider reports it, or None.
        tag: Our tag, by which a sweep finds it; "" for one made by others.
    """

    id: str
    state: DeploymentState
    provider_state: str
    model: str
    url: str = ""
    usd_per_hour: float | None = None
    tag: str = ""
    words: str = ""


@runtime_checkable
class Provider(Protocol):
    """A place where agents can be trained.

    Every method raises only errors of `providers.errors`, with the provider's own words, and may
    be cancelled. Capabilities list what a provider cannot do; those methods are not called.
    """

    name: str
    title: str
    capabilities: Capabilities

    async def probe(self) -> Account:
        """Whether the key works and the account may train. Free, and changes nothing."""
        ...

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        """Send a file and wait until the provider has checked it; gives the provider's id.

        A file of this hash that is there already is not sent twice.

        Raises:
            InvalidRequestError: The file was refused; `words` has the reason.
        """
        ...

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        """The provider's own price of the request. Free."""
        ...

    async def create(self, request: TuneRequest) -> RemoteJob:
        """Create the job: one request that is never repeated by the client.

        Raises:
            ProviderError: With `sent` set when the job may exist all the same.
        """
        ...

    async def find(self, tag: str) -> RemoteJob | None:
        """The job that carries the tag, or None. Looks through all of the account's jobs."""
        ...

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        """State, progress and what is new since `cursor` ({} for all).

        Raises:
            MissingError: The provider has deleted the job.
        """
        ...

    async def cancel(self, job_id: str) -> None:
        """Request to stop. A job that has ended is left unchanged."""
        ...

    async def jobs(self) -> list[RemoteJob]:
        """The account's newest jobs, to adopt one by id. At most 100."""
        ...

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        """The body that `create` sends, to be shown; never a key."""
        ...

    async def collect(self, result_model: str, folder: Path) -> Path:
        """Fetch the adapter into `folder` (where `capabilities.weights`)."""
        ...

    async def deploy(self, result_model: str, base_model: str, tag: str) -> Deployment:
        """Start a deployment of a result. As safe to repeat as `create`, by its tag."""
        ...

    async def deployment(self, deployment_id: str) -> Deployment:
        """The current state of a deployment."""
        ...

    async def deployments(self) -> list[Deployment]:
        """All deployments of the account that are up; those made by others have an empty tag."""
        ...

    async def undeploy(self, deployment_id: str) -> None:
        """Stop it. One that is already gone is not an error."""
        ...

    def chat_url(self) -> str:
        """Of the OpenAI-compatible API where results answer without a deployment, or ""."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


Factory = Callable[[ProviderContext], Provider]
