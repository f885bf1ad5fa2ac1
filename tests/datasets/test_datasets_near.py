"""Near duplicates: found whatever the order, verified, and nothing else."""

from __future__ import annotations

import random
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.near.index import (
    THRESHOLD,
    NearGroups,
    NearIndex,
    text_digest,
)
from waltzrl_tui.datasets.near.shingles import padded, shingles, similarity

WORDS = [
    "train",
    "coast",
    "sunday",
    "evening",
    "bread",
    "oven",
    "python",
    "process",
    "garden",
    "cheese",
    "planet",
    "violin",
]
texts = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=0, max_size=14).map(" ".join),
    min_size=1,
    max_size=12,
    unique=True,
)


def grouped(values: list[str], references: int = 0) -> NearGroups:
    with NearIndex() as index:
        for value in values:
            index.add(text_digest(value), value)
        return index.groups(references)


def jaccard(one: str, other: str) -> float:
    first, second = (shingles(padded(each.encode())) for each in (one, other))
    return len(first & second) / len(first | second)


@settings(max_examples=60)
@given(st.data(), texts)
def test_components_and_clusters_do_not_depend_on_the_order(
    data: st.DataObject, values: list[str]
) -> None:
    other = data.draw(st.permutations(values))
    first, second = grouped(values), grouped(other)
    for one, two in ((first.component, second.component), (first.cluster, second.cluster)):
        assert _parts(values, one) == _parts(other, two)


def _parts(values: list[str], groups: object) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for value, group in zip(values, groups, strict=True):  # type: ignore[call-overload]
        found[values[group]].add(value)
    return dict(found)


@settings(max_examples=60)
@given(texts)
def test_every_member_of_a_cluster_is_near_its_centre(values: list[str]) -> None:
    groups = grouped(values)
    for number, centre in enumerate(groups.cluster):
        assert number == centre or jaccard(values[number], values[centre]) >= THRESHOLD
        assert groups.component[number] == groups.component[centre]
    assert groups.clusters == len(set(groups.cluster))
    for centre, lowest in groups.lowest.items():
        found = [
            jaccard(values[number], values[centre])
            for number, other in enumerate(groups.cluster)
            if other == centre
        ]
        assert min(found) == lowest


def test_few_near_pairs_are_missed_and_none_is_invented() -> None:
    chosen = random.Random(5)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(chosen.choices(letters, k=chosen.randint(3, 8))) for _ in range(500)]
    pairs = []
    for _ in range(400):
        text = chosen.choices(words, k=40)
        changed = list(text)
        for place in chosen.sample(range(40), chosen.randint(1, 4)):
            changed[place] = chosen.choice(words)
        pairs.append((" ".join(text), " ".join(changed)))
    groups = grouped([text for pair in pairs for text in pair])
    near = [jaccard(*pair) >= THRESHOLD for pair in pairs]
    linked = [groups.component[2 * n] == groups.component[2 * n + 1] for n in range(len(pairs))]
    assert sum(near) > 200
    assert sum(one and not two for one, two in zip(near, linked, strict=True)) <= 4
    assert not any(two and not one for one, two in zip(near, linked, strict=True))


def test_references_are_told_and_link_nothing() -> None:
    suite = "how do i bake a loaf of sourdough bread without a dutch oven"
    near = [f"{suite} {more}" for more in ("please", "today")]
    groups = grouped([suite, *near, "something else entirely"], references=1)
    assert set(groups.contaminated) == {1, 2}
    for number, (reference, share) in groups.contaminated.items():
        assert reference == 0
        assert share == jaccard(suite, near[number - 1])
    assert groups.component[0] == 0
    assert 0 not in groups.component[1:]


def test_short_and_empty_texts_are_near_themselves_only() -> None:
    groups = grouped(["", "a", "b", "ab", "abcdefgh", "abcdefgx"])
    assert list(groups.cluster) == [0, 1, 2, 3, 4, 5]
    assert similarity(shingles(padded(b"")), shingles(padded(b"a"))) == 0


def test_it_stops_when_asked() -> None:
    with NearIndex() as index:
        for value in ("one and the same text", "one and the same text!"):
            index.add(text_digest(value), value)
        assert list(index.groups(stop=lambda: True).component) == [0, 1]
