"""The catalogue's schema: every price has a date and a source; unknown fields are errors."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from waltzrl_tui.plans.model import METHODS, Money, ProviderKind, Size
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.records.roles import Method

Amount = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Precision = Literal["LoRA", "QLoRA"]
Positive = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]


class _CatalogueEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CataloguePrice(_CatalogueEntry):
    """A price in USD with its date and source; `low` and `high` where sources differ."""

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
            raise ValueError("low, expected and high must be in ascending order")
        return self

    @property
    def usd(self) -> Money:
        """The amount alone."""
        return Money.of(self.low, self.expected, self.high)


class BaseModelEntry(_CatalogueEntry):
    """A base model.

    Attributes:
        params: Billions of parameters; None where they are not public.
        tokenizer: The name of its tokenizer; empty where none is available.
        hub: Its repository on the Hugging Face hub.
        context: The longest sequence it reads, in tokens; 0 where it is not known.
    """

    params: Positive | None = None
    size: Size
    tokenizer: str = ""
    hub: str = ""
    context: Count = 0


class GpuEntry(_CatalogueEntry):
    """A GPU.

    Attributes:
        memory_gb: Memory, 10⁹ bytes.
        tflops: Dense bf16 (else fp16) TFLOPS from its data sheet.
        names: Its names in drivers and price lists, in lower case.
    """

    memory_gb: Positive
    tflops: Positive
    names: tuple[str, ...] = ()


class ThroughputEntry(_CatalogueEntry):
    """A published training speed, from which the speeds of other GPUs and models are computed.

    Attributes:
        tokens_per_second: LoRA on one `gpu` with a model of `params` billion parameters.
        qlora: The share of that speed that 4-bit weights reach.
        many: The share of its own speed that each further GPU adds.
        low, expected, high: The share of the published figure that short, unpacked rows reach.
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
    """What a provider accepts; None where its limit is not known.

    Attributes:
        max_file_bytes: Size of the training file, bytes.
        max_sequence: Length of a row, tokens.
        drops_long_rows: Whether longer rows are left out, and not refused or cut.
        max_suffix: Characters of a job's name.
        batch_rows: Rows of one optimizer step.
    """

    max_epochs: Positive | None = None
    whole_epochs: bool = False
    min_rows: Count | None = None
    max_rows: Count | None = None
    max_file_bytes: Count | None = None
    max_sequence: Count | None = None
    drops_long_rows: bool = False
    max_suffix: Count | None = None
    concurrent_jobs: Count | None = None
    batch_rows: Count | None = None


class ModelOffer(_CatalogueEntry):
    """A base model that a provider trains.

    Attributes:
        id: The provider's name for it; empty where that is its name on the hub.
        sft, dpo: USD per 1M training tokens.
        hosting: USD per hour of chat with both agents.
        hosting_what: What is billed for chat.
    """

    model: str
    id: str = ""
    sft: CataloguePrice | None = None
    dpo: CataloguePrice | None = None
    hosting: CataloguePrice | None = None
    hosting_what: str = "deployment"


class MachineEntry(_CatalogueEntry):
    """A rented machine with one or more equal GPUs; the price covers all of them."""

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
        kind: What is paid for; see `ProviderKind`.
        keys: Environment variables, one of which must hold a key.
        since, ends: When it closed, or will close.
        why: The reason, in words.
        instead: The name of the provider to use instead.
        chat: Where agents answer: here (`local`), on a billed deployment (`hosted`), billed by
            tokens (`tokens`), or on the machine that trained them (`machine`).
        per_job: Minimum fee of a job, USD.
        per_month: Storage of one trained model, USD per month.
        disk: USD per hour.
        startup: Minutes until training begins: an assumption, as no provider publishes it.
        runs_on: The GPU assumed for the duration where the provider publishes none.
        validation: Whether validation tokens are billed as training tokens.
        own_machines: Whether each agent's job gets a machine of its own.
        precisions: What its training worker supports.
        offer: By size, the models that it trains and bills by tokens.
        model: By size, the default base model where nothing is billed by tokens.
    """

    title: str
    kind: ProviderKind
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

    @property
    def fixed_model(self) -> bool:
        """Whether it trains its own base model only, whichever the user asks for."""
        return self.kind == EMBEDDED

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if set(self.methods) - set(METHODS):
            raise ValueError("unknown method")
        if self.kind != "tokens" and not self.model and self.status == "open":
            raise ValueError("no model for any size")
        return self


class Catalogue(_CatalogueEntry):
    """The catalogue; see `load_catalogue`."""

    throughput: ThroughputEntry
    base: dict[str, BaseModelEntry]
    gpu: dict[str, GpuEntry]
    provider: dict[str, ProviderEntry]

    def base_name(self, model: str) -> str:
        """The name in `base` of a model, given its name here, on the hub or at a provider.

        A model that is not in the catalogue keeps its name.
        """
        if model in self.base:
            return model
        for name, entry in self.base.items():
            if entry.hub == model:
                return name
        offers = (offer for entry in self.provider.values() for offer in entry.offer.values())
        return next((offer.model for offer in offers if offer.id == model), model)

    @model_validator(mode="after")
    def _names_known(self) -> Self:
        if self.throughput.gpu not in self.gpu:
            raise ValueError(f"throughput: no GPU named {self.throughput.gpu!r}")
        for name, provider in self.provider.items():
            offered = [offer.model for offer in provider.offer.values()]
            for model in (*offered, *provider.model.values()):
                if model not in self.base:
                    raise ValueError(f"provider.{name}: no base model named {model!r}")
            for key, machine in provider.machine.items():
                if machine.gpu not in self.gpu:
                    raise ValueError(f"provider.{name}.machine.{key}: no GPU {machine.gpu!r}")
            if provider.instead and provider.instead not in self.provider:
                raise ValueError(f"provider.{name}: no provider named {provider.instead!r}")
        return self
