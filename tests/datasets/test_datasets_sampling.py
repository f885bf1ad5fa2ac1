"""Samples: the same on any machine, of the promised size, balanced, without leaks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.near.shingles import THRESHOLD, padded, shingles, similarity
from waltzrl_tui.datasets.profiling.contamination import BUNDLED
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.sampling import (
    GroupCache,
    Sample,
    SampleRecipe,
    counts,
    draw,
    survey,
)
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.records.labels import Harm
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


TRAIN = "When does the last train to the coast leave on a Sunday evening in winter?"
BREAD = "Why does my sourdough bread collapse when I take it out of the oven"
# Each of the first and of the last ones is near its neighbour, but not near the one after it.
NEAR = [TRAIN, f"{TRAIN} Please tell me.", f"{TRAIN} Please tell me. And which platform?", BREAD]
NEAR += [f"{BREAD} today", f"{BREAD} today, as every time?"]

rows_strategy = st.lists(
    st.builds(
        Row,
        line=st.just(1),
        prompt=st.sampled_from(["a", "A", "b", " b", "c", "d", "e", *NEAR]),
        reply=st.sampled_from(["", "x", "y", "At ten past nine.", "At ten past nine!"]),
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
    dedupe=st.sampled_from(["exact", "near", "off"]),
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
    usable = len(rows) - sample.dropped["exact"] - sample.dropped["near"]
    assert taken.total() == min(recipe.n or usable, usable)
    assert sample.train
    groups = Counter(map(group, (prompt for prompt, *_ in taken.elements())))
    if recipe.valid and len(groups) > 1:
        share = max(1, taken.total() * recipe.valid)
        assert abs(len(sample.valid) - share) <= max(0.5, max(groups.values()))
    for one in sample.train:
        for other in sample.valid:
            assert not near(one.prompt, other.prompt)
    if recipe.dedupe != "off":
        pairs = [(normalised(row.prompt), row.reply) for row in (*sample.train, *sample.valid)]
        assert len(pairs) == len(set(pairs))


def near(one: str, other: str) -> bool:
    first, second = (shingles(padded(normalised(each).encode())) for each in (one, other))
    return similarity(first, second) >= THRESHOLD


def group(prompt: str) -> str:
    """The first of the prompts that this one is linked to."""
    return next((known for known in (TRAIN, BREAD) if prompt.startswith(known)), prompt)


@given(rows_strategy, recipes, st.integers(1, 40))
def test_a_larger_sample_contains_the_smaller_one(
    rows: list[Row], recipe: SampleRecipe, n: int
) -> None:
    small = draw(rows, replace(recipe, n=n))
    large = draw(rows, replace(recipe, n=n + 3))
    assert not Counter(content(_all(small))) - Counter(content(_all(large)))


@given(rows_strategy, recipes, st.integers(1, 20), st.integers(1, 20))
def test_an_extended_sample_begins_with_the_smaller_one(
    rows: list[Row], recipe: SampleRecipe, n: int, more: int
) -> None:
    first = replace(recipe, n=n)
    second = first.extended(n + more)
    base, grown = draw(rows, first), draw(rows, second)
    again = draw(rows, second, base_sha256=base.sha256)
    larger = draw(rows, second.extended(n + more + 3))
    assert again.sha256 == grown.sha256
    for small, large in ((base, grown), (grown, larger)):
        assert large.train[: len(small.train)] == small.train
        assert large.valid[: len(small.valid)] == small.valid
    for one in larger.train:
        assert not any(near(one.prompt, other.prompt) for other in larger.valid)
    plain = draw(rows, replace(recipe, n=n + more))
    assert Counter(content(_all(plain))) == Counter(content(_all(grown)))


def test_what_cannot_be_extended_is_said() -> None:
    recipe = SampleRecipe("d", n=10)
    with pytest.raises(DatasetError, match="sample of 10 rows can no longer be drawn from d"):
        draw(made(20, 20), recipe.extended(20), base_sha256="of other rows")
    with pytest.raises(UsageError, match="10 rows cannot grow to 5"):
        recipe.extended(5)
    with pytest.raises(UsageError, match="all rows"):
        SampleRecipe("d").extended(5)


def test_near_prompts_are_looked_for_once_and_only_when_it_matters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[int] = []

    def counted(one: frozenset[int], other: frozenset[int]) -> float:
        compared.append(1)
        return similarity(one, other)

    monkeypatch.setattr("waltzrl_tui.datasets.near.index.similarity", counted)
    rows = [Row(n, prompt, harm="benign") for n, prompt in enumerate(NEAR)]
    draw(rows, SampleRecipe("d", valid=0))
    assert not compared
    cache = GroupCache()
    first = draw(rows, SampleRecipe("d", valid=0.5), cache=cache)
    asked = len(compared)
    assert asked
    second = draw(
        rows, SampleRecipe("d", valid=0.5, dedupe="off", balance=None, seed=3), cache=cache
    )
    assert len(compared) == asked
    for sample in (first, second):
        assert {group(row.prompt) for row in sample.train} | {
            group(row.prompt) for row in sample.valid
        } == {TRAIN, BREAD}
        assert len({group(row.prompt) for row in sample.valid}) == 1
    draw(rows[:3], SampleRecipe("d", valid=0.5), cache=cache)
    assert len(compared) > asked


def test_near_duplicates_are_dropped_when_prompt_and_reply_are_near() -> None:
    reply = "Sunday's last train leaves at ten past nine from platform four."
    rows = [
        Row(1, TRAIN, reply),
        Row(2, f"{TRAIN} Please!", reply),
        Row(3, TRAIN, "I do not know, ask at the station."),
        Row(4, BREAD, reply),
    ]
    sample = draw(rows, SampleRecipe("d", dedupe="near", valid=0))
    assert sample.dropped["near"] == 1
    assert {row.line for row in sample.train} in ({1, 3, 4}, {2, 3, 4})


def test_rows_of_an_evaluation_suite_are_left_out(tmp_path: Path) -> None:
    suite = tmp_path / "suite.jsonl"
    suite.write_text(json.dumps({"prompt": TRAIN}) + "\n", encoding="utf-8")
    rows = [Row(1, TRAIN.upper()), Row(2, TRAIN.upper()), Row(3, TRAIN + " Thanks"), Row(4, BREAD)]
    sample = draw(rows, SampleRecipe("d", suites=(str(suite), BUNDLED)))
    assert [row.line for row in _all(sample)] == [4]
    assert (sample.dropped["contaminated"], sample.dropped["exact"]) == (3, 0)
    with pytest.raises(DatasetError, match="All rows of d are also in an evaluation suite"):
        draw(rows[:3], SampleRecipe("d", suites=(str(suite),)))
    # A suite that is sampled itself is not its own contamination.
    alone = draw(open_dataset(suite), SampleRecipe(str(suite), suites=(str(suite),)))
    assert len(_all(alone)) == 1


def test_only_rows_that_fulfil_the_expression_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    rows = [{"prompt": f"p{n}", "harm": "benign" if n % 3 else "harmful"} for n in range(30)]
    path.write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = SampleRecipe(str(path), where="harm = 'harmful' and line > 1")
    sample = draw(open_dataset(path), recipe)
    assert {row.prompt for row in _all(sample)} == {f"p{n}" for n in range(3, 30, 3)}
    assert sample.dropped["filtered"] == 21
    with pytest.raises(DatasetError, match=r"No usable row .* matches"):
        draw(open_dataset(path), replace(recipe, where="harm = 'other'"))


def test_a_recipe_reads_back() -> None:
    recipe = SampleRecipe("d", 20, 3, "near", None, 0.2, "line > 2", ("starter-eval",), (5, 10))
    assert SampleRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    earlier = {"source": "d", "n": 5, "seed": 1, "dedupe": "exact", "balance": "harm"}
    assert SampleRecipe.from_json({**earlier, "valid": 0.1, "dropped": {}}).grown == ()


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
    assert sample.dropped == {
        "exact": 1,
        "near": 0,
        "bad": 1,
        "contaminated": 0,
        "filtered": 0,
    }


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


def test_the_same_question_after_other_turns_is_another_example() -> None:
    def chat(line: int, before: str) -> Row:
        history = [{"role": "user", "content": before}, {"role": "assistant", "content": "Fine."}]
        return Row(line, "And then?", "Then you rest.", extra={"history": history})

    rows = [chat(1, "How do I bake bread?"), chat(2, "How do I run?"), chat(3, "How do I run?")]
    sample = draw(rows, SampleRecipe("chats.jsonl", valid=0.0))
    assert sorted(row.history[0]["content"] for row in sample.train) == [
        "How do I bake bread?",
        "How do I run?",
    ]
    turned = [replace(row, extra={"history": row.extra["history"][::-1]}) for row in sample.train]
    assert draw(turned, SampleRecipe("chats.jsonl", valid=0.0)).sha256 != sample.sha256
