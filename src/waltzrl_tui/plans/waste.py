"""What rows that are not worth training on would cost."""

from __future__ import annotations

from collections.abc import Mapping

from waltzrl_tui.plans.model import Load, Surroundings, Wish
from waltzrl_tui.plans.price import price
from waltzrl_tui.plans.schema import Catalogue


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
