"""The largest groups of rows that are the same or nearly so, to be inspected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ClusterKind = Literal["prompts", "replies", "pairs"]

CLUSTERS_KEPT = 20
"""Clusters of each kind."""

LINES_KEPT = 50
"""Lines of each cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Rows whose prompts, replies or pairs are the same as, or near, those of one of them.

    Attributes:
        rows: Number of rows. `texts`: distinct texts among them; 1 for exact duplicates only.
        similarity: The lowest Jaccard similarity of a text to the centre of its cluster; for
            pairs that of the prompts or of the replies, whichever is lower.
        lines: The first lines, in file order.
    """

    what: ClusterKind
    rows: int
    texts: int
    similarity: float
    lines: list[int]


def largest_clusters(
    what: ClusterKind,
    groups: Sequence[int],
    texts: Sequence[int],
    lines: Sequence[int],
    lowest: dict[int, float],
    *,
    none: int,
) -> list[Cluster]:
    """The clusters with the most rows, largest first, ties by first line.

    Args:
        groups: The cluster of each row, `none` for a row without one.
        texts: The text of each row, and `lines` its line.
        lowest: The lowest similarity in a cluster that has several texts.
    """
    sizes = Counter(groups)
    sizes.pop(none, None)
    # Counters keep the order of first occurrence, so ties go by first line.
    chosen = [group for group, size in sizes.most_common(CLUSTERS_KEPT) if size > 1]
    largest = set(chosen)
    members: defaultdict[int, list[int]] = defaultdict(list)
    different: defaultdict[int, set[int]] = defaultdict(set)
    for place, group in enumerate(groups):
        if group in largest:
            different[group].add(texts[place])
            if len(members[group]) < LINES_KEPT:
                members[group].append(lines[place])
    return [
        Cluster(
            what=what,
            rows=sizes[group],
            texts=len(different[group]),
            similarity=round(lowest.get(group, 1.0), 3),
            lines=members[group],
        )
        for group in chosen
    ]
