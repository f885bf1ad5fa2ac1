"""The largest groups of rows that say the same, or nearly, to be opened and looked at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ClusterKind = Literal["prompts", "replies", "pairs"]

CLUSTERS_KEPT = 20
"""Of each kind."""

LINES_KEPT = 50
"""Of each cluster."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rows whose prompts, replies, or both are the same or near to one of them.

    Attributes:
        rows: How many. `texts`: different ones among them; 1 for exact duplicates only.
        similarity: The lowest Jaccard similarity of a text to the centre of its cluster; for
            pairs that of the prompts or of the replies, whichever is lower.
        lines: The first of them, in the order of the file.
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
    """The clusters with most rows, largest first, then by their first line.

    Args:
        groups: The cluster of each row, `none` for a row that is in no cluster.
        texts: The text of each row, and `lines` its line.
        lowest: The lowest similarity in a cluster that has several texts.
    """
    sizes = Counter(groups)
    sizes.pop(none, None)
    # Counted ones come in the order in which they are first seen, so ties go by first line.
    chosen = [group for group, size in sizes.most_common(CLUSTERS_KEPT) if size > 1]
    wanted = set(chosen)
    members: defaultdict[int, list[int]] = defaultdict(list)
    different: defaultdict[int, set[int]] = defaultdict(set)
    for place, group in enumerate(groups):
        if group in wanted:
            different[group].add(texts[place])
            if len(members[group]) < LINES_KEPT:
                members[group].append(lines[place])
    return [
        Cluster(
            what,
            sizes[group],
            len(different[group]),
            round(lowest.get(group, 1.0), 3),
            members[group],
        )
        for group in chosen
    ]
