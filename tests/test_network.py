"""Proxies and certificates of the environment: never for this machine, clear words elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulators.bedrock import BedrockEmulator
from tests.support.emulators.fireworks import FireworksEmulator
from tests.support.emulators.hub import HubEmulator, HubSet
from tests.support.emulators.huggingface import HuggingFaceEmulator
from tests.support.emulators.mistral import MistralEmulator
from tests.support.emulators.openai import OpenAIEmulator
from tests.support.emulators.together import TogetherEmulator
from tests.support.servers.recording_proxy import RecordingProxy
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.approvals import approve
from waltzrl_tui.datasets.hub.pull import pull
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.endpoints.prices import fetch_price
from waltzrl_tui.endpoints.retry import Timeouts
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.network import is_loopback, proxy_of
from waltzrl_tui.plans.refresh import refresh
from waltzrl_tui.providers.errors import UnavailableError
from waltzrl_tui.providers.protocol import ProviderContext
from waltzrl_tui.providers.registry import _factory
from waltzrl_tui.remote.probe import probe
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store.rows import AgentRow
from waltzrl_tui.workspace import Workspace

PASSWORD = "hunter2secret"
CLOSED = "http://me:hunter2secret@127.0.0.1:1"
REMOTE = "http://models.invalid/v1"
SURROUNDINGS = {
    "http": {"HTTP_PROXY": "http://{}", "HTTPS_PROXY": "http://{}", "ALL_PROXY": "http://{}"},
    "socks": {"ALL_PROXY": "socks5://{}"},
    "unknown": {"all_proxy": "socks9://x", "http_proxy": "socks9://x"},
    "nonsense": {"HTTP_PROXY": "http://[::", "HTTPS_PROXY": "http://a b:c"},
    "certificates": {"SSL_CERT_FILE": "/nonexistent"},
}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=SURROUNDINGS.values(), ids=list(SURROUNDINGS))
def proxy(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordingProxy]:
    with RecordingProxy() as made:
        for name, value in request.param.items():
            monkeypatch.setenv(name, value.format(made.address))
        yield made


def an_agent(url: str) -> AgentRow:
    return AgentRow(
        name="it",
        role="conversation",
        kind="openai",
        base="m",
        adapter="",
        prompt="",
        url=url,
        key_env="",
        job_id="",
        created_at="",
    )


async def ask(url: str, *, streaming: bool) -> str | EndpointError:
    once = Timeouts(attempts=1)
    endpoint = OpenAIEndpoint(url, "k", "m", name="it", streaming=streaming, timeouts=once)
    try:
        turns = [{"role": "user", "content": "hello"}]
        async with asyncio.timeout(20), aclosing(endpoint.stream(turns, max_tokens=9)) as deltas:
            return "".join([delta.text async for delta in deltas])
    except EndpointError as error:
        return error
    finally:
        await endpoint.close()


async def test_what_runs_here_is_asked_without_a_proxy(
    proxy: RecordingProxy, chat_server: ChatServer
) -> None:
    for host in ("127.0.0.1", "localhost"):
        url = chat_server.url.replace("127.0.0.1", host)
        for streaming in (True, False):
            assert await ask(url, streaming=streaming) == "ok"
    assert proxy.heads == []


async def test_lists_of_models_and_prices_here_are_asked_without_a_proxy(
    proxy: RecordingProxy, workspace: Workspace
) -> None:
    listed = {"data": [{"id": "m", "pricing": {"input": 1, "output": 2}}]}
    flavours = [{"name": "t4-small", "unitLabel": "minute", "unitCostUSD": 0.01}]
    with RecordingProxy(body=json.dumps(listed).encode()) as server:
        answer = await fetch_price(an_agent(f"http://{server.address}/v1"), "")
        assert answer.price is not None, answer.words
    with RecordingProxy(body=json.dumps(flavours).encode()) as server:
        bases = {"hf_jobs": f"http://{server.address}"}
        (done,) = await refresh(workspace, only=["hf_jobs"], bases=bases)
        assert not done.error
    assert proxy.heads == []


@pytest.mark.parametrize(
    ("name", "emulator"),
    [
        ("openai", OpenAIEmulator),
        ("together", TogetherEmulator),
        ("fireworks", FireworksEmulator),
        ("mistral", MistralEmulator),
        ("hf_jobs", HuggingFaceEmulator),
        ("bedrock", BedrockEmulator),
    ],
)
async def test_a_provider_here_is_asked_without_a_proxy(
    proxy: RecordingProxy,
    name: str,
    emulator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with emulator(speed=300.0) as there:
        keys = {"AWS_SECRET_ACCESS_KEY": "s" * 20, "AWS_SESSION_TOKEN": ""}
        url = f"{there.url}/v1" if name == "openai" else there.url
        context = ProviderContext(lambda each: keys.get(each, there.key), url, tmp_path)
        provider = _factory(name)(context)
        try:
            assert (await provider.probe()).key_ok
        finally:
            await provider.close()
    # The hub's client also asks the hub itself for things of its own.
    assert not [head for head in proxy.heads if "127.0.0.1" in head]


def test_a_hub_here_is_asked_without_a_proxy(
    proxy: RecordingProxy,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with HubEmulator({}) as hub:
        hub.sets["lab/set"] = HubSet({"main": {"train.jsonl": b'{"prompt": "a", "reply": "r"}\n'}})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        assert pull(workspace, "lab/set").bytes > 0
    assert proxy.heads == []


@pytest.mark.parametrize("streaming", [True, False])
async def test_what_is_elsewhere_is_asked_through_the_proxy(
    streaming: bool, monkeypatch: pytest.MonkeyPatch, chat_server: ChatServer
) -> None:
    # The scripted server answers whatever host it is asked for, as a forwarding proxy does.
    monkeypatch.setenv("HTTP_PROXY", chat_server.url.removesuffix("/v1"))
    assert await ask(REMOTE, streaming=streaming) == "ok"
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("url", [REMOTE, REMOTE.replace("http:", "https:")])
async def test_a_proxy_that_fails_is_named_without_its_password(
    streaming: bool, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RecordingProxy("407 Proxy Authentication Required") as locked:
        for address in ("127.0.0.1:1", locked.address):
            monkeypatch.setenv("ALL_PROXY", f"http://me:{PASSWORD}@{address}")
            error = await ask(url, streaming=streaming)
            assert isinstance(error, EndpointError)
            assert f"through the proxy http://…@{address} of ALL_PROXY" in error.message
            assert "NO_PROXY" in error.hint
            assert PASSWORD not in str(error)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks5://me:hunter2secret@127.0.0.1:9"),
        ("ALL_PROXY", "socks9://x"),
        ("HTTPS_PROXY", "http://me:hunter2secret@[::"),
        ("HTTPS_PROXY", "http://me:hunter2secret/1@host:3128"),
        ("SSL_CERT_FILE", "/nonexistent"),
    ],
)
async def test_an_environment_that_cannot_work_is_named(
    streaming: bool, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    url = "https://models.invalid/v1"
    error = await ask(url, streaming=streaming)
    assert isinstance(error, EndpointError)
    assert variable in error.message
    assert f"unset {variable}" in error.hint or "unset it" in error.hint
    listed = await fetch_price(an_agent(url), "")
    assert variable in listed.words
    assert PASSWORD not in f"{error} {listed.words}"


async def test_what_doctor_shows_of_a_provider_names_the_proxy(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", CLOSED)
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
    providers = Providers(workspace)
    approve("openai", "https://models.invalid")
    (row,) = await probe(None, providers, ["openai"], urls={"openai": "https://models.invalid"})
    await providers.close()
    assert "through the proxy http://…@127.0.0.1:1 of ALL_PROXY" in row.words


async def test_a_provider_names_the_proxy_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, words in (
        (CLOSED, "through the proxy"),
        ("socks5://x:1", "unsupported kind of proxy"),
    ):
        monkeypatch.setenv("ALL_PROXY", value)
        for name in ("openai", "together", "fireworks", "mistral", "hf_jobs"):
            context = ProviderContext(lambda _: "k" * 20, "https://models.invalid", tmp_path)
            provider = _factory(name)(context)
            with pytest.raises(UnavailableError) as caught:
                await provider.probe()
            await provider.close()
            shown = f"{caught.value} {caught.value.words}"
            assert words in shown, (name, shown)
            assert "ALL_PROXY" in shown
            assert PASSWORD not in shown


@pytest.mark.parametrize(
    ("entries", "url", "direct"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:8000/v1", True),
        ("10.0.0.0/8", "http://11.1.2.3:8000/v1", False),
        ("example.com", "https://api.example.com/v1", True),
        ("*.example.com", "https://api.example.com/v1", True),
        ("example.com", "https://badexample.com/v1", False),
        ("*", "https://api.example.com/v1", True),
    ],
)
def test_no_proxy_names_hosts_domains_and_networks(
    entries: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", entries)
    assert (proxy_of(url) is None) is direct


def test_loopback_is_more_than_one_address() -> None:
    here = ("127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "localhost", "LOCALHOST")
    assert all(map(is_loopback, here))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "localhost.evil.com", "")))
