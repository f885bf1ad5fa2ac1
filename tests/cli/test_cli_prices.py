"""Prices of agents: given, asked of a server's list of models, shown, and forgotten."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.cli import Cli
from waltzrl_tui.endpoints.prices import parse_list, similar_names
from waltzrl_tui.store.answers import Price

KEY = "sk-SECRET-of-the-list"
TOGETHER = [
    {"id": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "pricing": {"input": 0.88, "output": 0.88}},
    {"id": "acme/only-on-machines", "pricing": {"hourly": 0, "input": 0, "output": 0}},
]
OPENROUTER = {
    "data": [
        {"id": "acme/big", "pricing": {"prompt": "0.000003", "completion": "0.000015"}},
        {"id": "acme/big:free", "pricing": {"prompt": "0", "completion": "0", "request": "0"}},
        {"id": "acme/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "acme/fee", "pricing": {"prompt": "0", "completion": "0", "request": "0.01"}},
    ]
}
ROUTER = {
    "data": [
        {
            "id": "acme/m",
            "providers": [
                {"provider": "one", "status": "live", "pricing": {"input": 0.4, "output": 3.0}},
                {"provider": "two", "status": "live", "pricing": {"input": 1.0, "output": 1.5}},
                {"provider": "gone", "status": "error", "pricing": {"input": 90, "output": 90}},
                {"provider": "silent", "status": "live", "is_free": False},
            ],
        }
    ]
}


class Lists:
    """A server of lists of models.

    Attributes:
        body: What it answers; asked: paths and keys that it was sent.
    """

    def __init__(self) -> None:
        self.body: bytes = b"[]"
        self.status = 200
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str | None]] = []
        lists = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                lists.asked.append((self.path, self.headers.get("authorization")))
                self.send_response(lists.status)
                for name, value in lists.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(lists.body)))
                self.end_headers()
                self.wfile.write(lists.body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lists]:
    made = Lists()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("LIST_KEY", KEY)
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join(10)


def add(cli: Cli, url: str, model: str, *more: str) -> Any:
    return cli(
        *("agents", "add", "talk", "--role", "conversation", "--at", url, "--model", model),
        *("--key-env", "LIST_KEY", "--json", *more),
    )


@pytest.mark.parametrize(
    ("body", "model", "price"),
    [
        (TOGETHER, "meta-llama/Llama-3.3-70B-Instruct-Turbo", Price(0.88, 0.88)),
        # Zeros there: it is on no machine that bills tokens. That is not "free".
        (TOGETHER, "acme/only-on-machines", None),
        (OPENROUTER, "acme/big", Price(3.0, 15.0)),
        (OPENROUTER, "acme/big:free", Price(0.0, 0.0)),
        (OPENROUTER, "acme/big:nitro", None),
        (OPENROUTER, "acme/auto", None),
        (OPENROUTER, "acme/fee", None),
        # Never less than what the router may choose; what is down is not chosen.
        (ROUTER, "acme/m", Price(1.0, 3.0)),
        (ROUTER, "acme/m:fastest", Price(1.0, 3.0)),
        (ROUTER, "acme/m:cheapest", Price(1.0, 1.5)),
        (ROUTER, "acme/m:one", Price(0.4, 3.0)),
        (ROUTER, "acme/m:silent", None),
        (ROUTER, "acme/m:elsewhere", None),
        ([{"id": "m", "pricing": {"input": True, "output": "x"}}], "m", None),
        ([{"id": "m", "pricing": {"input": float("nan"), "output": 1e99}}], "m", None),
        ([{"id": "m", "pricing": {"input": -1, "output": 10**400}}], "m", None),
        ([{"id": "m", "pricing": [1, 2]}, 7, None, {"id": 5}], "m", None),
        ({"data": {"id": "m"}}, "m", None),
        ([{"id": "llama3.2:latest"}], "llama3.2", None),
    ],
)
def test_only_what_is_a_price_is_taken_for_one(body: Any, model: str, price: Price | None) -> None:
    found = parse_list(json.dumps(body).encode(), model, "http://list/models")
    assert found.price == price
    assert "does not list the model" not in found.words


def test_names_that_come_near_are_found_without_their_maker_or_case() -> None:
    names = ["meta-llama/Llama-3.3-70B-Instruct-Turbo", "Qwen/Qwen3-8B", "mistral-small-latest"]
    assert similar_names("llama-3.3-70b-instruct", names)[0] == names[0]
    assert similar_names("qwen/qwen3-8b", names)[0] == names[1]
    assert similar_names("mistral-smal-latest", names)[0] == names[2]
    assert similar_names("something else entirely", names) == []


def test_the_list_of_the_server_tells_the_price(cli: Cli, lists: Lists) -> None:
    lists.body = json.dumps(OPENROUTER).encode()
    agent = add(cli, lists.url, "acme/big").document["agents"][0]
    assert lists.asked == [("/v1/models", f"Bearer {KEY}")]
    today = datetime.now(UTC).date().isoformat()
    assert (agent["price"]["usd_in"], agent["price"]["usd_out"]) == (3.0, 15.0)
    assert agent["price"]["source"] == f"{lists.url}/models"
    assert agent["price"]["as_of"][:10] == today
    listed = cli("agents", "list").out
    assert f"$3.00 / $15.00 ({today})" in listed
    # A price that changes is asked for again, and one that is said counts more.
    lists.body = lists.body.replace(b"0.000015", b"0.000020")
    asked = cli("agents", "price", "talk", "--json").document["agents"][0]["price"]
    assert asked["usd_out"] == 20.0
    assert cli("agents", "price", "talk", "1", "2").code == 0
    found = {a["name"]: a for a in cli("agents", "list", "--json").document["agents"]}
    said = found["talk"]["price"]
    assert (said["usd_in"], said["usd_out"], said["source"]) == (1.0, 2.0, "")


def test_what_is_given_counts_more_than_the_list(cli: Cli, lists: Lists) -> None:
    lists.body = json.dumps(OPENROUTER).encode()
    agent = add(cli, lists.url, "acme/big", "--price", "7", "8").document["agents"][0]
    assert (agent["price"]["usd_in"], agent["price"]["source"]) == (7.0, "")


def test_a_model_that_is_not_listed_is_warned_of_and_added(cli: Cli, lists: Lists) -> None:
    lists.body = json.dumps(TOGETHER).encode()
    ended = add(cli, lists.url, "llama-3.3-70b-instruct")
    assert ended.code == 0
    assert "does not list the model 'llama-3.3-70b-instruct'" in ended.err
    assert "meta-llama/Llama-3.3-70B-Instruct-Turbo" in ended.err
    assert ended.document["agents"][0]["price"] is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (401, b"{}", "needs a valid key"),
        (404, b"{}", "returned no list"),
        (200, b"<html>", "is not JSON"),
        (200, b"[" * 100_000, "is not JSON"),
        (200, b'{"object": "list"}', "is not a list of models"),
        (200, b" " * (8 * 1024 * 1024 + 1), "too long"),
        (302, b"", "returned no list"),
    ],
)
def test_a_list_that_cannot_be_had_leaves_the_price_unknown(
    cli: Cli, lists: Lists, status: int, body: bytes, words: str
) -> None:
    lists.status, lists.body = status, body
    if status == 302:
        lists.headers = {"location": f"{lists.url}/elsewhere"}
    ended = add(cli, lists.url, "m")
    assert (ended.code, ended.document["agents"][0]["price"]) == (0, None)
    assert words in ended.err
    assert KEY not in ended.out + ended.err
    # The key goes to the agent's address and nowhere else.
    assert [path for path, _ in lists.asked] == ["/v1/models"]


def test_without_a_key_or_a_server_it_says_so(
    cli: Cli, lists: Lists, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIST_KEY")
    assert "LIST_KEY is not set" in add(cli, lists.url, "m").err
    assert lists.asked == []
    monkeypatch.setenv("LIST_KEY", KEY)
    assert cli("agents", "remove", "talk").code == 0
    nobody = add(cli, "http://127.0.0.1:9/v1", "m")
    assert (nobody.code, "cannot be read now" in nobody.err) == (0, True)
    assert KEY not in nobody.out + nobody.err


def test_names_from_a_list_cannot_steer_the_terminal(cli: Cli, lists: Lists) -> None:
    evil = "llama\x1b]52;c;ZXZpbA==\x07\u202e\n[bold]"
    lists.body = json.dumps([{"id": evil}]).encode()
    ended = add(cli, lists.url, "llama")
    assert ended.code == 0
    assert "similar: " in ended.err
    assert not set("\x1b\x07\u202e") & set(ended.err)


def test_an_agent_of_the_same_name_has_no_old_price(cli: Cli, lists: Lists) -> None:
    add(cli, lists.url, "m", "--price", "7", "8")
    assert cli("agents", "remove", "talk").code == 0
    agent = add(cli, lists.url, "m").document["agents"][0]
    assert agent["price"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["price", "base-conversation", "1", "2"],
        ["price", "base-conversation", "1"],
        ["price", "base-conversation", "-1", "2"],
        ["price", "base-conversation", "nan", "2"],
        ["add", "x", "--role", "feedback", "--model", "m", "--price", "1", "2"],
    ],
)
def test_what_is_no_price_or_cannot_have_one_is_refused(cli: Cli, arguments: list[str]) -> None:
    assert cli("agents", "list").code == 0
    assert cli("agents", *arguments).code == 2
