"""Agents of every kind, from their rows to a reply."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.raw import Line, RawServer
from waltzrl_tui.approvals import approve
from waltzrl_tui.endpoints.base import ChatEndpoint
from waltzrl_tui.endpoints.bedrock import BedrockEndpoint
from waltzrl_tui.endpoints.deployed import DeployedEndpoint
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.pool import RemoteEndpoints
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.local.live import Engines
from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.workspace import Workspace

LONG_AGO = "2026-01-01T00:00:00.000Z"


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    async def good(line: Line) -> None:
        await line.begin()
        await line.text("hello")
        await line.finish()

    made = RawServer()
    made.scripts = [good]
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def store(workspace: Workspace) -> AsyncIterator[Store]:
    async with await Store.open(workspace) as opened:
        yield opened


@pytest.fixture
async def engines(workspace: Workspace) -> AsyncIterator[Engines]:
    made = Engines(workspace)
    yield made
    await made.close()


async def said(endpoint: ChatEndpoint) -> str:
    asked = [{"role": "user", "content": "hi"}]
    return "".join([delta.text async for delta in endpoint.stream(asked, max_tokens=9)])


async def deployed(store: Store, url: str, **change: Any) -> None:
    await store.agents.add(
        "tuned", role="conversation", kind="hosted", base="acct/m", url="provider:together"
    )
    await store.agents.add_pair("ours", conversation="tuned")
    row = DeploymentRow(
        tag="t",
        provider="together",
        url="",
        remote_id="d",
        agent="tuned",
        model="acct/m#d",
        base_model="",
        endpoint=url,
        state="ready",
        words="",
        usd_per_hour=4.0,
        idle_minutes=30.0,
        created_at=LONG_AGO,
        up_since=LONG_AGO,
        used_at=LONG_AGO,
        ended_at=None,
    )
    await store.deployments.add(row)
    if change:
        await store.deployments.update("t", **change)


async def test_a_hosted_agent_answers_where_it_is_up_and_each_reply_counts_as_use(
    store: Store, engines: Engines, server: RawServer
) -> None:
    await deployed(store, server.url)
    live = await engines.pair(store, "ours")
    await store.deployments.update("t", used_at=LONG_AGO)
    assert await said(live.conversation) == "hello"
    assert server.bodies[0]["model"] == "acct/m#d"
    assert (await store.deployments.get("t")).used_at > LONG_AGO


async def test_a_reply_that_ends_counts_as_use_too(
    store: Store, engines: Engines, server: RawServer
) -> None:
    await deployed(store, server.url)
    live = await engines.pair(store, "ours")
    deltas = live.conversation.stream([{"role": "user", "content": "hi"}], max_tokens=9)
    await anext(deltas)
    await store.deployments.update("t", used_at=LONG_AGO)
    await deltas.aclose()
    assert (await store.deployments.get("t")).used_at > LONG_AGO


async def test_a_model_that_was_moved_is_found_again(
    store: Store, engines: Engines, server: RawServer
) -> None:
    await deployed(store, "http://127.0.0.1:9/v1")
    live = await engines.pair(store, "ours")
    await store.deployments.update("t", endpoint=server.url, model="acct/m#other")
    assert await said(live.conversation) == "hello"
    assert server.bodies[0]["model"] == "acct/m#other"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"state": "starting"}, "not up yet"), ({"ended_at": LONG_AGO}, "deployments up tuned")],
)
async def test_a_model_that_is_not_up_says_what_to_do(
    store: Store,
    engines: Engines,
    server: RawServer,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "k")
    await deployed(store, server.url, **change)
    with pytest.raises(EndpointError) as caught:
        await engines.pair(store, "ours")
    assert words in str(caught.value)


async def test_a_deployment_on_bedrock_is_asked_by_its_arn(
    store: Store, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("boto3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    arn = "arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/x"
    await deployed(store, "", model=arn)
    agent = await store.agents.get("tuned")
    endpoint = DeployedEndpoint(store, engines._workspace, engines._remote, agent)
    _, found = await endpoint._current()
    assert isinstance(found, BedrockEndpoint)
    assert found._model == arn


@pytest.mark.parametrize(
    ("model", "region"),
    [
        ("arn:aws:bedrock:ap-south-1::foundation-model/amazon.nova-lite-v1:0", "ap-south-1"),
        ("arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.meta.x", "us-west-2"),
        ("arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:custom-model/y", "us-gov-west-1"),
        ("amazon.nova-lite-v1:0", "eu-central-1"),
    ],
)
@pytest.mark.parametrize("by", ["AWS_REGION", "profile"])
async def test_a_model_on_bedrock_is_asked_in_its_region(
    store: Store,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    model: str,
    region: str,
    by: str,
) -> None:
    """That of its ARN, else of the environment, else of the profile."""
    pytest.importorskip("boto3")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("WALTZRL_BEDROCK_REGION", raising=False)
    config = tmp_path / "config"
    config.write_text(
        "[profile mine]\nregion = eu-central-1\n"
        "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    if by == "profile":
        monkeypatch.setenv("AWS_PROFILE", "mine")
    else:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
    await store.agents.add("nova", role="conversation", kind="bedrock", base=model, url="bedrock:")
    endpoints = RemoteEndpoints(workspace)
    found = await endpoints.open(await store.agents.get("nova"))
    assert isinstance(found, BedrockEndpoint)
    client = await found._aws.client("bedrock-runtime")
    assert client.meta.region_name == region
    assert f".{region}." in client.meta.endpoint_url
    await endpoints.close()


async def test_asking_for_a_pair_again_keeps_its_connections(
    store: Store, engines: Engines, server: RawServer
) -> None:
    await store.agents.add("a", role="conversation", kind="openai", base="m", url=server.url)
    await store.agents.add_pair("ours", conversation="a")
    first = (await engines.pair(store, "ours")).conversation
    assert (await engines.pair(store, "ours")).conversation is first


async def test_a_key_that_is_changed_is_used(
    store: Store, workspace: Workspace, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.agents.add(
        "a", role="conversation", kind="openai", base="m", url=server.url, key_env="MY_KEY"
    )
    agent = await store.agents.get("a")
    approve("MY_KEY", server.url)
    endpoints = RemoteEndpoints(workspace)
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(EndpointError, match="MY_KEY"):
        await endpoints.open(agent)
    monkeypatch.setenv("MY_KEY", "one")
    first = await endpoints.open(agent)
    monkeypatch.setenv("MY_KEY", "two")
    assert await endpoints.open(agent) is not first
    await endpoints.close()


async def test_anthropic_without_its_sdk_is_asked_in_the_form_of_openai(
    store: Store, workspace: Workspace, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waltzrl_tui.endpoints.pool.find_spec", lambda name: None)
    await store.agents.add(
        "judge",
        role="feedback",
        kind="anthropic",
        base="claude-x",
        url=server.url.removesuffix("/v1"),
    )
    endpoints = RemoteEndpoints(workspace)
    endpoint = await endpoints.open(await store.agents.get("judge"))
    assert isinstance(endpoint, OpenAIEndpoint)
    assert await said(endpoint) == "hello"
    await endpoints.close()
