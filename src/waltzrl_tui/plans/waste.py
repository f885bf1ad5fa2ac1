"""What rows that are not worth training on would cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.profiling.figures import Profile
from waltzrl_tui.datasets.reading.parse import MAX_LINE, parse_row
from waltzrl_tui.datasets.reading.read import Dataset, open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.reading.rows import Mapping as Fields
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.environment import read_environment
from waltzrl_tui.plans.model import Environment, PlanSettings, Workload
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.workload import measure_workload
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

IN_ALL: Final = "in all"
"""The name of all reasons together in `PricedWaste.usd`."""

_READ_WHOLE_BYTES: Final = 2 * 1024 * 1024
_PLACES: Final = 200
_ROWS_PER_PLACE: Final = 10


def waste_usd(
    catalogue: Catalogue,
    workload: Workload,
    rows: int,
    waste: Mapping[str, int],
    settings: PlanSettings,
    environment: Environment,
) -> dict[str, float] | None:
    """Expected cost of each reason's rows, USD: the cost of all rows, less the cost without them.

    Args:
        workload: Measured on some rows of the dataset, and scaled.
        rows: Usable rows of the dataset.
        waste: Rows by reason.
        settings: Must name the provider. Hours of chat cost the same either way.

    Returns:
        USD by reason, or None where the provider has no price.
    """

    def total(count: int) -> float | None:
        plans = price_plans(catalogue, workload.scaled(count), settings, environment)
        return plans[0].total.expected if plans and plans[0].total else None

    whole = total(rows)
    if whole is None:
        return None
    return {
        reason: max(0.0, whole - (total(rows - count) or 0.0)) for reason, count in waste.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedWaste:
    """The cost of a profile's waste, for the agents that can be trained.

    Attributes:
        provider, title: The provider that the user chose, else the cheapest hosted one.
        chosen: Whether the user chose it.
        settings: The agents, epochs, size and method it was priced for.
        usd: USD expected by reason, and `IN_ALL`.
    """

    provider: str
    title: str
    chosen: bool
    settings: PlanSettings
    usd: dict[str, float]


async def price_waste(
    store: Store | None, workspace: Workspace, profile: Profile, settings: PlanSettings
) -> PricedWaste | None:
    """Price the waste of a profile at `settings.provider`; "" chooses the cheapest hosted one.

    Returns:
        None where that provider has no price, or no agent can learn from the dataset.

    Raises:
        PlanError: `plans.toml` is invalid.
    """
    stamp = await asyncio.to_thread(_stamp, profile.path)
    try:
        workload = await asyncio.to_thread(_measure, profile.path, stamp, profile.mapping)
    except DatasetError:
        return None
    catalogue, environment = await asyncio.gather(
        asyncio.to_thread(load_catalogue, workspace), read_environment(store, workspace)
    )
    # Budget and hours of chat do not change what a row costs.
    roles = tuple(role for role in workload.roles if role in settings.roles) or tuple(
        workload.roles
    )
    settings = replace(settings, chat_hours=0.0, budget_usd=None, roles=roles)
    chosen = bool(settings.provider)
    if not chosen:
        plans = price_plans(catalogue, workload.scaled(profile.rows), settings, environment)
        hosted = (row.provider for row in plans if row.total and row.kind == "tokens")
        cheapest = next(hosted, None)
        if cheapest is None:
            return None
        settings = replace(settings, provider=cheapest, model="")
    rows = {reason: waste.rows for reason, waste in profile.waste.items()}
    rows[IN_ALL] = sum(rows.values())
    usd = waste_usd(catalogue, workload, profile.rows, rows, settings, environment)
    if usd is None:
        return None
    provider = settings.provider
    return PricedWaste(
        provider=provider,
        title=catalogue.provider[provider].title,
        chosen=chosen,
        settings=settings,
        usd=usd,
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # Reading the file reports what is wrong.
    return status.st_size, status.st_mtime_ns


# Provider, epochs and prices change often; the measured workload does not.
@lru_cache(maxsize=8)
def _measure(path: Path, stamp: tuple[int, int], mapping: Fields) -> Workload:
    """Measure the file as it was at `stamp`: all rows, or samples from all over a large file."""
    recipe = SampleRecipe(str(path), dedupe="off", balance=None, valid=0.0)
    dataset = open_dataset(path, mapping)
    rows = _sample_places(dataset) if stamp[0] > _READ_WHOLE_BYTES else list(dataset)
    return measure_workload(path, recipe, rows=rows)


def _sample_places(dataset: Dataset) -> list[Row | BadRow]:
    """Some rows from places all over the file, in a time that does not grow with its size."""
    path = dataset.source.jsonl()
    size = path.stat().st_size
    rows: list[Row | BadRow] = []
    with path.open("rb") as file:
        for place in range(_PLACES):
            file.seek(size * place // _PLACES)
            if place:
                file.readline(MAX_LINE)  # The rest of a line that began before.
            for _ in range(_ROWS_PER_PLACE):
                if not (line := file.readline(MAX_LINE)):
                    break
                if line.strip():
                    rows.append(parse_row(len(rows) + 1, line, dataset.mapping))
    return rows
