"""Rented machines and the user's own GPU: hours from tokens, model, hardware and speed."""

from __future__ import annotations

from dataclasses import dataclass

from waltzrl_tui.plans.cost import PlanCost
from waltzrl_tui.plans.model import Environment, Gpu, Money, PlanSettings, RentedMachine
from waltzrl_tui.plans.schema import (
    Catalogue,
    CataloguePrice,
    MachineEntry,
    Precision,
    ProviderEntry,
)
from waltzrl_tui.plans.throughput import (
    LOCAL_CHAT_PARAMS,
    TrainingSpeed,
    chat_memory_gb,
    match_gpu,
    memory_gb,
    training_speed,
)
from waltzrl_tui.plans.training_tokens import RoleTokens, TrainingTokens
from waltzrl_tui.words import duration, money, size

Range = tuple[float, float, float]
"""Low, expected, high."""

_PRECISIONS: tuple[Precision, ...] = ("LoRA", "QLoRA")
_DOWNLOAD_GB_S = (0.1, 1.0)
"""Download speed of weights from the hub: assumed, as it depends on the machine's network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MachineRun:
    """One way to train: a machine, a precision, and how long everything takes.

    Attributes:
        params: Billions of parameters of the model.
        startup: Hours until training begins.
        chat_hours: Hours of chat on the machine.
        disk_usd: USD per hour.
        starts: Machines that start up.
    """

    name: str
    machine: MachineEntry
    precision: Precision
    params: float
    speed: TrainingSpeed
    startup: Range
    chat_hours: float
    disk_usd: float
    starts: int

    def hours(self, tokens: float) -> Range:
        return (
            tokens / self.speed.high / 3600,
            tokens / self.speed.expected / 3600,
            tokens / self.speed.low / 3600,
        )

    def role_hours(self, tokens: TrainingTokens, role: RoleTokens) -> Range:
        """Hours of training one role, wider by the error of the token count."""
        low, expected, high = self.hours(_work(role))
        return low * (1 - tokens.error), expected, high * (1 + tokens.error)

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
    """The cost on the cheapest rented machine that holds the model.

    All agents train on one machine in turn, or each on its own (`provider.own_machines`).

    Args:
        params: Billions of parameters of the model.
        environment: Decides whether chat needs the machine too.
    """
    cost = PlanCost()
    chat_on_machine = provider.chat != "local" and not chats_here(params, environment)
    runs = [
        _MachineRun(
            name=name,
            machine=machine,
            precision=precision,
            params=params,
            speed=training_speed(
                catalogue, catalogue.gpu[machine.gpu], params, precision, machine.gpus
            ),
            startup=_startup(provider, params),
            chat_hours=max(0.0, settings.chat_hours) if chat_on_machine else 0.0,
            disk_usd=provider.disk.expected if provider.disk else 0.0,
            starts=len(tokens.roles) if provider.own_machines else 1,
        )
        for name, machine in provider.machine.items()
        for precision in provider.precisions
        if memory_gb(params, tokens.longest, precision)
        <= catalogue.gpu[machine.gpu].memory_gb * machine.gpus
    ]
    if not runs:
        cost.missing = (
            f"no machine with a known price holds a model of {params:g}B: choose a smaller model "
            "or another provider"
        )
        cost.blockers.append(cost.missing)
        return cost
    best = min(runs, key=lambda run: (run.expected_usd(_work(tokens)), run.name, run.precision))
    if provider.own_machines:
        _add_own_machines(cost, best, tokens)
    else:
        _add_one_machine(cost, provider, best, tokens)
    if settings.chat_hours > 0 and not best.chat_hours:
        cost.add("chat: local")
    _add_notes(cost, catalogue, best, tokens)
    if best.chat_hours:
        cost.notes.append(
            f"chat runs on the machine: without a GPU here, a model of {params:g}B is slow"
        )
    return cost


def price_on_own_gpu(
    catalogue: Catalogue,
    provider: ProviderEntry,
    params: float,
    tokens: TrainingTokens,
    environment: Environment,
) -> PlanCost:
    """Training on the user's own GPU: free; the plan says whether the model fits, and the time.

    Args:
        params: Billions of parameters of the model.
        environment: Of its GPUs, the one with most free memory is used.
    """
    cost = PlanCost()
    cost.add("training on this machine")
    cost.add("chat: local")
    if not environment.gpus:
        return cost
    gpu = max(environment.gpus, key=lambda each: (each.free_gb, each.memory_gb))
    precision = _own_precision(gpu, params, tokens.longest, cost)
    if precision is None:
        return cost
    entry = match_gpu(catalogue, gpu.name)
    if entry is None:
        cost.notes.append(f"time not known: no published speed for the {gpu.name}")
        return cost
    speed = training_speed(catalogue, catalogue.gpu[entry], params, precision)
    startup = _startup(provider, params)
    work = _work(tokens)
    cost.seconds = (startup[0] * 3600 + work / speed.high, startup[2] * 3600 + work / speed.low)
    cost.notes.append(_speed_note(speed, f"{precision} on the {gpu.name}", catalogue))
    return cost


def chats_here(params: float, environment: Environment) -> bool:
    """Whether this machine can run both agents itself at a usable speed.

    Args:
        params: Billions of parameters of the model.
    """
    need = chat_memory_gb(params)
    return params <= LOCAL_CHAT_PARAMS or any(gpu.memory_gb >= need for gpu in environment.gpus)


def _own_precision(gpu: Gpu, params: float, longest: int, cost: PlanCost) -> Precision | None:
    """The highest precision that fits into the GPU; says in `cost` what fits and what does not."""
    for precision in _PRECISIONS:
        need = memory_gb(params, longest, precision)
        if need <= gpu.memory_gb:
            cost.notes.append(
                f"{precision} needs about {_gb(need)}; the {gpu.name} has {_gb(gpu.memory_gb)}"
            )
            if need > gpu.free_gb:
                cost.warnings.append(
                    f"only {_gb(gpu.free_gb)} of the {gpu.name} are free now: end what uses it"
                )
            return precision
    need = memory_gb(params, longest, "QLoRA")
    cost.blockers.append(
        f"training needs about {_gb(need)} even in 4 bits; the {gpu.name} has "
        f"{_gb(gpu.memory_gb)}: choose a smaller model or another provider"
    )
    return None


def _startup(provider: ProviderEntry, params: float) -> Range:
    """Hours until training begins: the machine, then the weights (2 bytes per parameter)."""
    low, high = (provider.startup.low, provider.startup.high) if provider.startup else (0.0, 0.0)
    slow, fast = _DOWNLOAD_GB_S
    first = low / 60 + 2 * params / fast / 3600
    last = high / 60 + 2 * params / slow / 3600
    return first, (first + last) / 2, last


def _work(tokens: TrainingTokens | RoleTokens) -> float:
    """Tokens in units of trained ones: a validation token takes a third of the work."""
    return tokens.trained + tokens.validated / 3


def _add(*ranges: Range) -> Range:
    low, expected, high = (sum(each) for each in zip(*ranges, strict=True))
    return low, expected, high


def _usd(hours: Range, price: CataloguePrice) -> Money:
    return Money.of(hours[0] * price.low, hours[1] * price.expected, hours[2] * price.high)


def _add_one_machine(
    cost: PlanCost, provider: ProviderEntry, run: _MachineRun, tokens: TrainingTokens
) -> None:
    """All roles' jobs on one machine, one after the other, then chat."""
    price = run.machine.usd_per_hour
    rate = f"{money(price.expected)}/h"
    cost.add(
        f"start-up and weights: {_time(run.startup)} at {rate}", _usd(run.startup, price), price
    )
    total = run.startup
    for role in tokens.roles:
        hours = run.role_hours(tokens, role)
        total = _add(total, hours)
        cost.add(f"{role.role}: {_time(hours)} at {rate}", _usd(hours, price), price)
    cost.seconds = (total[0] * 3600, total[2] * 3600)
    if run.chat_hours:
        usd = price.usd.times(run.chat_hours)
        cost.add(f"chat {run.chat_hours:g} h: the machine stays on at {rate}", usd, price)
        total = _add(total, (run.chat_hours,) * 3)
    if provider.disk is not None:
        usd = Money.of(*(hours * provider.disk.expected for hours in total))
        cost.add("disk while the machine is on", usd, provider.disk)


def _add_own_machines(cost: PlanCost, run: _MachineRun, tokens: TrainingTokens) -> None:
    """Each role's job on its own machine, all at once; chat needs another one."""
    price = run.machine.usd_per_hour
    rate = f"{money(price.expected)}/h"
    seconds: dict[str, Range] = {}
    for role in tokens.roles:
        hours = _add(run.startup, run.role_hours(tokens, role))
        seconds[role.role] = (hours[0] * 3600, hours[1] * 3600, hours[2] * 3600)
        cost.add(
            f"{role.role}: {_time(hours)} at {rate}, start-up and weights included",
            _usd(hours, price),
            price,
        )
    cost.seconds = (
        max(low for low, _, _ in seconds.values()),
        max(high for _, _, high in seconds.values()),
    )
    if run.machine.flavor:
        cost.rented = RentedMachine(run.machine.flavor, price.usd, seconds)
    if run.chat_hours:
        usd = price.usd.times(run.chat_hours)
        cost.add(f"chat {run.chat_hours:g} h: a machine at {rate}", usd, price)


def _add_notes(
    cost: PlanCost, catalogue: Catalogue, run: _MachineRun, tokens: TrainingTokens
) -> None:
    gpus = f"{run.machine.gpus} × " if run.machine.gpus > 1 else ""
    what = f"{run.precision} on {gpus}{run.machine.gpu}"
    if run.machine.flavor:
        what += f" ({run.machine.flavor})"
    need = memory_gb(run.params, tokens.longest, run.precision)
    cost.notes.append(f"{what}: the cheapest that holds the model, about {_gb(need)}")
    cost.notes.append(_speed_note(run.speed, what, catalogue))
    if len(tokens.roles) > 1:
        hours = [run.hours(_work(role))[1] for role in tokens.roles]
        saved = sum(hours) - max(hours)
        if cost.rented is not None:
            cost.notes.append("both agents at once, each on its own machine")
        elif saved > 0.1:
            extra = run.startup[1] * run.machine.usd_per_hour.expected
            cost.notes.append(
                "one agent after the other: a second machine would cost "
                f"{money(extra)} more to start and save {duration(saved * 3600, rough=True)}"
            )
        else:
            cost.notes.append("one agent after the other on one machine, which starts up once")
    cost.notes.append("start-up times are assumed: no provider publishes them")


def _speed_note(speed: TrainingSpeed, what: str, catalogue: Catalogue) -> str:
    return (
        f"{what}: {speed.low:,.0f} to {speed.high:,.0f} tokens/s, computed, not measured here; "
        f"{catalogue.throughput.source}"
    )


def _time(hours: Range) -> str:
    return duration(hours[1] * 3600, rough=True)


def _gb(gigabytes: float) -> str:
    return size(gigabytes * 1e9)
