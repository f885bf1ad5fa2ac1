"""What a training run does at which step, and how fast it is on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from waltzrl_tui.local.encoding import Encoded, batches
from waltzrl_tui.local.recipe import TrainingSettings

_FLOOR = 0.05


def plan(rows: Sequence[Encoded], settings: TrainingSettings) -> list[list[int]]:
    """The batches of all epochs, in order; the same for the same rows and settings."""
    lengths = [len(row.ids) for row in rows]
    schedule: list[list[int]] = []
    for epoch in range(math.ceil(settings.epochs)):
        schedule += batches(lengths, settings.batch_rows, seed=settings.seed, epoch=epoch)
    a_pass = len(schedule) / max(1, math.ceil(settings.epochs))
    return schedule[: max(1, round(a_pass * settings.epochs))]


def learning_rate(step: int, total: int, peak: float) -> float:
    """Linear warm-up over the first 6 %, flat to the half, then linear down to 5 % of the peak."""
    warm = max(1.0, 0.06 * total)
    down = (total - step) / max(1.0, 0.5 * total)
    return peak * min(1.0, (step + 1) / warm, max(_FLOOR, down))


def pieces(
    batch: Sequence[int], rows: Sequence[Encoded], tokens: int, *, parts: int = 1
) -> list[list[int]]:
    """`batch` cut, in order, into pieces of at most `limit` padded tokens, or one row.

    Args:
        parts: About as many pieces of like cost at the least, to be computed side by side.
    """
    share = sum(len(rows[index].ids) for index in batch) / max(1, min(parts, len(batch)))
    cut: list[list[int]] = []
    longest = before = part = 0
    for index in batch:
        length = len(rows[index].ids)
        longest = max(longest, length)
        due = int((before + length / 2) / share)
        if not cut or due > part or (len(cut[-1]) + 1) * longest > tokens:
            cut.append([index])
            longest, part = length, due
        else:
            cut[-1].append(index)
        before += length
    return cut


class Pace:
    """Tokens per second so far, and seconds left, measured apart for cached batches."""

    def __init__(
        self,
        rows: Sequence[Encoded],
        schedule: Sequence[Sequence[int]],
        first: int,
        cached_cost: float,
    ) -> None:
        self._tokens = [sum(len(rows[index].ids) for index in batch) for batch in schedule]
        self._seconds = {True: 0.0, False: 0.0}
        self._counted = {True: 0, False: 0}
        self._recent: list[tuple[int, float]] = []
        self._cached_cost = cached_cost
        self.tokens_per_second = 0.0
        trained: set[int] = set()
        self._again = [False] * len(schedule)
        for number in range(first, len(schedule)):
            self._again[number] = trained.issuperset(schedule[number])
            trained.update(schedule[number])

    def add(self, number: int, seconds: float, was_cached: bool) -> None:
        tokens = self._tokens[number]
        self._seconds[was_cached] += seconds
        self._counted[was_cached] += tokens
        self._recent = [*self._recent[-7:], (tokens, seconds)]
        spent = sum(second for _, second in self._recent)
        self.tokens_per_second = sum(token for token, _ in self._recent) / max(spent, 1e-9)

    def eta_seconds(self, done: int) -> float:
        """Seconds for the batches from `done` on, at the pace measured for their kind."""
        left = 0.0
        for number in range(done, len(self._tokens)):
            kind, factor = self._again[number], 1.0
            if not self._counted[kind]:
                factor = self._cached_cost if kind else 1 / self._cached_cost
                kind = not kind
            pace = self._seconds[kind] / max(1, self._counted[kind])
            left += self._tokens[number] * pace * factor
        return left
