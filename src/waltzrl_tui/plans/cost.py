"""What training at one provider costs: items, the prices behind them, and what to know."""

from __future__ import annotations

from dataclasses import dataclass, field

from waltzrl_tui.plans.model import FREE, CostItem, Money, RentedMachine
from waltzrl_tui.plans.schema import CataloguePrice


@dataclass
class PlanCost:
    """The cost of a plan, built item by item.

    Attributes:
        prices: The prices behind the items, for their dates and sources.
        missing: Why there is no total, in words.
        excluded: What the total leaves out, in words.
        seconds: Training all agents, low to high.
        notes: How figures were computed.
        blockers: What would be refused, each with what to do about it.
    """

    parts: list[CostItem] = field(default_factory=list)
    prices: list[CataloguePrice] = field(default_factory=list)
    missing: str = ""
    excluded: str = ""
    seconds: tuple[float, float] | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    blockers: list[str] = field(default_factory=list)
    rented: RentedMachine | None = None

    @property
    def total(self) -> Money | None:
        """The sum of the items; None while a price is missing."""
        return None if self.missing else Money.sum(part.usd for part in self.parts)

    def add(self, what: str, usd: Money = FREE, *prices: CataloguePrice) -> None:
        """Add an item and the prices behind it."""
        self.parts.append(CostItem(what, usd))
        self.prices += prices
