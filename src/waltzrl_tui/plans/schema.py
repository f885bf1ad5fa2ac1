"""The catalogue's schema: every price has a date and a source, every unknown field is refused."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from waltzrl_tui.plans.model import METHODS, Size
from waltzrl_tui.records.roles import Method

Amount = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Precision = Literal["LoRA", "QLoRA"]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class _CatalogueEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CataloguePrice(_CatalogueEntry):
    """An amount of USD with its date and source; `low` and `high` where sources differ."""

    low: Amount = -1.0
    expected: Amount
    high: Amount = -1.0
    as_of: date
    source: str = Field(min_length=3)

    @model_validator(mode="before")
    @classmethod
    def _one_figure(cls, values: Any) -> Any:
        if isinstance(values, dict) and "expected" in values:
            return {"low": values["expected"], "high": values["expected"], **values}
        return values

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.low <= self.expected <= self.high:
            raise ValueError("low, expected and high must be in this order")
        return self


class BaseModelEntry(_CatalogueEntry):
    """A base model.

    Attributes:
        params: Billions of parameters; None when it is not public.
        tokenizer: Which tokenizer counts for it; empty when there is none to be had.
        hub: Where its weights and tokenizer are on the Hugging Face hub.
    """

    params: Positive | None = None
    size: Size
    tokenizer: str = ""
    hub: str = ""
    context: Count = 0


class GpuEntry(_CatalogueEntry):
    """A GPU: memory in 10⁹ bytes, dense bf16 (else fp16) TFLOPS of its data sheet.

    Attributes:
        names: What drivers and price lists call it, in lower case, a part each.
    """

    memory_gb: Positive
    tflops: Positive
    names: tuple[str, ...] = ()


class ThroughputEntry(_CatalogueEntry):
    """A published training speed, from which those of other GPUs and models are computed.

    Attributes:
        tokens_per_second: LoRA on one `gpu` with a model of `params` billion parameters.
        qlora: Of it, the share that 4-bit weights leave.
        many: Of each further GPU's, the share that is gained.
        low, expected, high: Of the published figure, the share that short, unpacked rows reach.
    """

    tokens_per_second: Positive
    gpu: str
    params: Positive
    qlora: Positive
    many: Positive
    low: Positive
    expected: Positive
    high: Positive
    source: str


class ProviderLimits(_CatalogueEntry):
    """What a provider refuses. What is not known is not there."""

    max_epochs: Positive | None = None
    whole_epochs: bool = False
    min_rows: Count | None = None
    max_rows: Count | None = None
    max_file_bytes: Count | None = None
    max_sequence: Count | None = None
    max_suffix: Count | None = None
    concurrent_jobs: Count | None = None
    batch_rows: Count | None = None


class ModelOffer(_CatalogueEntry):
    """A base model that a provider trains.

    Attributes:
        id: The provider's own name of it; the base's name on the hub when empty.
        sft, dpo: Per 1M training tokens.
        hosting: Per hour of chat with both agents.
        hosting_what: What is billed there.
    """

    model: str
    id: str = ""
    sft: CataloguePrice | None = None
    dpo: CataloguePrice | None = None
    hosting: CataloguePrice | None = None
    hosting_what: str = "deployment"


class MachineEntry(_CatalogueEntry):
    """A rented machine with one or more equal GPUs; the price is that of all of them."""

    gpu: str
    gpus: Annotated[int, Field(ge=1, le=64)] = 1
    usd_per_hour: CataloguePrice
    flavor: str = ""


class MinutesRange(_CatalogueEntry):
    low: Amount
    high: Amount


class ProviderEntry(_CatalogueEntry):
    """A place where agents can be trained.

    Attributes:
        kind: Priced by `tokens`, by rented `machines`, or free: `own` GPU, `embedded` engine.
        keys: Variables of which one must hold a key.
        since, ends: When it closed, or will; `instead`: another provider's name.
        why: Why it is closed, in words.
        chat: Where agents are talked to: here (`local`), on a billed deployment (`hosted`), by
            tokens (`tokens`), or on the machine that trained them (`machine`).
        per_job: Minimum fee of one job. per_month: storage of one result. disk: per hour.
        startup: Minutes until training begins; an assumption, as no provider publishes it.
        runs_on: The GPU that the duration is computed for where the provider tells none.
        validation: Whether tokens of validation are billed as trained ones.
        own_machines: Each agent's job has a machine of its own.
        precisions: What its training worker can do.
    """

    title: str
    kind: Literal["tokens", "machines", "own", "embedded"]
    keys: tuple[str, ...] = ()
    status: Literal["open", "closed"] = "open"
    since: date | None = None
    ends: date | None = None
    why: str = ""
    instead: str = ""
    source: str = ""
    methods: tuple[Method, ...] = ("sft",)
    chat: Literal["local", "hosted", "tokens", "machine"] = "local"
    limits: ProviderLimits = ProviderLimits()
    startup: MinutesRange | None = None
    runs_on: str = ""
    validation: bool = False
    own_machines: bool = False
    precisions: tuple[Precision, ...] = ("LoRA", "QLoRA")
    per_job: CataloguePrice | None = None
    per_month: CataloguePrice | None = None
    disk: CataloguePrice | None = None
    offer: dict[Size, ModelOffer] = {}
    model: dict[Size, str] = {}
    machine: dict[str, MachineEntry] = {}
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if set(self.methods) - set(METHODS):
            raise ValueError("an unknown method")
        if self.kind != "tokens" and not self.model and self.status == "open":
            raise ValueError("a model for at least one size is missing")
        return self


class Catalogue(_CatalogueEntry):
    """All of it, as `load_catalogue` gives it."""

    throughput: ThroughputEntry
    base: dict[str, BaseModelEntry]
    gpu: dict[str, GpuEntry]
    provider: dict[str, ProviderEntry]

    def base_name(self, model: str) -> str:
        """The name in `base` of a model that is called so here, on the hub or at a provider.

        A model that is not in the catalogue keeps its name.
        """
        if model in self.base:
            return model
        for name, entry in self.base.items():
            if entry.hub == model:
                return name
        offers = (offer for each in self.provider.values() for offer in each.offer.values())
        return next((offer.model for offer in offers if offer.id == model), model)

    @model_validator(mode="after")
    def _names_known(self) -> Self:
        if self.throughput.gpu not in self.gpu:
            raise ValueError(f"throughput: no GPU named {self.throughput.gpu!r}")
        for name, provider in self.provider.items():
            for model in (*(o.model for o in provider.offer.values()), *provider.model.values()):
                if model not in self.base:
                    raise ValueError(f"provider.{name}: no base model named {model!r}")
            for key, machine in provider.machine.items():
                if machine.gpu not in self.gpu:
                    raise ValueError(f"provider.{name}.machine.{key}: no GPU {machine.gpu!r}")
            if provider.instead and provider.instead not in self.provider:
                raise ValueError(f"provider.{name}: no provider named {provider.instead!r}")
        return self
