"""Samples: the same on any machine, of the promised size, balanced, without leaks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.read import open_dataset
from waltzrl_tui.datasets.rows import BadRow, Harm, Row
from waltzrl_tui.datasets.sampling import Sample, SampleRecipe, counts, draw, survey
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.text import normalised

Content = tuple[str, str, str, str]


def content(rows: list[Row]) -> list[Content]:
    return [(row.prompt, row.reply, row.harm, row.category) for row in rows]


def made(harmful: int, benign: int, categories: int = 1) -> list[Row]:
    labels: list[Harm] = ["harmful"] * harmful + ["benign"] * benign
    return [
        Row(line, f"prompt {line}", f"reply {line}", harm, f"c{line % categories}")
        for line, harm in enumerate(labels, 1)
    ]


rows_strategy = st.lists(
    st.builds(
        Row,
        line=st.just(1),
        prompt=st.sampled_from(["a", "A", "b", " b", "c", "d", "e", "f", "g", "h"]),
        reply=st.sampled_from(["", "x", "y"]),
        harm=st.sampled_from(["harmful", "benign", ""]),
        category=st.sampled_from(["", "p", "q"]),
    ),
    min_size=1,
    max_size=30,
)
recipes = st.builds(
    SampleRecipe,
    source=st.just("d.jsonl"),
    n=st.one_of(st.none(), st.integers(1, 40)),
    seed=st.integers(0, 5),
    dedupe=st.sampled_from(["exact", "off"]),
    balance=st.sampled_from(["harm", "category", None]),
    valid=st.sampled_from([0.0, 0.1, 0.3, 0.5]),
)


@given(st.data(), rows_strategy, recipes)
def test_the_order_of_the_file_does_not_matter(
    data: st.DataObject, rows: list[Row], recipe: SampleRecipe
) -> None:
    shuffled = data.draw(st.permutations(rows))
    first, second = draw(rows, recipe), draw(shuffled, recipe)
    assert content(first.train) == content(second.train)
    assert content(first.valid) == content(second.valid)
    assert (first.sha256, first.dropped) == (second.sha256, second.dropped)


@given(rows_strategy, recipes)
def test_a_sample_is_a_subset_of_its_size_without_leaks(
    rows: list[Row], recipe: SampleRecipe
) -> None:
    sample = draw(rows, recipe)
    taken = Counter(content([*sample.train, *sample.valid]))
    assert not taken - Counter(content(rows))
    usable = len(rows) - sample.dropped["exact"]
    assert taken.total() == min(recipe.n or usable, usable)
    assert sample.train
    prompts = Counter(normalised(prompt) for prompt, *_ in taken.elements())
    if recipe.valid and len(prompts) > 1:
        share = max(1, taken.total() * recipe.valid)
        assert abs(len(sample.valid) - share) <= max(0.5, max(prompts.values()))
    sides = [{normalised(row.prompt) for row in side} for side in (sample.train, sample.valid)]
    assert sides[0].isdisjoint(sides[1])
    if recipe.dedupe == "exact":
        pairs = [(normalised(row.prompt), row.reply) for row in (*sample.train, *sample.valid)]
        assert len(pairs) == len(set(pairs))


@given(rows_strategy, recipes, st.integers(1, 40))
def test_a_larger_sample_contains_the_smaller_one(
    rows: list[Row], recipe: SampleRecipe, n: int
) -> None:
    small = draw(rows, replace(recipe, n=n))
    large = draw(rows, replace(recipe, n=n + 3))
    assert not Counter(content(_all(small))) - Counter(content(_all(large)))


@given(rows_strategy, recipes)
def test_counts_are_those_of_the_sample(rows: list[Row], recipe: SampleRecipe) -> None:
    sample = draw(rows, recipe)
    told = counts(survey(rows, recipe), recipe)
    assert (told.train, told.valid) == (len(sample.train), len(sample.valid))
    assert told.dropped == sample.dropped
    assert sum(told.strata.values()) == told.train + told.valid


def _all(sample: Sample) -> list[Row]:
    return [*sample.train, *sample.valid]


@pytest.mark.parametrize(
    ("harmful", "benign", "n", "expected"),
    [(100, 100, 60, (30, 30)), (100, 10, 60, (50, 10)), (300, 100, 40, (20, 20))],
)
def test_balance_gives_equal_shares_as_far_as_they_reach(
    harmful: int, benign: int, n: int, expected: tuple[int, int]
) -> None:
    sample = draw(made(harmful, benign), SampleRecipe("d", n=n))
    found = Counter(row.harm for row in _all(sample))
    assert (found["harmful"], found["benign"]) == expected


def test_without_balance_the_proportions_stay() -> None:
    sample = draw(made(300, 100), SampleRecipe("d", n=40, balance=None))
    assert Counter(row.harm for row in _all(sample))["harmful"] == 30


def test_every_category_is_in_both_parts() -> None:
    sample = draw(made(200, 200, categories=10), SampleRecipe("d", n=240, valid=0.1))
    assert (len(sample.train), len(sample.valid)) == (216, 24)
    assert {row.category for row in sample.train} == {f"c{number}" for number in range(10)}
    assert max(Counter((row.harm, row.category) for row in sample.valid).values()) <= 2


def test_a_seed_gives_these_rows_on_any_machine() -> None:
    sample = draw(made(20, 20), SampleRecipe("d", n=6, seed=7, valid=0.2))
    assert [row.line for row in sample.train] == [24, 15, 40, 27, 20]
    assert [row.line for row in sample.valid] == [17]
    other = draw(made(20, 20), SampleRecipe("d", n=6, seed=8, valid=0.2))
    assert content(_all(other)) != content(_all(sample))


def test_another_column_can_be_balanced() -> None:
    rows = [Row(i, f"p{i}", extra={"lang": "de" if i % 10 == 0 else "en"}) for i in range(100)]
    sample = draw(rows, SampleRecipe("d", n=16, balance="lang"))
    assert Counter(row.extra["lang"] for row in _all(sample)) == {"de": 8, "en": 8}


def test_bad_rows_and_duplicates_are_counted() -> None:
    rows = [Row(1, "a", "x"), BadRow(2, "broken"), Row(3, " A ", "x"), Row(4, "a", "y")]
    sample = draw(iter(rows), SampleRecipe("d"))
    assert sample.dropped == {"exact": 1, "near": 0, "bad": 1, "contaminated": 0}


def test_nothing_usable_is_said() -> None:
    with pytest.raises(DatasetError, match=r"d\.jsonl has no usable row"):
        draw([BadRow(1, "broken")], SampleRecipe("d.jsonl"))


def test_a_file_that_changes_between_the_passes_is_not_sampled(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"

    class Changing:
        passes = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            self.passes += 1
            lines = [{"prompt": f"{self.passes} {number}"} for number in range(9)]
            path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
            return iter(open_dataset(path))

    with pytest.raises(DatasetError, match="changed while it was sampled"):
        draw(Changing(), SampleRecipe("d.jsonl"))


@pytest.mark.parametrize("field", [{"n": 0}, {"valid": 0.6}, {"valid": -0.1}])
def test_a_recipe_refuses_what_makes_no_sample(field: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        SampleRecipe("d", **field)  # type: ignore[arg-type]


def test_near_duplicates_are_refused_not_ignored() -> None:
    wrong: Literal["exact"] = "near"  # type: ignore[assignment]
    with pytest.raises(UsageError, match="near"):
        SampleRecipe("d", dedupe=wrong)
