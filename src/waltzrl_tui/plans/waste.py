"""What rows that are not worth training on would cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from waltzrl_tui.datasets.figures import Profile
from waltzrl_tui.datasets.sampling import SampleRecipe
from waltzrl_tui.plans.catalogue import load_catalogue
from waltzrl_tui.plans.load import measure_load
from waltzrl_tui.plans.model import Load, Surroundings, Wish
from waltzrl_tui.plans.price import price
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.surroundings import gather
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace

_PRICED_ROWS: Final = 2000


def waste_usd(
    catalogue: Catalogue,
    load: Load,
    rows: int,
    waste: Mapping[str, int],
    wish: Wish,
    around: Surroundings,
) -> dict[str, float] | None:
    """USD expected for each reason's rows: all rows' price, less the price without them.

    Args:
        load: Measured on some rows of the dataset; scaled to all.
        rows: Usable rows of the dataset.
        waste: Rows by reason.
        wish: With the provider. Hours of chat cost the same either way.

    Returns:
        USD by reason, or None where the provider has no price.
    """

    def total(count: int) -> float | None:
        found = price(catalogue, load.scaled(count), wish, around)
        return found[0].total.expected if found and found[0].total else None

    whole = total(rows)
    if whole is None:
        return None
    return {
        reason: max(0.0, whole - (total(rows - count) or 0.0)) for reason, count in waste.items()
    }


@dataclass(frozen=True, slots=True)
class PricedWaste:
    """What a profile's waste would cost: USD by reason, at whom, for how many epochs."""

    provider: str
    title: str
    epochs: float
    usd: dict[str, float]


async def priced_waste(
    store: Store | None, workspace: Workspace, found: Profile, wish: Wish
) -> PricedWaste | None:
    """Price the waste of a profile at `wish.provider`; "" takes the cheapest that is not free.

    Returns:
        None where that provider has no price.

    Raises:
        DatasetError: No agent can learn from the dataset.
        PlanError: The user's `plans.toml` has a mistake.
    """
    catalogue = await asyncio.to_thread(load_catalogue, workspace)
    some = SampleRecipe(str(found.path), n=_PRICED_ROWS, dedupe="off", valid=0.0)
    load = await asyncio.to_thread(measure_load, found.path, some)
    around = await gather(store, workspace)
    wish = replace(wish, chat_hours=0.0)
    if not wish.provider:
        paid = [
            row
            for row in price(catalogue, load.scaled(found.rows), wish, around)
            if row.total is not None and row.total.expected > 0
        ]
        if not paid:
            return None
        wish = replace(wish, provider=paid[0].provider)
    rows = {reason: waste.rows for reason, waste in found.waste.items()}
    usd = waste_usd(catalogue, load, found.rows, rows, wish, around)
    if usd is None:
        return None
    title = catalogue.provider[wish.provider].title
    return PricedWaste(wish.provider, title, wish.epochs, usd)
