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
"""The name of all reasons together, in `PricedWaste.usd`."""

_WHOLE_BYTES: Final = 2 * 1024 * 1024
_PLACES: Final = 200
_ROWS_A_PLACE: Final = 10


def waste_usd(
    catalogue: Catalogue,
    workload: Workload,
    rows: int,
    waste: Mapping[str, int],
    settings: PlanSettings,
    environment: Environment,
) -> dict[str, float] | None:
    """USD expected for each reason's rows: all rows' price, less the price without them.

    Args:
        workload: Measured on some rows of the dataset; scaled to all.
        rows: Usable rows of the dataset.
        waste: Rows by reason.
        settings: With the provider. Hours of chat cost the same either way.

    Returns:
        USD by reason, or None where the provider has no price.
    """

    def total(count: int) -> float | None:
        found = price_plans(catalogue, workload.scaled(count), settings, environment)
        return found[0].total.expected if found and found[0].total else None

    whole = total(rows)
    if whole is None:
        return None
    return {
        reason: max(0.0, whole - (total(rows - count) or 0.0)) for reason, count in waste.items()
    }


@dataclass(frozen=True, slots=True)
class PricedWaste:
    """What a profile's waste would cost, for the agents that can be trained.

    Attributes:
        provider, title: At whom: the provider that was asked for, else the cheapest hosted one.
        asked: Whether it was asked for.
        settings: The agents, epochs, size and method it was priced for.
        usd: USD expected by reason, and `IN_ALL`.
    """

    provider: str
    title: str
    asked: bool
    settings: PlanSettings
    usd: dict[str, float]


async def price_waste(
    store: Store | None, workspace: Workspace, found: Profile, settings: PlanSettings
) -> PricedWaste | None:
    """Price the waste of a profile at `settings.provider`; "" takes the cheapest hosted one.

    Returns:
        None where that provider has no price, or no agent can learn from the dataset.

    Raises:
        PlanError: The user's `plans.toml` has a mistake.
    """
    stamp = await asyncio.to_thread(_stamp, found.path)
    try:
        workload = await asyncio.to_thread(_measure, found.path, stamp, found.mapping)
    except DatasetError:
        return None
    catalogue, environment = await asyncio.gather(
        asyncio.to_thread(load_catalogue, workspace), read_environment(store, workspace)
    )
    # A budget and the hours of chat are no part of what a row costs.
    roles = tuple(role for role in workload.roles if role in settings.roles) or tuple(
        workload.roles
    )
    settings = replace(settings, chat_hours=0.0, budget_usd=None, roles=roles)
    asked = bool(settings.provider)
    if not asked:
        cheapest = _cheapest_hosted(catalogue, workload.scaled(found.rows), settings, environment)
        if not cheapest:
            return None
        settings = replace(settings, provider=cheapest, model="")
    rows = {reason: waste.rows for reason, waste in found.waste.items()}
    rows[IN_ALL] = sum(rows.values())
    usd = waste_usd(catalogue, workload, found.rows, rows, settings, environment)
    if usd is None:
        return None
    title = catalogue.provider[settings.provider].title
    return PricedWaste(settings.provider, title, asked, settings, usd)


def _cheapest_hosted(
    catalogue: Catalogue, workload: Workload, settings: PlanSettings, environment: Environment
) -> str:
    """The provider that is paid by trained tokens and asks least; "" when none has a price."""
    for row in price_plans(catalogue, workload, settings, environment):
        if row.total is not None and catalogue.provider[row.provider].kind == "tokens":
            return row.provider
    return ""


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0  # What reads it says what is wrong.
    return found.st_size, found.st_mtime_ns


# The provider, the epochs and the prices change often, what was measured does not.
@lru_cache(maxsize=8)
def _measure(path: Path, stamp: tuple[int, int], mapping: Fields) -> Workload:
    """Measure the file as it was at `stamp`: all rows, or samples from all over a large file."""
    recipe = SampleRecipe(str(path), dedupe="off", balance=None, valid=0.0)
    dataset = open_dataset(path, mapping)
    rows = _spread(dataset) if stamp[0] > _WHOLE_BYTES else list(dataset)
    return measure_workload(path, recipe, rows=rows)


def _spread(dataset: Dataset) -> list[Row | BadRow]:
    """Some rows from places all over the file, so that its size does not matter."""
    path = dataset.source.jsonl()
    size = path.stat().st_size
    found: list[Row | BadRow] = []
    with path.open("rb") as file:
        for place in range(_PLACES):
            file.seek(size * place // _PLACES)
            if place:
                file.readline(MAX_LINE)  # The rest of a line that begins before.
            for _ in range(_ROWS_A_PLACE):
                if not (line := file.readline(MAX_LINE)):
                    break
                if line.strip():
                    found.append(parse_row(len(found) + 1, line, dataset.mapping))
    return found
