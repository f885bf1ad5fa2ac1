"""All plans for one workload: priced, checked, sorted. Pure: no file, no network, a few ms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from waltzrl_tui.plans.cost import PlanCost
from waltzrl_tui.plans.hosted import price_by_tokens
from waltzrl_tui.plans.machines import price_by_machine, price_on_own_gpu
from waltzrl_tui.plans.model import (
    STALE_DAYS,
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
    ModelOffer,
    ProviderEntry,
)
from waltzrl_tui.plans.training_tokens import TrainingTokens, count_training_tokens
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.words import money, percent

ALIASES: Final = {"local": EMBEDDED}
"""Other names of providers that commands accept."""

_PARAMS: Final = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)\s*([bm])(?![a-z])", re.IGNORECASE)
_SIZE_WORDS: Final = {"small": "3B or smaller", "default": "7B to 9B", "large": "70B"}


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
        _row(catalogue, name, workload, settings, environment)
        for name in catalogue.provider
        if not wanted or wanted == name
    ]
    return sorted(rows, key=_sort_key)


def cheapest_ready(rows: Sequence[PlanRow]) -> PlanRow | None:
    """The first row that is ready and has a price, of rows in the order of `price_plans`."""
    return next((row for row in rows if row.state == "ready" and row.total is not None), None)


def _sort_key(row: PlanRow) -> tuple[bool, float, bool, str]:
    expected = row.total.expected if row.total else 0.0
    return row.total is None, expected, row.state == "closed", row.provider


def _row(
    catalogue: Catalogue,
    name: str,
    workload: Workload,
    settings: PlanSettings,
    environment: Environment,
) -> PlanRow:
    provider = catalogue.provider[name]
    base = _base_model(catalogue, provider, settings)
    tokens = count_training_tokens(workload, settings, base.entry)
    closed = _closed(catalogue, name, environment)
    findings = preflight(provider, base.entry, workload, settings, tokens, environment.today)
    if base.problem:
        findings.blockers.append(base.problem)
    if closed:
        cost = PlanCost(missing=closed)
    elif base.problem:
        cost = PlanCost(missing=base.problem)
    elif settings.method not in provider.methods or not workload.roles:
        cost = PlanCost(missing=findings.blockers[0])
    else:
        cost = _cost(catalogue, provider, base, settings, tokens, environment)
    total = cost.total
    _check_budget(settings, cost, findings)
    blockers = tuple(dict.fromkeys([*findings.blockers, *cost.blockers]))
    state, reason = _state(provider, closed, blockers, environment, environment.probes.get(name))
    if state in ("ready", "needs_key"):
        gap = cost.missing or cost.excluded
        reason = f"{reason}; {gap}" if reason and gap else reason or gap
    as_of = min((price.as_of for price in cost.prices), default=None)
    stale = as_of is not None and (environment.today - as_of).days > STALE_DAYS
    sources = "; ".join(dict.fromkeys(price.source for price in cost.prices))
    unsloth = provider.kind == "own" and environment.unsloth
    return PlanRow(
        provider=name,
        title=f"{provider.title} (Unsloth)" if unsloth else provider.title,
        model=base.name,
        state=state,
        reason=reason,
        training_tokens=tokens.trained,
        exact=tokens.exact,
        total=total,
        parts=tuple(cost.parts) if total is not None else (),
        seconds=cost.seconds if not closed else None,
        price_as_of=as_of if total is not None else None,
        price_source=sources if total is not None else provider.source,
        price_stale=stale and total is not None,
        blockers=blockers,
        warnings=(*findings.warnings, *cost.warnings),
        notes=(*cost.notes, *findings.notes, _token_note(tokens), *provider.notes),
        rented=cost.rented,
        missing=cost.missing,
        roles=settings.roles,
        kind=provider.kind,
    )


@dataclass(frozen=True, slots=True)
class _BaseModel:
    """The base model of a plan, or the `problem` with it, in words.

    Attributes:
        name: In the catalogue, else as the user gave it.
        offer: Where the provider bills by tokens.
    """

    name: str
    entry: BaseModelEntry | None = None
    offer: ModelOffer | None = None
    problem: str = ""


def _base_model(
    catalogue: Catalogue, provider: ProviderEntry, settings: PlanSettings
) -> _BaseModel:
    wanted = catalogue.base_name(settings.model) if settings.model else ""
    no_size = f"no model of {_SIZE_WORDS[settings.size]} is known here: choose another size"
    if provider.kind == "tokens":
        offers = provider.offer
        if not wanted:
            offer = offers.get(settings.size)
            if offer is None:
                return _BaseModel("", problem=no_size)
        else:
            offer = next((each for each in offers.values() if each.model == wanted), None)
            if offer is None:
                known = ", ".join(each.model for each in offers.values()) or "none"
                problem = (
                    f"{wanted} has no known price here: choose one with a price ({known}), or add "
                    "its price to plans.toml"
                )
                return _BaseModel(wanted, catalogue.base.get(wanted), problem=problem)
        return _BaseModel(offer.model, catalogue.base[offer.model], offer)
    if provider.fixed_model or not wanted:
        name = provider.model.get(settings.size, "")
        if not name:
            return _BaseModel("", problem=no_size if provider.status == "open" else "")
        return _BaseModel(name, catalogue.base[name])
    entry = catalogue.base.get(wanted)
    if entry is None and (params := _params(wanted)) is not None:
        entry = BaseModelEntry(params=params, size=settings.size, hub=wanted)
    if entry is None or entry.params is None:
        problem = (
            f"the size of {wanted} cannot be read from its name: choose a model such as Qwen3-8B"
        )
        return _BaseModel(wanted, problem=problem)
    return _BaseModel(wanted, entry)


def _params(name: str) -> float | None:
    """Billions of parameters, as in the names of most models: Qwen3-8B, SmolLM2-135M."""
    matches = _PARAMS.findall(name.replace("-", " ").replace("_", " ").replace("/", " "))
    if not matches:
        return None
    # The largest number: a smaller one, such as 1M, is the context.
    params = max(float(number) / (1000 if unit in "mM" else 1) for number, unit in matches)
    return params if 0 < params <= 10_000 else None


def _cost(
    catalogue: Catalogue,
    provider: ProviderEntry,
    base: _BaseModel,
    settings: PlanSettings,
    tokens: TrainingTokens,
    environment: Environment,
) -> PlanCost:
    if provider.fixed_model:
        return _embedded_cost(settings, tokens, environment)
    if base.offer is not None:
        return price_by_tokens(catalogue, provider, base.offer, settings, tokens)
    if base.entry is None or base.entry.params is None:
        return PlanCost(missing="the model's size is not known")
    params = base.entry.params
    if provider.kind == "own":
        return price_on_own_gpu(catalogue, provider, params, tokens, environment)
    return price_by_machine(catalogue, provider, params, settings, tokens, environment)


def _embedded_cost(
    settings: PlanSettings, tokens: TrainingTokens, environment: Environment
) -> PlanCost:
    cost = PlanCost()
    cost.add("training on this machine")
    if settings.chat_hours > 0:
        cost.add("chat: local")
    speed = environment.embedded_tokens_per_second
    if speed is None:
        cost.notes.append("time not measured yet: the first training here measures it")
        return cost
    seconds = tokens.trained / speed
    # Frozen layers are computed once (a later epoch takes 0.4 of the first); the base's own
    # replies, which are judged and revised as well, are not in the dataset and come on top.
    cost.seconds = (seconds * 0.5, seconds * 1.6)
    cost.notes.append(f"{speed:,.0f} tokens/s, measured on this machine by past jobs")
    return cost


def _closed(catalogue: Catalogue, name: str, environment: Environment) -> str:
    """Why this provider is closed to this account; "" if it is open."""
    provider = catalogue.provider[name]
    probe = environment.probes.get(name)
    instead = ""
    if provider.instead:
        instead = f"; use {catalogue.provider[provider.instead].title} instead"
    if provider.ends is not None and environment.today >= provider.ends:
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
    """The state and its reason, in words."""
    if closed:
        return "closed", closed
    if provider.kind == "own" and not environment.gpus:
        return "needs_gpu", "no GPU found on this machine"
    if blockers:
        return "blocked", blockers[0]
    if provider.keys:
        key = next((key for key in provider.keys if key in environment.keys), None)
        if key is None:
            return "needs_key", f"needs {' or '.join(provider.keys)}"
        if probe is not None and probe.key_ok is False:
            return "needs_key", f"needs another {key}; this one is refused: {probe.words}"
        allowed = "may tune, " if probe is not None and probe.allowed else ""
        return "ready", f"{allowed}key in {key}"
    if provider.kind == "own":
        return "ready", f"free, on the {environment.gpus[0].name}"
    return "ready", "free, on this machine" if provider.fixed_model else ""


def _check_budget(settings: PlanSettings, cost: PlanCost, findings: Findings) -> None:
    budget, total = settings.budget_usd, cost.total
    if budget is None or total is None:
        return
    if total.expected > budget:
        findings.blockers.append(
            f"{money(total.expected)} is over the budget of {money(budget)}: choose fewer rows, "
            "epochs or hours of chat, or another provider"
        )
    elif total.high > budget:
        findings.warnings.append(
            f"it may cost up to {money(total.high)}, over the budget of {money(budget)}"
        )


def _token_note(tokens: TrainingTokens) -> str:
    if tokens.exact:
        return f"tokens counted with the model's own tokenizer ({tokens.tokenizer})"
    error = f", ±{percent(tokens.error)}" if tokens.error else ""
    estimated = tokens.tokenizer in ("", "estimate")
    how = "estimated" if estimated else f"counted with {tokens.tokenizer}"
    return f"tokens {how}{error}: the model's own tokenizer is not on this machine"


def _day(day: date | None) -> str:
    return f"{day.day} {day:%B %Y}" if day else ""
