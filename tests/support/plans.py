"""What the tests of plans share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from waltzrl_tui.plans.model import (
    Environment,
    Gpu,
    PlanRow,
    PlanSettings,
    Probe,
    RoleWorkload,
    Workload,
)
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.schema import Catalogue

TODAY = date(2026, 11, 22)


def role(rows: int = 1000, tokens: int = 200_000, **changes: Any) -> RoleWorkload:
    values: dict[str, Any] = {
        "rows": rows,
        "valid_rows": rows // 10,
        "tokens": tokens,
        "valid_tokens": tokens // 10,
        "longest": 300,
        "bytes": 5 * tokens,
        "exact": False,
        "tokenizer": "estimate",
        "error": 0.15,
    }
    return RoleWorkload(**{**values, **changes})


def workload(rows: int = 1000, tokens: int = 200_000, **changes: Any) -> Workload:
    one = role(rows, tokens, **changes)
    return Workload({"conversation": one, "feedback": one}, "rows.jsonl")


def environment(
    keys: frozenset[str] = frozenset(),
    gpus: tuple[Gpu, ...] = (),
    probes: Mapping[str, Probe] | None = None,
    today: date = TODAY,
    speed: float | None = None,
) -> Environment:
    return Environment(keys, gpus, False, speed, probes or {}, today)


def row_of(
    catalogue: Catalogue, provider: str, what: Workload, settings: PlanSettings, where: Environment
) -> PlanRow:
    return next(
        row for row in price_plans(catalogue, what, settings, where) if row.provider == provider
    )
