"""`chat` and `evaluate` with a pair on a scripted server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Cli, verdict
from tests.support.servers.scripted import Answer, ChatServer, Ended


def waltzing(model: str, messages: list[dict[str, str]]) -> str:
    """Complies with all that it is first asked, is told off for harm, and then refuses."""
    asked = messages[1]["content"]
    if model.endswith("-f"):
        unsafe = "Harmful" in asked and "can't" not in asked
        return verdict(unsafe=unsafe, feedback="Decline it." if unsafe else "")
    return "I can't help with that." if len(messages) > 2 else "Sure,\x1b[31m it goes like this."


def test_chat_prints_the_reply_that_stands(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None]
) -> None:
    scripted_pair("mine")
    chat_server.script = waltzing
    # Without --pair the newest that is not the base is asked.
    ended = cli("chat", "--prompt", "Harmful request", "--json")
    assert ended.code == 0
    assert ended.document.keys() >= {"rounds", "final", "pair"}
    assert ended.document["pair"] == "mine"
    assert ended.document["final"] == "I can't help with that."
    first, second = ended.document["rounds"]
    assert first.keys() >= {"reply", "verdict", "verdict_error", "seconds", "tokens"}
    assert first["verdict"] == json.loads(verdict(unsafe=True, feedback="Decline it."))
    assert not second["verdict"]["unsafe"]

    text = cli("chat", "--pair", "mine", "--prompt", "Benign question")
    assert text.out == "Sure,␛[31m it goes like this.\n"
    assert "mine" in text.err

    two = cli("chat", "--pair", "mine", "--vs", "mine", "--prompt", "Benign question", "--json")
    assert two.document["vs"]["final"] == two.document["final"]


def test_a_reply_that_costs_wants_a_yes(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None]
) -> None:
    scripted_pair("mine")
    chat_server.script = waltzing
    pairs = cli("pairs", "list", "--json").document["pairs"]
    (agent,) = [each["conversation"] for each in pairs if each["name"] == "mine"]
    assert cli("agents", "price", agent, "100", "1000").code == 0
    asking = ("chat", "--pair", "mine", "--prompt", "Benign question", "--json")
    ended = cli(*asking)
    assert (ended.code, ended.out, chat_server.requests) == (2, "", [])
    assert "costs about $" in ended.err and "--yes" in ended.err
    assert cli(*asking, "--yes").document["final"]


def test_a_chat_that_cannot_be_had_is_one_message(
    cli: Cli,
    chat_server: ChatServer,
    scripted_pair: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scripted_pair("mine")
    chat_server.script = lambda model, messages: 400
    failed = cli("chat", "--prompt", "hello", "--json")
    assert (failed.code, failed.out) == (1, "")
    assert "scripted failure" in failed.err
    assert "Traceback" not in failed.err
    assert cli("chat", "--prompt", "   ").code == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert cli("chat", "--json").code == 2


def test_evaluate_prints_stores_and_goes_on(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None], dataset: Path
) -> None:
    scripted_pair("mine")
    asked = 0

    def failing(model: str, messages: list[dict[str, str]]) -> str | int:
        nonlocal asked
        asked += 1
        return waltzing(model, messages) if asked <= 12 else 400

    chat_server.script = failing
    arguments = [
        "evaluate",
        "--pair",
        "mine",
        "--prompts",
        dataset,
        "-n",
        "16",
        "--concurrency",
        "2",
    ]
    broken = cli(*arguments, "--json")
    assert (broken.code, broken.out) == (1, "")
    assert "the same command resumes" in broken.err

    chat_server.script = waltzing
    chat_server.requests.clear()
    ended = cli(*arguments, "--json")
    assert ended.code == 0
    document = ended.document
    assert document.keys() >= {
        "pair",
        "judge",
        "n",
        "asr",
        "orr",
        "ftr",
        "label_accuracy",
        "seconds",
        "items_path",
    }
    assert document["n"] == 16
    assert (document["asr"]["first"]["rate"], document["asr"]["first"]["n"]) == (1.0, 8)
    assert (document["asr"]["final"]["rate"], document["orr"]["final"]["rate"]) == (0.0, 0.0)
    # What was answered before the failure is not asked again.
    assert 0 < len(set(chat_server.prompts("mine-c"))) < 16
    items = Path(document["items_path"])
    assert items.is_relative_to(cli.home / "state" / "evaluations")
    assert len(items.read_text().splitlines()) == 17

    async def latest(store):  # type: ignore[no-untyped-def]
        return await store.evaluations.latest("mine")

    row = cli.store(latest)
    assert (row.id, row.n, row.items_path) == (document["id"], 16, str(items))
    assert row.report["asr"] == document["asr"]

    # A finished evaluation is run anew and leaves the old one as it is.
    text = cli(*arguments)
    assert text.code == 0
    assert "0 % (0–32)" in text.out
    assert str(items) not in text.out


def test_unlabelled_prompts_are_told_by_line(
    cli: Cli, scripted_pair: Callable[[str], None], tmp_path: Path
) -> None:
    scripted_pair("mine")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a", "harm": "benign"}\n{"prompt": "b", "harm": ""}\n')
    ended = cli("evaluate", "--pair", "mine", "--prompts", prompts)
    assert ended.code == 1
    assert "line 2" in ended.err


def test_an_unsafe_draft_is_not_printed_when_its_revision_is_empty(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None]
) -> None:
    scripted_pair("mine")

    def script(model: str, messages: list[dict[str, str]]) -> Answer:
        if model.endswith("-f"):
            unsafe = "Step one." in messages[1]["content"]
            return verdict(unsafe=unsafe, feedback="Decline it." if unsafe else "")
        return Ended("", "content_filter") if len(messages) > 2 else "Step one."

    chat_server.script = script
    ended = cli("chat", "--pair", "mine", "--prompt", "hi", "--json")
    assert (ended.code, ended.document["final"]) == (1, "")
    assert (ended.document["outcome"], ended.document["withheld"]) == ("filtered", True)
    text = cli("chat", "--pair", "mine", "--prompt", "hi")
    assert "Step one." not in text.out
    assert "reply 2 is an empty reply: the server's filter withheld it" in text.err
    assert "no final reply: the draft is unsafe" in text.err
    assert "fine" not in text.err


@pytest.mark.parametrize("fails", ["verdict", "reply", "revision"])
def test_what_came_before_a_failure_is_printed(
    cli: Cli, chat_server: ChatServer, scripted_pair: Callable[[str], None], fails: str
) -> None:
    scripted_pair("mine")

    def script(model: str, messages: list[dict[str, str]]) -> Answer:
        if model.endswith("-f"):
            return 400 if fails == "verdict" else verdict(unsafe=True, feedback="Decline it.")
        if fails == "reply":
            return None
        return 400 if len(messages) > 2 else "A paid reply."

    chat_server.script = script
    ended = cli("chat", "--pair", "mine", "--prompt", "hi", "--json")
    assert ended.code == 1
    # A draft that was found unsafe does not stand because its revision failed.
    final = {"verdict": "A paid reply.", "reply": "half a reply", "revision": ""}[fails]
    assert ended.document["final"] == final
    assert ended.document["error"] and ended.document["error"] in ended.err
    text = cli("chat", "--pair", "mine", "--prompt", "hi")
    assert (text.code, text.out.strip()) == (1, final)
