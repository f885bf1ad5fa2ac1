"""Every refusal that once cost money, found before anything is uploaded."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from tests.support.plans import environment, role, row_of, workload
from waltzrl_tui.plans.model import Gpu, PlanSettings, Probe, Workload
from waltzrl_tui.plans.preflight import steps_for
from waltzrl_tui.plans.price import price_plans
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.records.roles import ROLES, Role

ALL_KEYS = frozenset(
    {"TOGETHER_API_KEY", "FIREWORKS_API_KEY", "OPENAI_API_KEY", "MISTRAL_API_KEY", "HF_TOKEN"}
)
OPENED = {
    name: Probe(True, "fine-tuning is on", "2026-11-22T10:00:00Z") for name in ("openai", "mistral")
}


def test_a_step_that_is_not_full_counts() -> None:
    assert steps_for(253, 253, 64) == 1001
    assert steps_for(216, 3, 8) == 81


@pytest.mark.parametrize(
    ("provider", "what", "settings", "text"),
    [
        ("mistral", workload(), PlanSettings(epochs=253), "253 epochs exceed the limit of 100"),
        ("hf_jobs", workload(), PlanSettings(epochs=101), "the limit of 100"),
        ("together", workload(), PlanSettings(epochs=2.5), "choose 2 or 3"),
        ("bedrock", workload(), PlanSettings(epochs=6), "the limit of 5"),
        ("openai", workload(rows=9), PlanSettings(), "the minimum is 10"),
        ("fireworks", workload(rows=2), PlanSettings(), "the minimum is 3"),
        ("fireworks", workload(rows=3_000_001), PlanSettings(), "the maximum is 3,000,000"),
        ("openai", workload(bytes=600_000_000), PlanSettings(), "600 MB, the maximum is 512 MB"),
        ("together", workload(longest=40_000), PlanSettings(), "the model reads 32,768"),
        ("hf_jobs", workload(), PlanSettings(method="dpo"), "DPO is not offered"),
        ("together", workload(), PlanSettings(budget_usd=1.0), "over the budget of $1.00"),
        ("together", workload(), PlanSettings(model="no-such-7B"), "no known price"),
        (
            "bedrock",
            workload(),
            PlanSettings(model="meta.llama3-1-8b-instruct-v1:0:128k"),
            "no known price",
        ),
        ("tinker", workload(), PlanSettings(model="Qwen/Qwen3-1.7B"), "no known price"),
        ("hf_jobs", workload(), PlanSettings(model="mystery"), "cannot be read from its name"),
        (
            "hf_jobs",
            workload(),
            PlanSettings(model="vast/Model-405B"),
            "no machine with a known price",
        ),
    ],
)
def test_what_would_be_refused_blocks(
    catalogue: Catalogue, provider: str, what: Workload, settings: PlanSettings, text: str
) -> None:
    row = row_of(catalogue, provider, what, settings, environment(ALL_KEYS, probes=OPENED))
    assert row.state == "blocked"
    assert any(text in blocker for blocker in row.blockers), row.blockers


def test_a_wide_machine_holds_what_one_gpu_does_not(catalogue: Catalogue) -> None:
    settings = PlanSettings(model="vast/Model-180B")
    assert row_of(catalogue, "vast", workload(), settings, environment()).total is not None
    assert row_of(catalogue, "lambda", workload(), settings, environment()).state == "blocked"


def test_datasets_that_cannot_train_a_pair(catalogue: Catalogue) -> None:
    whole = workload()
    no_labels = replace(whole, roles={"conversation": role()})
    no_replies = replace(whole, roles={"feedback": role()})
    for what, text in ((no_labels, "no row has a label"), (no_replies, "no row has a reply")):
        row = row_of(catalogue, "embedded", what, PlanSettings(), environment())
        assert row.state == "blocked" and text in row.reason
    disordered = replace(whole, misordered=3)
    assert (
        row_of(catalogue, "embedded", disordered, PlanSettings(), environment()).state == "blocked"
    )


def test_empty_replies_are_reported_not_uploaded(catalogue: Catalogue) -> None:
    row = row_of(
        catalogue, "embedded", replace(workload(), empty_replies=50), PlanSettings(), environment()
    )
    assert row.state == "ready"
    assert any("50 rows with an empty reply" in each for each in row.warnings)


@pytest.mark.parametrize(
    ("provider", "since", "instead"),
    [
        ("openai", "7 May 2026", "Together"),
        ("mistral", "27 March 2026", "Together"),
        ("claude_haiku", "10 September 2026", "Bedrock Nova"),
        ("hf_autotrain", "21 January 2025", "HF Jobs"),
    ],
)
def test_a_closed_provider_says_since_when_and_what_to_use(
    catalogue: Catalogue, provider: str, since: str, instead: str
) -> None:
    row = row_of(catalogue, provider, workload(), PlanSettings(), environment(ALL_KEYS))
    assert (row.state, row.total) == ("closed", None)
    assert f"closed since {since}" in row.reason and f"use {instead} instead" in row.reason


def test_a_probe_reopens_what_is_closed_until_it_ends(catalogue: Catalogue) -> None:
    row = row_of(
        catalogue,
        "openai",
        workload(),
        PlanSettings(epochs=1),
        environment(ALL_KEYS, probes=OPENED),
    )
    assert row.state == "ready" and row.total is not None
    assert row.total.expected == pytest.approx(2 * 200_000 * 3e-6)
    assert any("2027-01-06" in each for each in row.warnings)
    ended = environment(ALL_KEYS, probes=OPENED, today=date(2027, 1, 6))
    assert row_of(catalogue, "openai", workload(), PlanSettings(), ended).state == "closed"
    shut = environment(ALL_KEYS, probes={"together": Probe(False, "quota is 0", "")})
    row = row_of(catalogue, "together", workload(), PlanSettings(), shut)
    assert row.state == "closed" and "quota is 0" in row.reason


@pytest.mark.parametrize(
    ("gpu", "size", "state", "text"),
    [
        (Gpu("NVIDIA GeForce RTX 4090", 25.8, 25.0), "default", "ready", "LoRA needs about"),
        (Gpu("NVIDIA L4", 16.0, 15.5), "default", "ready", "QLoRA needs about"),
        (Gpu("NVIDIA GeForce RTX 4090", 25.8, 25.0), "large", "blocked", "even in 4 bits"),
        (Gpu("NVIDIA GeForce RTX 4090", 25.8, 5.0), "default", "ready", "are free now"),
        (Gpu("Strange GPU", 48.0, 48.0), "default", "ready", "time not known"),
    ],
)
def test_the_own_gpu_is_checked(
    catalogue: Catalogue, gpu: Gpu, size: str, state: str, text: str
) -> None:
    row = row_of(
        catalogue, "own_gpu", workload(), PlanSettings(size=size), environment(gpus=(gpu,))
    )  # type: ignore[arg-type]
    assert row.state == state
    assert any(text in each for each in (*row.blockers, *row.warnings, *row.notes))
    assert (
        row_of(catalogue, "own_gpu", workload(), PlanSettings(), environment()).state == "needs_gpu"
    )


@pytest.mark.parametrize("alone", ROLES)
def test_one_agent_is_planned_alone(catalogue: Catalogue, alone: Role) -> None:
    [other] = set(ROLES) - {alone}
    what = workload().only([alone])
    for row in price_plans(
        catalogue, what, PlanSettings(roles=(alone,), chat_hours=0), environment(ALL_KEYS)
    ):
        assert not any("no row has" in each for each in row.blockers), row
    for row in price_plans(catalogue, what, PlanSettings(), environment(ALL_KEYS)):
        assert any(f"--role {alone}" in each for each in row.blockers), row
    for row in price_plans(catalogue, what, PlanSettings(roles=(other,)), environment(ALL_KEYS)):
        assert row.total is None and any("no row has" in each for each in row.blockers), row


def test_one_agent_costs_its_share(catalogue: Catalogue) -> None:
    choices = [PlanSettings(roles=roles, chat_hours=0) for roles in (ROLES, ROLES[:1], ROLES[1:])]
    both, one, other = (
        row_of(catalogue, "together", workload(), settings, environment()).total
        for settings in choices
    )
    assert both and one and other
    assert both.expected == pytest.approx(one.expected + other.expected)
