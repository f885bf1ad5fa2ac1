"""Prices asked of loopback servers with the real client."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from tests.support.servers.prices import EVERYTHING, price_server
from waltzrl_tui.plans.catalogue import load_catalogue, prices_path
from waltzrl_tui.plans.refresh import BASES, refresh
from waltzrl_tui.workspace import Workspace

KEYS = ("RUNPOD_API_KEY", "LAMBDA_API_KEY", "TOGETHER_API_KEY")


@pytest.fixture
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in KEYS:
        monkeypatch.setenv(key, f"secret-of-{key}")


@pytest.mark.usefixtures("_keys")
async def test_all_prices_come_and_are_dated(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with price_server(EVERYTHING) as server:
        for variable, _ in BASES.values():
            monkeypatch.setenv(variable, server.url)
        result = await refresh(workspace)
    assert [(one.provider, one.error) for one in result] == [(name, "") for name in BASES]
    provider = load_catalogue(workspace).provider

    def hourly(name: str, machine: str) -> tuple[float, float, float]:
        usd = provider[name].machine[machine].usd_per_hour
        assert "price API" in usd.source and usd.as_of.year >= 2026
        return usd.low, usd.expected, usd.high

    assert hourly("hf_jobs", "L4") == (0.9, 0.9, 0.9)
    assert hourly("runpod", "RTX 4090") == (0.31, 0.44, 0.44)
    assert hourly("vast", "RTX 4090") == (0.3, 0.4, 0.48)
    assert hourly("lambda", "A10") == (0.75, 0.75, 0.75)
    together = provider["together"].offer["default"]
    assert together.sft is not None and together.sft.expected == 0.55
    assert together.hosting is not None and together.hosting.expected == pytest.approx(6.6)
    # An A100 of 40 GB is not priced as one of 80 GB, and a price of 0 is none.
    assert "price API" not in provider["vast"].machine["A100 80GB"].usd_per_hour.source
    large = provider["together"].offer["large"].sft
    assert large is not None and "price API" not in large.source
    bearers = {path: bearer for path, bearer, _ in server.asked}
    assert bearers["/v2/catalog/gpus"] == "Bearer secret-of-RUNPOD_API_KEY"
    kept = prices_path(workspace)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "secret" not in kept.read_text()


@pytest.mark.usefixtures("_keys")
async def test_who_fails_is_told_and_old_prices_stay(workspace: Workspace) -> None:
    with price_server(EVERYTHING) as server:
        everywhere = dict.fromkeys(BASES, server.url)
        await refresh(workspace, only=["lambda"], bases=everywhere)
        server.answers |= {
            "/api/v1/instance-types": (500, {}),
            "/v2/catalog/gpus": (401, {}),
            "/api/v0/bundles/": (200, "<html>"),
            "/v1/models": (200, {"surprise": 1}),
        }
        result = {one.provider: one for one in await refresh(workspace, bases=everywhere)}
    assert result["hf_jobs"].prices == 1
    assert result["lambda"].error == "it answered with status 500"
    assert result["runpod"].error == "it needs a valid key"
    assert result["vast"].error == "its response is not JSON"
    assert "unexpected response" in result["together"].error
    machines = load_catalogue(workspace).provider["lambda"].machine
    assert machines["A10"].usd_per_hour.expected == 0.75


async def test_without_keys_and_network_nothing_breaks(workspace: Workspace) -> None:
    closed = dict.fromkeys(BASES, "http://127.0.0.1:9")
    result = {one.provider: one.error for one in await refresh(workspace, bases=closed)}
    assert all(result.values())
    assert result["runpod"] == "it needs RUNPOD_API_KEY"
    assert not prices_path(workspace).exists()


async def test_absurd_prices_are_not_taken(workspace: Workspace, tmp_path: Path) -> None:
    absurd = json.loads(json.dumps(EVERYTHING["/api/v0/bundles/"][1]))
    for offer in absurd["offers"]:
        offer["dph_total"] = 1e9
    with price_server({"/api/v0/bundles/": (200, absurd)}) as server:
        (result,) = await refresh(workspace, only=["vast"], bases={"vast": server.url})
    assert result.error == "its response has no known price"
