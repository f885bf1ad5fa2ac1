"""The rows of our training worker where it has no store: one line of its log each.

The worker prints `@waltzrl {"row": 7, "kind": "step", …}`; whoever reads the log of the machine
that it runs on finds them again among the lines of other programs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

PREFIX: Final = "@waltzrl "
Kind = Literal["step", "note", "result"]


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One row. `number` counts from 1 without gaps; `values` depend on the kind.

    A step has the fields of `local.training.Step` and `at`; a note `text` and `level`; a result
    `repo`, where the adapter is.
    """

    number: int
    kind: Kind
    values: Mapping[str, Any]

    def whole(self, name: str) -> int | None:
        """The value of that name if it is a number, rounded to a whole one."""
        value = self.real(name)
        return None if value is None else round(value)

    def real(self, name: str) -> float | None:
        """The value of that name if it is a finite number."""
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if math.isfinite(value) else None

    def text(self, name: str) -> str:
        """The value of that name if it is text, else ""."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""


def written(row: WorkerRow) -> str:
    """The row as a line of a log, without its end."""
    return PREFIX + json.dumps({"row": row.number, "kind": row.kind, **row.values})


def read(line: str) -> WorkerRow | None:
    """The row in a line, or None: another program's line, or one that was cut short."""
    _, prefix, rest = line.partition(PREFIX)
    if not prefix:
        return None
    try:
        values = json.loads(rest)
        number, kind = values.pop("row"), values.pop("kind")
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    if isinstance(number, bool) or not isinstance(number, int) or kind not in get_args(Kind):
        return None
    return WorkerRow(number, cast("Kind", kind), values)
