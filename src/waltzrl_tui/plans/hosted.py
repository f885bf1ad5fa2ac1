"""Providers that bill by trained tokens."""

from __future__ import annotations

from waltzrl_tui.plans.cost import PlanCost
from waltzrl_tui.plans.model import FREE, Money, PlanSettings
from waltzrl_tui.plans.schema import Catalogue, ModelOffer, ProviderEntry
from waltzrl_tui.plans.throughput import training_speed
from waltzrl_tui.plans.training_tokens import TrainingTokens
from waltzrl_tui.words import money, plural


def price_by_tokens(
    catalogue: Catalogue,
    provider: ProviderEntry,
    offer: ModelOffer,
    settings: PlanSettings,
    tokens: TrainingTokens,
) -> PlanCost:
    """The cost of training billed by tokens, with storage and `settings.chat_hours` of chat.

    Args:
        offer: The base model, priced in USD per 1M tokens.
        tokens: Of all agents and epochs; their error widens the range of the cost.
    """
    cost = PlanCost(seconds=_seconds(catalogue, provider, offer, tokens))
    per_million = offer.dpo if settings.method == "dpo" else offer.sft
    if cost.seconds is not None:
        jobs = ", both jobs at once or one after the other" if len(tokens.roles) > 1 else ""
        cost.notes.append(
            f"time computed for one {provider.runs_on}{jobs}; the provider publishes none"
        )
    if per_million is None:
        cost.missing = (
            f"no sourced price for training {offer.model}: add one to plans.toml, or see the "
            "provider's price list"
        )
        return cost
    for role in tokens.roles:
        billed = role.trained + (role.validated if provider.validation else 0)
        usd = per_million.usd.times(billed / 1e6)
        usd = Money.of(usd.low * (1 - tokens.error), usd.expected, usd.high * (1 + tokens.error))
        what = f"{role.role}: {plural(role.trained, 'token')}"
        if provider.validation and role.validated:
            what += f" and {plural(role.validated, 'validation token')}"
        what += f" at {money(per_million.expected)} per 1M"
        minimum = provider.per_job
        if minimum is not None and minimum.expected > usd.expected:
            usd = Money.of(max(usd.low, minimum.low), minimum.expected, max(usd.high, minimum.high))
            cost.add(f"{what}, minimum {money(minimum.expected)} per job", usd, minimum)
        else:
            cost.add(what, usd, per_million)
    if provider.per_month is not None:
        agents = len(tokens.roles)
        cost.add(
            f"storage of {plural(agents, 'model')} for a month",
            provider.per_month.usd.times(agents),
            provider.per_month,
        )
    _add_chat(cost, provider, offer, settings)
    return cost


def _add_chat(
    cost: PlanCost, provider: ProviderEntry, offer: ModelOffer, settings: PlanSettings
) -> None:
    hours = settings.chat_hours
    if hours <= 0:
        return
    if offer.hosting is not None:
        cost.add(
            f"chat {hours:g} h: {offer.hosting_what}", offer.hosting.usd.times(hours), offer.hosting
        )
    elif provider.chat == "tokens":
        cost.add(f"chat {hours:g} h: billed by tokens, price not known", FREE)
        cost.excluded = "chat is not included, its price is not known"
        cost.warnings.append(
            "chat is billed by tokens; its price is not known, so it is not in the total"
        )
    elif provider.chat == "hosted":
        cost.missing = "no sourced price for the deployment that chat needs: add one to plans.toml"


def _seconds(
    catalogue: Catalogue, provider: ProviderEntry, offer: ModelOffer, tokens: TrainingTokens
) -> tuple[float, float] | None:
    """Both jobs at once at best, one after the other at worst, on the GPU assumed there."""
    params = catalogue.base[offer.model].params
    if provider.startup is None or not provider.runs_on or params is None or not tokens.roles:
        return None
    speed = training_speed(catalogue, catalogue.gpu[provider.runs_on], params, "LoRA")
    longest_job = max(role.trained for role in tokens.roles)
    return (
        provider.startup.low * 60 + longest_job / speed.high,
        provider.startup.high * 60 + tokens.trained / speed.low,
    )
