"""One answer to what an agent costs, for chat, evaluation and `serve`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from waltzrl_tui.endpoints.costs import FREE, BillingRate, rate_of
from waltzrl_tui.evaluation.agents_of_run import known_prices
from waltzrl_tui.store import Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.workspace import Workspace

NOW = "2026-11-28T00:00:00.000Z"


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        for name, kind, url in (
            ("here", "embedded", ""),
            ("local", "openai", "http://127.0.0.1:8000/v1"),
            ("far", "openai", "https://api.example.com/v1"),
            ("tuned", "hosted", "provider:together"),
        ):
            await opened.agents.add(
                name,
                role="conversation",
                kind=kind,  # type: ignore[arg-type]
                base="m",
                url=url,
            )
        yield opened


async def up(store: Store, usd_per_hour: float | None, state: str = "ready") -> None:
    row = DeploymentRow(
        tag="t",
        provider="together",
        url="",
        remote_id="d",
        agent="tuned",
        model="m#d",
        base_model="",
        endpoint="",
        state=state,
        words="",
        usd_per_hour=usd_per_hour,
        idle_minutes=30.0,
        created_at=NOW,
        up_since=NOW,
        used_at=NOW,
        ended_at=None,
    )
    await store.deployments.add(row)


async def rate(store: Store, name: str) -> BillingRate | None:
    return rate_of(
        await store.agents.get(name),
        await store.deployments.list(up=True),
        await store.answers.prices(),
    )


async def price(store: Store, name: str) -> Price | None:
    return (await known_prices(store, {name: await store.agents.get(name)}))[name]


async def test_what_runs_here_is_free_and_what_does_not_is_unknown(store: Store) -> None:
    assert [await rate(store, name) for name in ("here", "local", "far", "tuned")] == [
        FREE,
        FREE,
        None,
        None,
    ]
    # A model that its provider answers for without a deployment is billed by the token.
    assert [await price(store, name) for name in ("here", "far", "tuned")] == [
        Price(0.0, 0.0),
        None,
        None,
    ]


async def test_a_price_that_was_said_counts_everywhere(store: Store) -> None:
    for name in ("local", "far", "tuned"):
        await store.answers.set_price(name, Price(1.0, 4.0))
        assert await rate(store, name) == BillingRate(0.0, 1.0, 4.0)
        assert await price(store, name) == Price(1.0, 4.0)
    await store.answers.set_price("far", Price(0.0, 0.0))
    assert await rate(store, "far") == FREE
    await store.agents.remove("far")
    assert "far" not in await store.answers.prices()


async def test_a_deployment_is_billed_by_the_hour_while_it_is_up(store: Store) -> None:
    await store.answers.set_price("tuned", Price(1.0, 4.0))
    await up(store, 4.0)
    assert await rate(store, "tuned") == BillingRate(4.0)
    assert await price(store, "tuned") == Price(0.0, 0.0)


@pytest.mark.parametrize("usd_per_hour", [0.0, None])
async def test_a_deployment_without_an_hourly_price_is_billed_by_the_token(
    store: Store, usd_per_hour: float | None
) -> None:
    await up(store, usd_per_hour)
    assert await rate(store, "tuned") is None
    await store.answers.set_price("tuned", Price(1.0, 4.0))
    assert await rate(store, "tuned") == BillingRate(0.0, 1.0, 4.0)
