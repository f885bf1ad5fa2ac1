"""What a plan costs: rules that hold for all loads, and the figures of a few rows by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.plans import TODAY, environment, role, row_of, workload
from waltzrl_tui.plans.catalogue import bundled_document, load_catalogue
from waltzrl_tui.plans.model import Environment, Gpu, Money, PlanSettings, TokenCount, Workload
from waltzrl_tui.plans.price import cheapest_ready, price_plans
from waltzrl_tui.plans.schema import Catalogue

CATALOGUE = load_catalogue(None)
PROVIDERS = tuple(CATALOGUE.provider)
KEYS = frozenset(key for one in CATALOGUE.provider.values() for key in one.keys)
CENT = 1e-4
"""Amounts are rounded to a millionth of a dollar, part by part."""

workloads = st.builds(
    workload,
    rows=st.integers(1, 200_000),
    tokens=st.integers(1, 500_000_000),
    longest=st.integers(1, 20_000),
)
all_settings = st.builds(
    PlanSettings,
    epochs=st.floats(0.1, 100),
    size=st.sampled_from(["small", "default", "large"]),
    chat_hours=st.floats(0, 1000),
    method=st.sampled_from(["sft", "dpo"]),
)
environments = st.builds(
    environment,
    keys=st.sampled_from([frozenset(), KEYS]),
    gpus=st.sampled_from([(), (Gpu("NVIDIA GeForce RTX 4090", 25.8, 24.0),)]),
    speed=st.one_of(st.none(), st.floats(1, 1e5)),
)


@settings(max_examples=25, deadline=None)
@given(workloads, all_settings, environments)
def test_parts_add_up_and_rows_are_sorted(
    what: Workload, plan_settings: PlanSettings, where: Environment
) -> None:
    rows = price_plans(CATALOGUE, what, plan_settings, where)
    assert sorted(row.provider for row in rows) == sorted(PROVIDERS)
    for row in rows:
        if row.total is not None:
            assert row.total == Money.sum(part.usd for part in row.parts)
            assert 0 <= row.total.low <= row.total.expected <= row.total.high
            assert round(math.fsum(part.usd.low for part in row.parts), 6) == row.total.low
        if row.seconds is not None:
            assert 0 <= row.seconds[0] <= row.seconds[1]
        assert row.state != "blocked" or row.blockers
        assert row.state == "ready" or row.reason
        assert row.total is not None or row.reason
    totals = [row.total.expected if row.total else math.inf for row in rows]
    assert totals == sorted(totals)


@settings(max_examples=25, deadline=None)
@given(
    workloads,
    all_settings,
    environments,
    st.floats(1, 5),
    st.sampled_from(["rows", "epochs", "hours"]),
)
def test_more_rows_epochs_or_hours_never_cost_less(
    what: Workload, plan_settings: PlanSettings, where: Environment, factor: float, axis: str
) -> None:
    more, bigger = what, plan_settings
    if axis == "rows":
        file = what.roles["conversation"]
        more = what.scaled(math.ceil((file.rows + file.valid_rows) * factor))
    elif axis == "epochs":
        bigger = PlanSettings(
            plan_settings.epochs * factor,
            plan_settings.size,
            plan_settings.chat_hours,
            plan_settings.method,
        )
    else:
        bigger = PlanSettings(
            plan_settings.epochs,
            plan_settings.size,
            plan_settings.chat_hours * factor,
            plan_settings.method,
        )
    before = {row.provider: row.total for row in price_plans(CATALOGUE, what, plan_settings, where)}
    for row in price_plans(CATALOGUE, more, bigger, where):
        old = before[row.provider]
        if CATALOGUE.provider[row.provider].kind == "machines":
            # Another machine may be the cheapest then, and its range a narrower one.
            assert not (old and row.total) or row.total.expected >= old.expected - CENT
        else:
            _never_less(old, row.total)


@settings(max_examples=15, deadline=None)
@given(workloads, all_settings, st.floats(1, 10))
def test_a_dearer_price_never_makes_a_plan_cheaper(
    what: Workload, plan_settings: PlanSettings, factor: float
) -> None:
    document = bundled_document()
    raised = _dearer(document["provider"], factor)
    assert raised > 40
    dear = Catalogue.model_validate(document)
    before = {
        row.provider: row.total
        for row in price_plans(CATALOGUE, what, plan_settings, environment())
    }
    paid = 0.0
    for row in price_plans(dear, what, plan_settings, environment()):
        _never_less(before[row.provider], row.total)
        paid += row.total.expected if row.total else 0.0
    # The prices that were raised are those that are paid.
    was = sum(total.expected for total in before.values() if total)
    assert paid == pytest.approx(was * factor, rel=1e-3, abs=0.01)


def _dearer(document: dict[str, Any], factor: float) -> int:
    """Raise every price in `document`; how many there were."""
    raised = 0
    for value in document.values():
        if isinstance(value, dict) and "expected" in value:
            raised += 1
            for name in {"low", "expected", "high"} & value.keys():
                value[name] *= factor
        elif isinstance(value, dict):
            raised += _dearer(value, factor)
    return raised


def _never_less(old: Money | None, new: Money | None) -> None:
    if old is not None and new is not None:
        assert new.low >= old.low - CENT
        assert new.expected >= old.expected - CENT
        assert new.high >= old.high - CENT


def test_together_by_hand(catalogue: Catalogue) -> None:
    row = row_of(
        catalogue, "together", workload(), PlanSettings(epochs=2, chat_hours=0.5), environment()
    )
    # Two agents, each 2 × 200,000 trained and 2 × 20,000 validated, at $0.48 per million.
    assert [round(part.usd.expected, 4) for part in row.parts] == [0.2112, 0.2112, 3.99]
    assert row.training_tokens == 800_000
    assert row.total is not None and row.total.expected == pytest.approx(4.4124)
    assert row.price_as_of is not None and row.price_stale
    assert row.state == "needs_key" and "TOGETHER_API_KEY" in row.reason


def test_the_models_own_tokenizer_is_taken_where_it_counted(catalogue: Catalogue) -> None:
    tokens = role(counts={"Qwen3": TokenCount(100_000, 10_000, 250)})
    what = Workload({"conversation": tokens, "feedback": tokens}, "rows.jsonl")
    own = row_of(catalogue, "together", what, PlanSettings(epochs=1), environment())
    other = row_of(catalogue, "bedrock_llama", what, PlanSettings(epochs=1), environment())
    assert (own.training_tokens, own.exact) == (200_000, True)
    assert (other.training_tokens, other.exact) == (400_000, False)
    assert any("±15 %" in note for note in other.notes)


def test_chat_is_free_where_the_model_fits_here_and_billed_where_not(catalogue: Catalogue) -> None:
    without = row_of(catalogue, "runpod", workload(), PlanSettings(), environment())
    with_gpu = row_of(
        catalogue,
        "runpod",
        workload(),
        PlanSettings(),
        environment(gpus=(Gpu("RTX 4090", 25.8, 24),)),
    )
    assert without.total is not None and with_gpu.total is not None
    assert with_gpu.total.expected < without.total.expected
    assert any(part.what == "chat: local" for part in with_gpu.parts)
    assert any("stays on" in part.what for part in without.parts)


def test_the_embedded_engine_is_free_and_its_time_is_measured_or_unknown(
    catalogue: Catalogue,
) -> None:
    unknown = row_of(catalogue, "embedded", workload(), PlanSettings(), environment())
    known = row_of(catalogue, "embedded", workload(), PlanSettings(), environment(speed=200.0))
    assert unknown.total == known.total == Money(0, 0, 0)
    assert unknown.seconds is None and any("not measured yet" in each for each in unknown.notes)
    assert known.seconds is not None
    assert known.seconds[0] < known.training_tokens / 200 < known.seconds[1]
    assert (
        cheapest_ready(price_plans(catalogue, workload(), PlanSettings(), environment())) == unknown
    )


def test_prices_grow_old(catalogue: Catalogue) -> None:
    young = row_of(catalogue, "runpod", workload(), PlanSettings(size="large"), environment())
    later = TODAY.replace(year=2027)
    old = row_of(
        catalogue, "runpod", workload(), PlanSettings(size="large"), environment(today=later)
    )
    assert not young.price_stale and old.price_stale


def test_scaling_keeps_the_average(catalogue: Catalogue) -> None:
    half = workload(rows=1000, tokens=200_000).scaled(550)
    assert half.roles["feedback"].rows == 500
    assert half.roles["feedback"].tokens == 100_000
    assert workload(rows=1000).scaled(1100) == workload(rows=1000)


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("together", "meta-llama/Llama-3.3-70B-Instruct", "Llama-3.3-70B-Instruct"),
        ("fireworks", "accounts/fireworks/models/qwen3-1p7b", "Qwen3-1.7B"),
        ("vast", "Qwen/Qwen3-8B", "Qwen3-8B"),
    ],
)
def test_a_model_has_its_own_price_by_any_of_its_names(
    catalogue: Catalogue, provider: str, name: str, model: str
) -> None:
    row = row_of(catalogue, provider, workload(), PlanSettings(model=name), environment())
    assert row.model == model
    assert row == row_of(catalogue, provider, workload(), PlanSettings(model=model), environment())
    assert row.total is not None


def test_the_context_in_a_models_name_is_not_its_size(catalogue: Catalogue) -> None:
    plain, long = (
        row_of(catalogue, "hf_jobs", workload(), PlanSettings(model=name), environment())
        for name in ("Qwen/Qwen2.5-14B-Instruct", "Qwen/Qwen2.5-14B-Instruct-1M")
    )
    assert plain.total is not None and (plain.total, plain.rented) == (long.total, long.rented)
