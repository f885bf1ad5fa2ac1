"""All plans for one workload: priced, checked, sorted. Pure: no file, no network, a few ms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from waltzrl_tui.plans.hosted import PlanCost, price_by_tokens
from waltzrl_tui.plans.machines import price_by_machine, price_on_own_gpu
from waltzrl_tui.plans.model import (
    FREE,
    STALE_DAYS,
    CostItem,
    Environment,
    PlanRow,
    PlanSettings,
    Probe,
    State,
    Workload,
)
from waltzrl_tui.plans.preflight import Findings, preflight
from waltzrl_tui.plans.schema import (
    BaseModelEntry,
    Catalogue,
    CataloguePrice,
    ModelOffer,
    ProviderEntry,
)
from waltzrl_tui.plans.training_tokens import TrainingTokens, count_training_tokens

ALIASES: Final = {"local": "embedded"}
"""Other names of providers that commands take."""

_PARAMS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)
_STANDARD: Final = {"small": "3B or smaller", "default": "7B to 9B", "large": "70B"}


def price_plans(
    catalogue: Catalogue, workload: Workload, settings: PlanSettings, environment: Environment
) -> list[PlanRow]:
    """One row for each provider: rows with a total first, cheapest first, then the others.

    With `settings.provider`, only that provider; a name that is not in the catalogue gives no
    row. Only the files of `settings.roles` are priced.
    """
    workload = workload.only(settings.roles)
    wanted = ALIASES.get(settings.provider, settings.provider)
    rows = [
        _row(catalogue, name, provider, workload, settings, environment)
        for name, provider in catalogue.provider.items()
        if not wanted or wanted == name
    ]
    return sorted(rows, key=_order)


def cheapest_ready(rows: Sequence[PlanRow]) -> PlanRow | None:
    """The first row that is ready and has a price, of rows in the order of `price`."""
    return next((row for row in rows if row.state == "ready" and row.total is not None), None)


def _order(row: PlanRow) -> tuple[bool, float, bool, str]:
    expected = row.total.expected if row.total else 0.0
    return row.total is None, expected, row.state == "closed", row.provider


def _row(
    catalogue: Catalogue,
    name: str,
    provider: ProviderEntry,
    workload: Workload,
    settings: PlanSettings,
    environment: Environment,
) -> PlanRow:
    model_name, model, offer, why = _model(catalogue, provider, settings)
    tokens = count_training_tokens(workload, settings, model)
    closed = _closed(catalogue, name, provider, environment)
    found = preflight(provider, model, workload, settings, tokens, environment.today)
    if why:
        found.blockers.append(why)
    if closed:
        priced = PlanCost(missing=closed)
    elif why:
        priced = PlanCost(missing=why)
    elif settings.method not in provider.methods or not workload.roles:
        priced = PlanCost(missing=found.blockers[0])
    else:
        priced = _sum(catalogue, provider, model, offer, workload, settings, tokens, environment)
    total = priced.total
    _budget(settings, priced, found)
    blockers = (*found.blockers, *(b for b in priced.blockers if b not in found.blockers))
    state, reason = _state(provider, closed, blockers, environment, environment.probes.get(name))
    if state in ("ready", "needs_key") and total is None:
        reason = f"{reason}; {priced.missing}" if reason else priced.missing
    elif state in ("ready", "needs_key") and priced.without:
        reason = f"{reason}; {priced.without}"
    as_of = min((each.as_of for each in priced.prices), default=None)
    stale = as_of is not None and (environment.today - as_of).days > STALE_DAYS
    title = provider.title
    if provider.kind == "own" and environment.unsloth:
        title += " (Unsloth)"
    return PlanRow(
        provider=name,
        title=title,
        model=model_name,
        state=state,
        reason=reason,
        training_tokens=tokens.trained,
        exact=tokens.exact,
        total=total,
        parts=tuple(priced.parts) if total is not None else (),
        seconds=priced.seconds if not closed else None,
        price_as_of=as_of if total is not None else None,
        price_source=_sources(priced.prices) if total is not None else provider.source,
        price_stale=stale and total is not None,
        blockers=blockers,
        warnings=(*found.warnings, *priced.warnings),
        notes=(*priced.notes, *found.notes, _counted(tokens), *provider.notes),
        rented=priced.rented,
        missing=priced.missing,
        roles=settings.roles,
    )


def _sum(
    catalogue: Catalogue,
    provider: ProviderEntry,
    model: BaseModelEntry | None,
    offer: ModelOffer | None,
    workload: Workload,
    settings: PlanSettings,
    tokens: TrainingTokens,
    environment: Environment,
) -> PlanCost:
    if provider.kind == "embedded":
        return _embedded(settings, tokens, environment)
    if offer is not None:
        return price_by_tokens(catalogue, provider, offer, workload, settings, tokens)
    if model is None or model.params is None:
        return PlanCost(missing="the model's size is not known")
    if provider.kind == "own":
        return price_on_own_gpu(catalogue, provider, model.params, tokens, environment)
    return price_by_machine(catalogue, provider, model.params, settings, tokens, environment)


def _embedded(settings: PlanSettings, tokens: TrainingTokens, environment: Environment) -> PlanCost:
    found = PlanCost()
    found.parts.append(CostItem("training on this machine", FREE))
    if settings.chat_hours > 0:
        found.parts.append(CostItem("chat: local", FREE))
    speed = environment.embedded_tokens_per_second
    if speed is None:
        found.notes.append("time: not measured yet; the first training here measures it")
        return found
    seconds = tokens.trained / speed
    # Frozen layers are computed once (a later epoch takes 0.4 of the first); the base's own
    # replies, which are judged and revised as well, are not in the dataset and come on top.
    found.seconds = (seconds * 0.5, seconds * 1.6)
    found.notes.append(f"{speed:,.0f} tokens/s, measured on this machine by past jobs")
    return found


def _model(
    catalogue: Catalogue, provider: ProviderEntry, settings: PlanSettings
) -> tuple[str, BaseModelEntry | None, ModelOffer | None, str]:
    """Name, entry and offer of the model, and why there is none."""
    wanted = catalogue.base_name(settings.model) if settings.model else ""
    if provider.kind == "tokens":
        offers = provider.offer
        if wanted:
            offer = next((each for each in offers.values() if each.model == wanted), None)
            if offer is None:
                known = ", ".join(each.model for each in offers.values()) or "none"
                why = (
                    f"{wanted} has no known price here: known are {known}; choose one of them, or "
                    "put its price into plans.toml"
                )
                return wanted, catalogue.base.get(wanted), None, why
        else:
            offer = offers.get(settings.size)
        if offer is None:
            why = f"no model of {_STANDARD[settings.size]} is known here: choose another size"
            return "", None, None, why
        return offer.model, catalogue.base[offer.model], offer, ""
    if provider.kind == "embedded" or not wanted:
        name = provider.model.get(settings.size, "")
        if not name:
            why = f"no model of {_STANDARD[settings.size]} is known here: choose another size"
            return "", None, None, why if provider.status == "open" else ""
        return name, catalogue.base[name], None, ""
    entry = catalogue.base.get(wanted)
    if entry is None and (params := _params(wanted)) is not None:
        entry = BaseModelEntry(params=params, size=settings.size, hub=wanted)
    if entry is None or entry.params is None:
        why = f"how large {wanted} is cannot be told from its name: name one such as Qwen3-8B"
        return wanted, None, None, why
    return wanted, entry, None, ""


def _params(name: str) -> float | None:
    """Billions of parameters, as in the names of most models: Qwen3-8B, SmolLM2-135M."""
    found = _PARAMS.findall(name.replace("-", " ").replace("_", " ").replace("/", " "))
    if not found:
        return None
    # The greatest: what else may stand there, such as 1M, is the context.
    params = max(float(number) / (1000 if unit in "mM" else 1) for number, unit in found)
    return params if 0 < params <= 10_000 else None


def _closed(
    catalogue: Catalogue, name: str, provider: ProviderEntry, environment: Environment
) -> str:
    """Why this provider is closed to this account, or nothing."""
    probe = environment.probes.get(name)
    ended = provider.ends is not None and environment.today >= provider.ends
    instead = ""
    if provider.instead:
        instead = f"; use {catalogue.provider[provider.instead].title} instead"
    if ended:
        return f"ended on {_day(provider.ends)}{instead}"
    if probe is not None and probe.allowed is False:
        return f"closed to this account: {probe.words}{instead}"
    if provider.status == "open" or (probe is not None and probe.allowed):
        return ""
    since = f" since {_day(provider.since)}" if provider.since else ""
    return f"closed{since}{instead}: {provider.why}"


def _state(
    provider: ProviderEntry,
    closed: str,
    blockers: Sequence[str],
    environment: Environment,
    probe: Probe | None,
) -> tuple[State, str]:
    if closed:
        return "closed", closed
    if provider.kind == "own" and not environment.gpus:
        return "needs_gpu", "no GPU found on this machine"
    if blockers:
        return "blocked", blockers[0]
    if provider.keys:
        if present := next((key for key in provider.keys if key in environment.keys), None):
            if probe is not None and probe.key_ok is False:
                return "needs_key", f"needs another {present}; this one is refused: {probe.words}"
            may = "may tune, " if probe is not None and probe.allowed else ""
            return "ready", f"{may}key in {present}"
        return "needs_key", f"needs {' or '.join(provider.keys)}"
    if provider.kind == "embedded":
        return "ready", "free, on this machine"
    return "ready", f"free, on the {environment.gpus[0].name}" if environment.gpus else ""


def _budget(settings: PlanSettings, priced: PlanCost, found: Findings) -> None:
    total = priced.total
    if settings.budget_usd is None or total is None:
        return
    if total.expected > settings.budget_usd:
        found.blockers.append(
            f"${total.expected:,.2f} is over the budget of ${settings.budget_usd:,.2f}: fewer "
            "rows, epochs or hours of chat, or another row"
        )
    elif total.high > settings.budget_usd:
        found.warnings.append(
            f"it may come to ${total.high:,.2f}, over the budget of ${settings.budget_usd:,.2f}"
        )


def _counted(tokens: TrainingTokens) -> str:
    if tokens.exact:
        return f"tokens counted with the model's own tokenizer ({tokens.tokenizer})"
    off = f", ±{tokens.error:.0%}" if tokens.error else ""
    how = "estimated" if tokens.tokenizer in ("", "estimate") else f"by {tokens.tokenizer}"
    return f"tokens {how}{off}: the model's own tokenizer is not at hand"


def _sources(prices: Sequence[CataloguePrice]) -> str:
    return "; ".join(dict.fromkeys(each.source for each in prices))


def _day(day: date | None) -> str:
    return f"{day.day} {day:%B %Y}" if day else ""
