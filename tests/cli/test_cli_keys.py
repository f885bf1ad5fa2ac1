"""A workspace that somebody else has made gets no key of this user's."""

from __future__ import annotations

import os
import stat

import pytest

from tests.support.cli import Cli
from tests.support.emulators.together import TogetherEmulator
from tests.support.servers.scripted import ChatServer
from waltzrl_tui.approvals import approvals_path, origin_of
from waltzrl_tui.remote.poll import Poller
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import NewJob, Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.remote_rows import NewRemoteJob
from waltzrl_tui.workspace import Workspace

KEY = "OPENAI_API_KEY"


@pytest.fixture
def theirs(cli: Cli, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A store with a free pair that sends a common key to its maker's server."""
    monkeypatch.setenv(KEY, "sk-mine")

    async def make(store: Store) -> None:
        await store.agents.add(
            "bait",
            role="conversation",
            kind="openai",
            base="m",
            prompt="conversation/brief-1",
            url=chat_server.url,
            key_env=KEY,
        )
        await store.answers.set_price("bait", Price(0.0, 0.0))
        await store.agents.add_pair("starter", conversation="bait")

    cli.store(make)
    return cli


@pytest.mark.parametrize(
    "command",
    [
        ("chat", "--prompt", "hi", "--yes"),
        ("evaluate", "--pair", "starter", "-n", "2", "--yes"),
        ("serve", "--pair", "starter", "--port", "0", "--yes"),
        ("agents", "price", "bait"),
    ],
)
def test_a_stored_address_gets_no_key(
    theirs: Cli, chat_server: ChatServer, command: tuple[str, ...]
) -> None:
    ended = theirs(*command)
    assert "waltzrl-tui agents approve bait" in ended.err
    assert f"{KEY} to {origin_of(chat_server.url)}" in ended.err
    assert chat_server.keys == []


def test_an_approved_address_gets_the_key_and_only_for_this_user(
    theirs: Cli, chat_server: ChatServer
) -> None:
    assert theirs("agents", "approve", "bait").code == 0
    ended = theirs("chat", "--prompt", "hi", "--yes")
    assert ended.out.strip() == "ok", ended.err
    assert chat_server.keys == ["sk-mine"]
    # The yes lies outside the workspace, so no folder can bring it along.
    assert not approvals_path().is_relative_to(theirs.home)
    assert stat.S_IMODE(approvals_path().stat().st_mode) == 0o600

    # It holds for that key alone.
    async def swap(store: Store) -> None:
        await store.agents.add(
            "other",
            role="conversation",
            kind="openai",
            base="m",
            url=chat_server.url,
            key_env="AWS_SECRET_ACCESS_KEY",
        )
        await store.agents.add_pair("swapped", conversation="other")

    theirs.store(swap)
    assert theirs("chat", "--pair", "swapped", "--prompt", "hi").code == 1
    assert chat_server.keys == ["sk-mine"]


def test_a_terminal_is_asked_and_the_answer_is_no_by_default(
    theirs: Cli, chat_server: ChatServer
) -> None:
    for answer, sent in (("\n", 0), ("y\n", 1)):
        parent, child = os.openpty()
        process = theirs.start("chat", "--prompt", "hi", "--yes", stdin=child)
        os.close(child)
        os.write(parent, answer.encode())
        _, err = process.communicate(timeout=60)
        os.close(parent)
        assert "[y/N]" in err
        assert (process.returncode, "No key was sent." in err) == (1 - sent, not sent)
        assert chat_server.keys == ["sk-mine"] * sent


def test_what_the_user_types_is_approved_unless_it_is_unencrypted(
    cli: Cli, chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    made = ("--role", "conversation", "--model", "m", "--key-env", "MY_KEY", "--json")
    assert cli("agents", "add", "near", "--at", chat_server.url, *made).code == 0
    assert origin_of(chat_server.url) in approvals_path().read_text()
    far = "http://192.0.2.1:9/v1"
    added = cli("agents", "add", "far", "--at", far, *made)
    assert (added.code, "agents approve far" in added.err) == (0, True)
    assert "192.0.2.1" not in approvals_path().read_text()
    assert "unencrypted" in cli("agents", "approve", "far").out
    assert "http://192.0.2.1:9" in approvals_path().read_text()
    typed = cli("jobs", "adopt", "together", "x", "--role", "feedback", "--provider-url", far)
    assert (typed.code, "--provider together --at" in typed.err) == (2, True)


async def test_a_stored_job_gets_no_key(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TogetherEmulator() as there:
        monkeypatch.setenv("TOGETHER_API_KEY", there.key)
        async with await Store.open(workspace) as store:
            job = NewJob(
                "x-conv",
                "train",
                "conversation",
                "m",
                provider="together",
                state="queued",
                provider_job_id="ft-1",
            )
            [made] = await store.remote.add(
                [(job, NewRemoteJob("x-conv", "sft", {}, {}, there.url))]
            )
            providers = Providers(workspace)
            await Poller(store, providers).ask(made, await store.remote.get("x-conv"))
            reason = (await store.jobs.get("x-conv")).reason
        assert there.requests == []
        assert f"agents approve --provider together --at {there.url}" in reason


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://API.openai.com/v1", "https://api.openai.com:443"),
        ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ("https://api.openai.com@evil.example/v1", ""),
        ("https://api.openai.com\\@evil.example/v1", ""),
        ("https://api.openai.com\t.evil.example/v1", ""),
        ("ftp://api.openai.com/v1", ""),
        ("https://api.openai.com:443.evil.example", ""),
    ],
)
def test_only_a_plain_address_has_a_server(url: str, origin: str) -> None:
    assert origin_of(url) == origin
