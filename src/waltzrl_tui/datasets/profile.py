"""What is in a dataset: counted in one pass, in memory that hardly grows with its length."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from waltzrl_tui.datasets.read import open_dataset
from waltzrl_tui.datasets.rows import Mapping, Row
from waltzrl_tui.text import normalised
from waltzrl_tui.tokens import estimate_tokens

BAD_ROWS_SHOWN = 100
TOKEN_BUCKETS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Upper bounds (inclusive) of the histogram of tokens a row; the last bucket is open."""

_CATEGORIES_KEPT = 1000
_OTHER = "(other)"


class DistinctCounter:
    """Counts different values by 8-byte digests, 8 bytes a value.

    Two values are taken for one with a chance of n²/2⁶⁵: 1 in 2,000 for a hundred million rows.
    """

    def __init__(self) -> None:
        # By the first byte, so that only 1/256 of the digests is ever in a set.
        self._digests = [array("Q") for _ in range(256)]

    def add(self, *parts: str) -> None:
        digest = blake2b("\0".join(parts).encode(), digest_size=8).digest()
        self._digests[digest[0]].append(int.from_bytes(digest, "big"))

    def count(self) -> int:
        return sum(len(set(digests)) for digests in self._digests)


@dataclass(frozen=True)
class Profile:
    """The figures of one dataset.

    Attributes:
        rows: Usable rows. `bad_row_count`: lines that give none; `bad_rows`: the first 100.
        prompts: Different prompts (normalised), `replies`: different replies, `pairs`: both.
        labels: Rows by value of `harm` and of `category`; rows without a value are under "".
        tokens: Estimated, of prompts and replies together.
        histogram: Rows by estimated tokens: one count a bound of `TOKEN_BUCKETS`, and the rest.
        longest: Estimated tokens of the longest row.
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

    def to_json(self) -> dict[str, Any]:
        """The document of `data profile --json`. Near duplicates are not counted: null."""
        unique = {"prompts": self.prompts, "replies": self.replies, "pairs": self.pairs}
        return {
            "path": str(self.path),
            "format": "jsonl",
            "rows": self.rows,
            "bad_row_count": self.bad_row_count,
            "bad_rows": [{"line": line, "reason": reason} for line, reason in self.bad_rows],
            "mapping": self.mapping.to_json(),
            "unique": unique,
            "near_unique": {"prompts": None, "replies": None},
            "labels": self.labels,
            "tokens": {
                "total": self.tokens,
                "exact": False,
                "tokenizer": "estimate",
                "longest": self.longest,
                "histogram": self.histogram,
            },
        }


def profile(
    path: str | Path,
    *,
    on_progress: Callable[[int], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Profile:
    """Count the dataset at `path`. Blocks for its whole length, so not on the event loop.

    Args:
        on_progress: Called with the rows read so far, every thousand.
        stop: Asked every thousand rows; the profile then covers what was read until there.

    Raises:
        DatasetError: It cannot be read, or has no usable row.
    """
    dataset = open_dataset(path)
    prompts, replies, pairs = DistinctCounter(), DistinctCounter(), DistinctCounter()
    harm: Counter[str] = Counter()
    category: Counter[str] = Counter()
    histogram = [0] * (len(TOKEN_BUCKETS) + 1)
    bad: list[tuple[int, str]] = []
    rows = bad_count = tokens = longest = 0
    for row in dataset:
        if not isinstance(row, Row):
            bad_count += 1
            if len(bad) < BAD_ROWS_SHOWN:
                bad.append((row.line, row.reason))
            continue
        rows += 1
        prompt = normalised(row.prompt)
        prompts.add(prompt)
        if row.reply:
            replies.add(row.reply)
        pairs.add(prompt, row.reply)
        harm[row.harm] += 1
        known = row.category in category or len(category) < _CATEGORIES_KEPT
        category[row.category if known else _OTHER] += 1
        size = estimate_tokens(row.prompt) + estimate_tokens(row.reply)
        tokens += size
        longest = max(longest, size)
        histogram[_bucket(size)] += 1
        if rows % 1000 == 0:
            if on_progress:
                on_progress(rows)
            if stop and stop():
                break
    return Profile(
        path=Path(path),
        mapping=dataset.mapping,
        rows=rows,
        bad_row_count=bad_count,
        bad_rows=bad,
        prompts=prompts.count(),
        replies=replies.count(),
        pairs=pairs.count(),
        labels={"harm": _sorted(harm), "category": _sorted(category)},
        tokens=tokens,
        histogram=histogram,
        longest=longest,
    )


def _bucket(size: int) -> int:
    return next(
        (number for number, bound in enumerate(TOKEN_BUCKETS) if size <= bound),
        len(TOKEN_BUCKETS),
    )


def _sorted(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name, whatever the order of the file."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
