"""Rented machines and the user's own GPU: hours from tokens, model, hardware and speed."""

from __future__ import annotations

from dataclasses import dataclass

from waltzrl_tui.plans.hosted import PlanCost, money
from waltzrl_tui.plans.model import Environment, Gpu, Money, PlanSettings, RentedMachine
from waltzrl_tui.plans.schema import Catalogue, GpuEntry, MachineEntry, Precision, ProviderEntry
from waltzrl_tui.plans.throughput import (
    LOCAL_CHAT_PARAMS,
    TrainingSpeed,
    chat_memory_gb,
    match_gpu,
    memory_gb,
    training_speed,
)
from waltzrl_tui.plans.training_tokens import RoleTokens, TrainingTokens

_PRECISIONS: tuple[Precision, ...] = ("LoRA", "QLoRA")
_DOWNLOAD_GB_S = (0.1, 1.0)
"""How fast weights come from the hub: assumed, as it depends on the machine's line."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One way to train: a machine, a precision, and how long it all takes (hours)."""

    name: str
    machine: MachineEntry
    precision: Precision
    speed: TrainingSpeed
    startup: tuple[float, float, float]
    chat_hours: float
    disk_usd: float
    starts: int = 1

    def hours(self, tokens: float) -> tuple[float, float, float]:
        return (
            tokens / self.speed.high / 3600,
            tokens / self.speed.expected / 3600,
            tokens / self.speed.low / 3600,
        )

    def expected_usd(self, tokens: float) -> float:
        hours = self.starts * self.startup[1] + self.hours(tokens)[1] + self.chat_hours
        return hours * (self.machine.usd_per_hour.expected + self.disk_usd)


def price_by_machine(
    catalogue: Catalogue,
    provider: ProviderEntry,
    params: float,
    settings: PlanSettings,
    tokens: TrainingTokens,
    environment: Environment,
) -> PlanCost:
    """The machine that does it for the least; for all agents in turn, or one for each."""
    found = PlanCost()
    at_home = chats_here(params, environment)
    chat = 0.0 if at_home or provider.chat == "local" else max(0.0, settings.chat_hours)
    runs = [
        _Run(
            name,
            machine,
            precision,
            training_speed(catalogue, catalogue.gpu[machine.gpu], params, precision, machine.gpus),
            _startup(provider, params),
            chat,
            provider.disk.expected if provider.disk else 0.0,
            len(tokens.roles) if provider.own_machines else 1,
        )
        for name, machine in provider.machine.items()
        for precision in provider.precisions
        if _fits(catalogue.gpu[machine.gpu], machine.gpus, params, tokens.longest, precision)
    ]
    if not runs:
        found.missing = (
            f"no machine with a known price there holds a model of {params:g}B: choose a smaller "
            "one or another row"
        )
        found.blockers.append(found.missing)
        return found
    best = min(runs, key=lambda run: (run.expected_usd(_work(tokens)), run.name, run.precision))
    _add_hours(found, provider, best, tokens, settings)
    _notes(found, catalogue, best, params, tokens, at_home, settings)
    return found


def price_on_own_gpu(
    catalogue: Catalogue,
    provider: ProviderEntry,
    params: float,
    tokens: TrainingTokens,
    environment: Environment,
) -> PlanCost:
    """Free; what matters is whether the model fits, and how long it takes."""
    found = PlanCost()
    found.add("training on this machine", Money(0.0, 0.0, 0.0))
    found.add("chat: local", Money(0.0, 0.0, 0.0))
    if not environment.gpus:
        return found
    gpu = max(environment.gpus, key=lambda each: (each.free_gb, each.memory_gb))
    precision = _own_precision(gpu, params, tokens.longest, found)
    if precision is None:
        return found
    title = match_gpu(catalogue, gpu.name)
    if title is None:
        found.notes.append(f"no published speed of the {gpu.name}: time not known")
        return found
    fast = training_speed(catalogue, catalogue.gpu[title], params, precision)
    startup = _startup(provider, params)
    work = _work(tokens)
    found.seconds = (
        startup[0] * 3600 + work / fast.high,
        startup[2] * 3600 + work / fast.low,
    )
    found.notes.append(_said(fast, f"{precision} on the {gpu.name}", catalogue))
    return found


def chats_here(params: float, environment: Environment) -> bool:
    """Whether this machine can talk with both agents itself at a bearable speed."""
    need = chat_memory_gb(params)
    return params <= LOCAL_CHAT_PARAMS or any(gpu.memory_gb >= need for gpu in environment.gpus)


def _own_precision(gpu: Gpu, params: float, longest: int, found: PlanCost) -> Precision | None:
    for precision in _PRECISIONS:
        need = memory_gb(params, longest, precision)
        if need <= gpu.memory_gb:
            found.notes.append(
                f"{precision} needs about {need:.0f} GB, the {gpu.name} has {gpu.memory_gb:.0f} GB"
            )
            if need > gpu.free_gb:
                found.warnings.append(
                    f"only {gpu.free_gb:.0f} GB of the {gpu.name} are free now: end what uses it"
                )
            return precision
    need = memory_gb(params, longest, "QLoRA")
    found.blockers.append(
        f"training needs about {need:.0f} GB even in 4 bits, the {gpu.name} has "
        f"{gpu.memory_gb:.0f} GB: choose a smaller model or another row"
    )
    return None


def _fits(gpu: GpuEntry, gpus: int, params: float, longest: int, precision: Precision) -> bool:
    return memory_gb(params, longest, precision) <= gpu.memory_gb * gpus


def _startup(provider: ProviderEntry, params: float) -> tuple[float, float, float]:
    """Hours until training begins: the machine, then the weights (2 bytes a parameter)."""
    low, high = (provider.startup.low, provider.startup.high) if provider.startup else (0.0, 0.0)
    slow, fast = _DOWNLOAD_GB_S
    first = low / 60 + 2 * params / fast / 3600
    last = high / 60 + 2 * params / slow / 3600
    return first, (first + last) / 2, last


def _work(tokens: TrainingTokens, role: RoleTokens | None = None) -> float:
    """Tokens as long as training them takes: reading one for validation is a third of the work."""
    one = role or tokens
    return one.trained + one.validated / 3


def _add_hours(
    found: PlanCost,
    provider: ProviderEntry,
    run: _Run,
    tokens: TrainingTokens,
    settings: PlanSettings,
) -> None:
    if provider.own_machines:
        _add_own_machines(found, run, tokens, settings)
        return
    price = run.machine.usd_per_hour
    rate = f"${price.expected:.2f}/h"

    def cost(hours: tuple[float, float, float]) -> Money:
        return Money.of(hours[0] * price.low, hours[1] * price.expected, hours[2] * price.high)

    found.add(f"start-up and weights: {_minutes(run.startup)} at {rate}", cost(run.startup), price)
    total = list(run.startup)
    for role in tokens.roles:
        hours = run.hours(_work(tokens, role))
        low, expected, high = hours
        hours = (low * (1 - tokens.error), expected, high * (1 + tokens.error))
        total = [sum(pair) for pair in zip(total, hours, strict=True)]
        found.add(f"{role.role}: {_minutes(hours)} at {rate}", cost(hours), price)
    found.seconds = (total[0] * 3600, total[2] * 3600)
    if run.chat_hours:
        usd = money(price).times(run.chat_hours)
        found.add(f"chat {run.chat_hours:g} h: the machine stays on at {rate}", usd, price)
        total = [hours + run.chat_hours for hours in total]
    elif settings.chat_hours > 0:
        found.add("chat: local", Money(0.0, 0.0, 0.0))
    if provider.disk is not None:
        usd = Money.of(*(hours * provider.disk.expected for hours in total))
        found.add("disk while it is on", usd, provider.disk)


def _add_own_machines(
    found: PlanCost, run: _Run, tokens: TrainingTokens, settings: PlanSettings
) -> None:
    """Each role's job on a machine of its own, both at once; nobody chats there."""
    price = run.machine.usd_per_hour
    seconds: dict[str, tuple[float, float, float]] = {}
    for role in tokens.roles:
        low, expected, high = run.hours(_work(tokens, role))
        spans = zip(
            run.startup,
            (low * (1 - tokens.error), expected, high * (1 + tokens.error)),
            strict=True,
        )
        hours = [sum(pair) for pair in spans]
        seconds[role.role] = (hours[0] * 3600, hours[1] * 3600, hours[2] * 3600)
        usd = Money.of(hours[0] * price.low, hours[1] * price.expected, hours[2] * price.high)
        said = f"{_minutes((hours[0], hours[1], hours[2]))} at ${price.expected:.2f}/h"
        found.add(f"{role.role}: {said}, start-up and weights included", usd, price)
    found.seconds = (
        max(each[0] for each in seconds.values()),
        max(each[2] for each in seconds.values()),
    )
    if run.machine.flavor:
        found.rented = RentedMachine(run.machine.flavor, money(price), seconds)
    if run.chat_hours:
        usd = money(price).times(run.chat_hours)
        found.add(f"chat {run.chat_hours:g} h: a machine at ${price.expected:.2f}/h", usd, price)
    elif settings.chat_hours > 0:
        found.add("chat: local", Money(0.0, 0.0, 0.0))


def _notes(
    found: PlanCost,
    catalogue: Catalogue,
    run: _Run,
    params: float,
    tokens: TrainingTokens,
    at_home: bool,
    settings: PlanSettings,
) -> None:
    many = f"{run.machine.gpus} × " if run.machine.gpus > 1 else ""
    what = f"{run.precision} on {many}{run.machine.gpu}"
    if run.machine.flavor:
        what += f" ({run.machine.flavor})"
    found.notes.append(
        f"{what}: the cheapest there that holds it, about "
        f"{memory_gb(params, tokens.longest, run.precision):.0f} GB"
    )
    found.notes.append(_said(run.speed, what, catalogue))
    both = sum(run.hours(_work(tokens, role))[1] for role in tokens.roles)
    longest = max((run.hours(_work(tokens, role))[1] for role in tokens.roles), default=0.0)
    extra = run.startup[1] * run.machine.usd_per_hour.expected
    if len(tokens.roles) < 2:
        pass  # Nothing comes after it or beside it.
    elif found.rented is not None:
        found.notes.append("both agents at once, each on a machine of its own")
    elif both - longest > 0.1:
        found.notes.append(
            f"one agent after the other, as a second machine would start up for ${extra:.2f} more "
            f"and save {(both - longest) * 60:.0f} min"
        )
    else:
        found.notes.append("one agent after the other on one machine: it starts up once")
    found.notes.append("minutes of start-up are assumed: nobody publishes them")
    if settings.chat_hours > 0 and not at_home:
        found.notes.append(
            f"chat is on the machine, as a model of {params:g}B is slow without a GPU here"
        )


def _said(fast: TrainingSpeed, what: str, catalogue: Catalogue) -> str:
    return (
        f"{what}: {fast.low:,.0f} to {fast.high:,.0f} tokens/s, computed, not measured here; "
        f"{catalogue.throughput.source}"
    )


def _minutes(hours: tuple[float, float, float]) -> str:
    minutes = hours[1] * 60
    return f"{minutes / 60:.1f} h" if minutes >= 90 else f"{max(minutes, 0.1):.1f} min"
