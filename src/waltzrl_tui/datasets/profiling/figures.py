"""The figures of a dataset, and the document that `data profile --json` prints."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from waltzrl_tui.datasets.label_values import LabelValue
from waltzrl_tui.datasets.near.clusters import Cluster
from waltzrl_tui.datasets.reading.rows import Mapping

TOKEN_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Upper bounds (inclusive) of the histograms of tokens; the last bucket is open."""


@dataclass(frozen=True, slots=True)
class Waste:
    """Rows that are not worth paying for, and their estimated tokens."""

    rows: int = 0
    tokens: int = 0


@dataclass(slots=True)
class Tokens:
    """Estimated tokens of one side of the rows, or of both, added up.

    Attributes:
        histogram: Rows by tokens: a count per bound of `TOKEN_BUCKETS`, then the rest.
        longest: Tokens of the longest text.
    """

    total: int = 0
    longest: int = 0
    histogram: list[int] = field(default_factory=lambda: [0] * (len(TOKEN_BUCKETS) + 1))

    def add(self, size: int) -> None:
        """Count one text or row of `size` tokens."""
        self.total += size
        if size > self.longest:
            self.longest = size
        self.histogram[bisect_left(TOKEN_BUCKETS, size)] += 1


@dataclass(frozen=True, slots=True)
class Refusals:
    """How many replies refuse, by `datasets.refusals`.

    Attributes:
        rows: Rows with a reply. `refused`: those that refuse; an estimate when not all distinct
            replies were checked.
        looked_at: Rows whose reply was checked.
        by_harm: By the label of the prompt: rows refused and checked.
    """

    rows: int = 0
    refused: int = 0
    looked_at: int = 0
    by_harm: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return self.refused / self.rows if self.rows else 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "refused": self.refused,
            "share": round(self.share, 4),
            "exact": self.looked_at == self.rows,
            "looked_at": self.looked_at,
            "by_harm": {
                harm: {"refused": refused, "rows": rows}
                for harm, (refused, rows) in self.by_harm.items()
            },
        }


@dataclass(frozen=True, slots=True)
class Contaminated:
    """A row whose prompt, or a near one, is in an evaluation suite.

    Attributes:
        similarity: Jaccard similarity of the prompts; 1 for the same prompt.
    """

    line: int
    suite: str
    suite_line: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Contamination:
    """Rows with prompts that agents are evaluated on.

    Attributes:
        suites: Rows by suite, of those that were compared. `examples`: the first rows.
        exact: Rows with the same prompt; the others are near.
    """

    rows: int = 0
    exact: int = 0
    suites: dict[str, int] = field(default_factory=dict)
    examples: list[Contaminated] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Contradicting:
    """Prompts that are labelled harmful in one row and benign in another.

    Attributes:
        rows: Rows with such a prompt; `lines`: the first of them, from 1.
    """

    prompts: int = 0
    rows: int = 0
    lines: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PersonalRow:
    """Something in a row that should not be learned; `shown` is only its beginning."""

    line: int
    field: str
    kind: str
    shown: str


@dataclass(frozen=True, slots=True)
class Personal:
    """Personal data and secrets: rows with any, rows by kind, and the first examples."""

    rows: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    examples: list[PersonalRow] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The figures of one dataset.

    Attributes:
        rows: Usable rows. `bad_row_count`: lines without one. `bad_rows`: the first 100.
        prompts: Distinct prompts (normalised). `replies`: distinct replies. `pairs`: of both.
        near: `prompts`, `replies` and `pairs` when only one of each near cluster is counted.
        clusters: The largest clusters of each kind.
        labels: Rows by value of `harm` and of `category`; rows without a value are under "".
        label_values: How the values of the fields of `harm` and of the label of the `reply` were
            read. A constant has none.
        tokens: Estimated, of prompts and replies together; `histogram` and `longest` of rows.
        sides: The same of prompts and of replies alone.
        waste: By reason; a row counts once, in the order contaminated, exact, near.
    """

    path: Path
    mapping: Mapping
    rows: int
    bad_row_count: int
    bad_rows: list[tuple[int, str]]
    prompts: int
    replies: int
    pairs: int
    labels: dict[str, dict[str, int]]
    tokens: int
    histogram: list[int] = field(default_factory=list)
    longest: int = 0
    near: dict[str, int] = field(default_factory=dict)
    clusters: list[Cluster] = field(default_factory=list)
    sides: dict[str, Tokens] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    contaminated: Contamination = field(default_factory=Contamination)
    personal: Personal = field(default_factory=Personal)
    waste: dict[str, Waste] = field(default_factory=dict)
    format: str = "jsonl"
    label_values: dict[str, list[LabelValue]] = field(default_factory=dict)
    contradicting: Contradicting = field(default_factory=Contradicting)

    def to_json(self) -> dict[str, Any]:
        """The document of `data profile --json`."""
        return {
            "path": str(self.path),
            "format": self.format,
            "rows": self.rows,
            "bad_row_count": self.bad_row_count,
            "bad_rows": [{"line": line, "reason": reason} for line, reason in self.bad_rows],
            "mapping": self.mapping.to_json(),
            "unique": {"prompts": self.prompts, "replies": self.replies, "pairs": self.pairs},
            "near_unique": self.near,
            "clusters": [asdict(each) for each in self.clusters],
            "labels": self.labels,
            "label_values": {
                name: [asdict(each) for each in values]
                for name, values in self.label_values.items()
            },
            "contradicting": asdict(self.contradicting),
            "tokens": {
                "total": self.tokens,
                "exact": False,
                "tokenizer": "estimate",
                "longest": self.longest,
                "histogram": self.histogram,
                **{name: asdict(side) for name, side in self.sides.items()},
            },
            "refusals": self.refusals.to_json(),
            "contaminated": _with_found(self.contaminated),
            "personal": _with_found(self.personal),
            "waste": {reason: asdict(waste) for reason, waste in self.waste.items()},
        }


def _with_found(figures: Contamination | Personal) -> dict[str, Any]:
    """The figures with their examples under `found`, the key of the `--json` document."""
    document = asdict(figures)
    document["found"] = document.pop("examples")
    return document
