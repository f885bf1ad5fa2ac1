"""The catalogue and what the user puts over it."""

from __future__ import annotations

import json
import tomllib
from importlib import resources

import pytest

from tests.support.plans import environment, row_of, workload
from waltzrl_tui.plans.catalogue import PlanError, load_catalogue
from waltzrl_tui.plans.model import SIZES, PlanSettings
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.throughput import match_gpu, memory_gb
from waltzrl_tui.records.providers import PROVIDERS
from waltzrl_tui.workspace import Workspace


def test_every_place_of_the_design_is_there(catalogue: Catalogue) -> None:
    assert set(catalogue.provider) == {
        *("embedded", "own_gpu", "together", "fireworks", "tinker", "bedrock", "bedrock_llama"),
        *("hf_jobs", "runpod", "vast", "lambda", "hf_autotrain", "mistral", "openai"),
        "claude_haiku",
    }
    for name in ("together", "fireworks", "hf_jobs", "runpod", "vast", "lambda"):
        for size in SIZES:
            row = row_of(catalogue, name, workload(), PlanSettings(size=size), environment())
            if (name, size) == ("hf_jobs", "large"):
                # Our worker trains on one GPU in 16 bits: none there holds 70B.
                assert row.state == "blocked" and "choose a smaller model" in row.reason
                continue
            assert row.total is not None and row.price_source and row.price_as_of, (name, size)


def test_a_price_of_the_users_own_is_just_a_number(workspace: Workspace) -> None:
    (workspace.home / "plans.toml").write_text("[provider.bedrock.offer.default]\nsft = 2.0\n")
    result = load_catalogue(workspace)
    row = row_of(result, "bedrock", workload(), PlanSettings(epochs=1), environment())
    assert row.total is not None and row.total.expected == pytest.approx(0.8)
    assert row.price_source == "plans.toml"


def test_the_table_of_providers_is_the_only_owner_of_their_facts(workspace: Workspace) -> None:
    source = resources.files("waltzrl_tui.plans").joinpath("catalogue.toml").read_text("utf-8")
    entries = tomllib.loads(source)["provider"]
    assert not [name for name, entry in entries.items() if {"title", "keys", "methods"} & {*entry}]
    # A file of the user's that still names such a field is valid, and overrides it.
    (workspace.home / "plans.toml").write_text(
        '[provider.mistral]\ntitle = "M"\nkeys = ["MY_KEY"]\nmethods = ["sft", "dpo"]\n'
        "limits = { max_suffix = 20, concurrent_jobs = 3 }\n"
    )
    bundled, changed = (load_catalogue(place).provider["mistral"] for place in (None, workspace))
    facts = PROVIDERS["mistral"]
    assert (bundled.title, bundled.keys, bundled.methods) == (
        facts.title,
        facts.keys,
        facts.methods,
    )
    assert bundled.limits.max_suffix == facts.tag_length
    assert bundled.limits.concurrent_jobs == facts.concurrent_jobs
    assert (changed.title, changed.keys, changed.methods) == ("M", ("MY_KEY",), ("sft", "dpo"))
    assert (changed.limits.max_suffix, changed.limits.concurrent_jobs) == (20, 3)
    assert changed.limits.batch_rows == bundled.limits.batch_rows


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            '[provider.vast]\ntitle = "V"\n\n[provider.vast.limits]\nmax_epoch = 3\n',
            5,
            "max_epochs",
        ),
        ("[provider.together.offer.default]\nsft = -1\n", 2, "sft.low"),
        ("[provider.together.offer.default]\nsft = { expected = 1, hihg = 2 }\n", 2, "hihg"),
        ("[provider.runpod]\nnotes = [\n  'a',\n  3,\n]\n", 2, "notes"),
        ("[provider.runpod]\n\ntitle = \n", 3, "line 3"),
        ('[provider.mine]\ntitle = "Mine"\n', 1, "kind"),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_field(
    workspace: Workspace, text: str, line: int, problem: str
) -> None:
    (workspace.home / "plans.toml").write_text(text)
    with pytest.raises(PlanError) as caught:
        load_catalogue(workspace)
    message = str(caught.value)
    assert "plans.toml" in message and f"line {line}" in message and problem in message


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"prices": 3}', '{"prices": {"x": 1}}', "[" * 9999]
)
def test_damaged_refreshed_prices_are_reported_with_what_to_do(
    workspace: Workspace, text: str
) -> None:
    (workspace.state / "prices.json").write_text(text)
    with pytest.raises(PlanError, match="--refresh"):
        load_catalogue(workspace)


def test_refreshed_prices_lie_under_the_users_own(workspace: Workspace) -> None:
    dear = {"low": 9, "expected": 9, "high": 9, "as_of": "2026-11-22", "source": "price API"}
    prices = {"provider": {"lambda": {"machine": {"A10": {"usd_per_hour": dear}}}}}
    (workspace.state / "prices.json").write_text(json.dumps({"prices": prices}))
    assert load_catalogue(workspace).provider["lambda"].machine["A10"].usd_per_hour.expected == 9
    (workspace.home / "plans.toml").write_text(
        '[provider.lambda.machine."A10"]\nusd_per_hour = 2.0\n'
    )
    assert load_catalogue(workspace).provider["lambda"].machine["A10"].usd_per_hour.high == 2


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA H200", "H200"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("H100_SXM", "H100 SXM"),
        ("NVIDIA GeForce GTX 1060", None),
    ],
)
def test_gpus_are_known_by_their_many_names(
    catalogue: Catalogue, name: str, result: str | None
) -> None:
    assert match_gpu(catalogue, name) == result


@pytest.mark.parametrize(
    ("longest", "precision", "published"),
    [(256, "LoRA", 20.1), (2048, "LoRA", 23.8), (8192, "LoRA", 36.6), (256, "QLoRA", 11.5)],
)
def test_memory_agrees_with_what_was_published(
    longest: int, precision: str, published: float
) -> None:
    assert memory_gb(7.72, longest, precision) == pytest.approx(published, rel=0.05)  # type: ignore[arg-type]
