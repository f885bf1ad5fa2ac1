"""Providers that are paid by trained tokens."""

from __future__ import annotations

from dataclasses import dataclass, field

from waltzrl_tui.plans.model import FREE, CostItem, Money, PlanSettings, RentedMachine, Workload
from waltzrl_tui.plans.schema import Catalogue, CataloguePrice, ModelOffer, ProviderEntry
from waltzrl_tui.plans.throughput import training_speed
from waltzrl_tui.plans.training_tokens import TrainingTokens


@dataclass
class PlanCost:
    """The parts of a price; `total` is None when one of them has no sourced price.

    Attributes:
        prices: All that went into it, for their dates and sources.
        missing: Why there is no total, in words.
        without: What is not in the total, in words.
    """

    parts: list[CostItem] = field(default_factory=list)
    prices: list[CataloguePrice] = field(default_factory=list)
    missing: str = ""
    without: str = ""
    seconds: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)
    rented: RentedMachine | None = None

    @property
    def total(self) -> Money | None:
        return None if self.missing else Money.sum(part.usd for part in self.parts)

    def add(self, what: str, usd: Money, *prices: CataloguePrice) -> None:
        self.parts.append(CostItem(what, usd))
        self.prices += prices


def money(price: CataloguePrice) -> Money:
    return Money.of(price.low, price.expected, price.high)


def price_by_tokens(
    catalogue: Catalogue,
    provider: ProviderEntry,
    offer: ModelOffer,
    workload: Workload,
    settings: PlanSettings,
    tokens: TrainingTokens,
) -> PlanCost:
    """Training the agents there and `settings.chat_hours` of chat."""
    found = PlanCost(seconds=_seconds(catalogue, provider, offer, tokens))
    per_million = offer.dpo if settings.method == "dpo" else offer.sft
    if found.seconds is not None:
        how = ", both jobs at once or one after the other" if len(tokens.roles) > 1 else ""
        found.notes.append(
            f"time computed as on one {provider.runs_on}{how}; the provider publishes none"
        )
    if per_million is None:
        found.missing = (
            f"no sourced price for training {offer.model}: put one into plans.toml, or see the "
            "provider's price list"
        )
        return found
    for role in tokens.roles:
        billed = role.trained + (role.validated if provider.validation else 0)
        usd = money(per_million).times(billed / 1e6)
        usd = Money.of(usd.low * (1 - tokens.error), usd.expected, usd.high * (1 + tokens.error))
        what = f"{role.role}: {_tokens(role.trained)}"
        if provider.validation and role.validated:
            what += f" and {_tokens(role.validated)} of validation"
        what += f" at ${per_million.expected:.2f} per 1M"
        if provider.per_job is not None and provider.per_job.expected > usd.expected:
            least = provider.per_job
            usd = Money.of(max(usd.low, least.low), least.expected, max(usd.high, least.high))
            found.add(f"{what}, but ${least.expected:.2f} a job at least", usd, least)
        else:
            found.add(what, usd, per_million)
    if provider.per_month is not None:
        agents = len(tokens.roles)
        found.add(
            f"storage of {agents} model{'s' if agents > 1 else ''} for a month",
            money(provider.per_month).times(agents),
            provider.per_month,
        )
    _chat(provider, offer, settings, found)
    return found


def _chat(
    provider: ProviderEntry, offer: ModelOffer, settings: PlanSettings, found: PlanCost
) -> None:
    if settings.chat_hours <= 0:
        return
    if offer.hosting is not None:
        usd = money(offer.hosting).times(settings.chat_hours)
        found.add(f"chat {settings.chat_hours:g} h: {offer.hosting_what}", usd, offer.hosting)
    elif provider.chat == "tokens":
        found.add(f"chat {settings.chat_hours:g} h: by the token, price not known", FREE)
        found.without = "chat is not in the sum, its price is not known"
        found.warnings.append(
            "chat is billed by the token there; no sourced price, so it is not in the sum"
        )
    elif provider.chat == "hosted":
        found.missing = (
            "no sourced price for the deployment that chat needs: put one into plans.toml"
        )


def _seconds(
    catalogue: Catalogue, provider: ProviderEntry, offer: ModelOffer, tokens: TrainingTokens
) -> tuple[float, float] | None:
    """Both jobs at once, each as long as one such GPU would take, and the wait before them."""
    params = catalogue.base[offer.model].params
    if provider.startup is None or not provider.runs_on or params is None or not tokens.roles:
        return None
    fast = training_speed(catalogue, catalogue.gpu[provider.runs_on], params, "LoRA")
    most = max(role.trained for role in tokens.roles)
    return (
        provider.startup.low * 60 + most / fast.high,
        provider.startup.high * 60 + tokens.trained / fast.low,
    )


def _tokens(count: int) -> str:
    return f"{count:,} tokens"
