"""`deployments`: what it lists."""

from __future__ import annotations

from tests.support.cli import Cli
from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import DeploymentRow


def _row(tag: str, *, ended_at: str | None) -> DeploymentRow:
    return DeploymentRow(
        tag=tag,
        provider="together",
        url="http://127.0.0.1:9",
        remote_id="",
        agent="mine",
        model="m",
        base_model="b",
        endpoint="",
        state="stopped" if ended_at else "wanted",
        words="",
        usd_per_hour=1.0,
        idle_minutes=30.0,
        created_at="2026-01-01T00:00:00+00:00",
        up_since=None,
        used_at="2026-01-01T00:00:00+00:00",
        ended_at=ended_at,
    )


def test_up_lists_only_what_has_not_ended(cli: Cli) -> None:
    async def deploy(store: Store) -> None:
        await store.deployments.add(_row("old-1", ended_at="2026-01-01T01:00:00+00:00"))

    cli.store(deploy)
    assert "old-1" in cli("deployments", "list").out
    assert cli("deployments", "list", "--up").out == "No deployment is up.\n"
    assert cli("deployments", "list", "--up", "--json").document == {"deployments": []}
