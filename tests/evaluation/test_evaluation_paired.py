"""Paired differences and agreement: against published values, and what must always hold."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.evaluation.paired import Agreement, Paired, holm, mcnemar

counts = st.integers(0, 300)
tables = st.builds(Paired, counts, counts, counts, counts)
answers = st.lists(st.booleans(), min_size=1, max_size=200)


@pytest.mark.parametrize(
    ("b", "c", "p"),
    [  # Two-sided binomial tests: R's binom.test(b, b + c).
        (0, 0, 1.0),
        (1, 5, 0.21875),
        (4, 12, 0.076813),
        (0, 10, 0.001953),
        (25, 25, 1.0),
    ],
)
def test_known_values_of_mcnemar(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == pytest.approx(p, abs=5e-7)


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_symmetric_and_a_probability(b: int, c: int) -> None:
    p = mcnemar(b, c)
    assert p == mcnemar(c, b)
    assert 0 <= p <= 1


@settings(deadline=None)
@given(st.integers(0, 200), st.integers(1, 200))
def test_more_of_one_side_is_more_evidence(few: int, more: int) -> None:
    assert mcnemar(few, few + more) <= mcnemar(few, few + more - 1)


@settings(deadline=None)
@given(tables)
def test_the_interval_holds_the_difference(paired: Paired) -> None:
    low, high = paired.interval()
    gap = paired.difference
    assert -1 <= low <= high <= 1
    assert gap is None or low - 1e-12 <= gap <= high + 1e-12
    assert all(map(math.isfinite, (low, high)))


@settings(deadline=None)
@given(tables)
def test_changing_sides_mirrors_the_difference(paired: Paired) -> None:
    other = Paired(paired.both, paired.only_second, paired.only_first, paired.neither)
    low, high = paired.interval()
    assert other.interval() == pytest.approx((-high, -low))
    assert other.p == paired.p


@pytest.mark.parametrize(
    ("table", "difference", "low", "high"),
    [  # Method 10 worked out apart, with Wilson's bounds as roots of their quadratic. The first has
        # a negative correlation, the second one that the correction takes away.
        ((36, 12, 2, 0), -0.2, -0.3404, -0.0569),
        ((1, 1, 7, 12), 0.2857, 0.0256, 0.5069),
        ((212, 144, 256, 707), 0.0849, 0.0554, 0.1142),
    ],
)
def test_known_intervals(
    table: tuple[int, int, int, int], difference: float, low: float, high: float
) -> None:
    paired = Paired(*table)
    assert paired.difference == pytest.approx(difference, abs=5e-5)
    assert paired.interval() == pytest.approx((low, high), abs=5e-5)


def test_newcombes_interval_without_discordance() -> None:
    # Nothing differs, and the marginals are all of one kind: only the sizes of the bounds count.
    low, high = Paired(0, 0, 0, 50).interval()
    assert low == pytest.approx(-high)
    assert high == pytest.approx(0.0713, abs=1e-4)


def test_holms_known_values() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2] and holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_helps_and_keeps_the_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= more <= 1 for p, more in zip(ps, adjusted, strict=True))
    ranks = sorted(range(len(ps)), key=ps.__getitem__)
    assert [adjusted[rank] for rank in ranks] == sorted(adjusted)


@settings(deadline=None)
@given(answers)
def test_judges_who_never_differ(said: list[bool]) -> None:
    agreement = Agreement.of(zip(said, said, strict=True))
    assert agreement.rate.value == 1
    # Both always say the same: that is no agreement beyond chance, and none below it.
    assert agreement.kappa == (1 if len(set(said)) == 2 else None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_kappa_is_symmetric_and_at_most_agreement(said: list[tuple[bool, bool]]) -> None:
    agreement = Agreement.of(said)
    kappa = agreement.kappa
    assert kappa == Agreement.of((b, a) for a, b in said).kappa
    assert (kappa is None) == (len({each for both in said for each in both}) == 1)
    if kappa is not None:
        assert -1 <= kappa <= (agreement.rate.value or 0) + 1e-12


def test_the_kappa_of_a_known_table() -> None:
    # 20 both yes, 5 and 10 apart, 15 both no: 0.7 observed, 0.5 by chance.
    assert Agreement(Paired(20, 5, 10, 15)).kappa == pytest.approx(0.4)
    assert Agreement.of([]).kappa is None
