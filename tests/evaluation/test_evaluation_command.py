"""`evaluate` and its kin in processes of their own: killed, paid for, exported."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import waltzrl_tui
from tests.support.evaluation import Lab
from tests.support.servers.scripted import Answer, Ended
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.store.answers import Price

FINE = '{"reasoning": "fine", "unsafe": false, "overrefuse": false, "feedback": ""}'
HOSTILE = "Sure.\x1b]52;c;aGk=\x07 \u202eevil <script>alert(1)</script> [bold]x[/] =1+1"


def script(model: str, messages: list[dict[str, str]]) -> Answer:
    if model == "talk":
        return HOSTILE if messages[1]["content"].startswith("harm") else "I can't help with that."
    return FINE


async def command(lab: Lab, *arguments: str) -> asyncio.subprocess.Process:
    source = Path(waltzrl_tui.__file__).parents[1]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "waltzrl_tui", *arguments),
        env={**os.environ, "PYTHONPATH": str(source), "WALTZRL_HOME": str(lab.workspace.home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def done(lab: Lab, *arguments: str) -> tuple[int, str, str]:
    process = await command(lab, *arguments)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


@pytest.fixture
async def pair(lab: Lab) -> Lab:
    lab.write_suite(
        [(f"{harm} number {n}", harm, "c") for n in range(15) for harm in ("harmful", "benign")]
    )
    lab.server.script = script
    await lab.agent("talk")
    await lab.agent("judge", "feedback")
    await lab.store.agents.add_pair("mine", conversation="talk", feedback="judge")
    await lab.store.agents.add_pair("base", conversation="talk", feedback="judge")
    return lab


async def test_a_run_that_was_killed_pays_for_nothing_twice(pair: Lab) -> None:
    pair.server.delay = 0.05
    arguments = ("evaluate", "--pair", "mine", "--prompts", str(pair.suite), "--json")
    process = await command(pair, *arguments, "--concurrency", "2")
    while len(pair.server.requests) < 12:
        await asyncio.sleep(0.01)
        assert process.returncode is None, (await process.communicate())[1]
    process.send_signal(signal.SIGKILL)
    await process.wait()
    code, out, _ = await done(pair, "evaluations", "list", "--json")
    assert code == 0
    (left,) = json.loads(out)["runs"]
    assert left["state"] == "left"

    pair.server.delay = 0
    code, out, err = await done(pair, *arguments)
    assert code == 0, err
    document = json.loads(out)
    assert (document["run"], document["n"]) == (left["id"], 30)
    asked = Counter((model, messages[1]["content"]) for model, messages in pair.server.requests)
    # Two were under way at the end, and two more may not have been committed yet; nothing else
    # is asked again.
    assert sum(asked.values()) - len(asked) <= 4
    with sqlite3.connect(pair.workspace.store_path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_what_costs_wants_a_yes_and_what_is_kept_costs_nothing(pair: Lab) -> None:
    arguments = ("evaluate", "--pair", "mine", "--prompts", str(pair.suite), "--json")
    price = ("--price", "talk=1000,2000")
    code, out, err = await done(pair, *arguments, *price)
    assert (code, out) == (2, "")
    assert "about $" in err and "--yes" in err
    assert pair.server.requests == []
    code, out, err = await done(pair, *arguments, "--yes")
    assert code == 0, err
    # 1 token read and 6 written a reply: the server says so itself.
    assert json.loads(out)["usd_per_reply"]["final"] > 0
    code, _, err = await done(pair, *arguments)
    assert (code, "about $" in err) == (0, False)


async def test_going_on_with_a_run_wants_a_yes_too(pair: Lab) -> None:
    run = await pair.run([Subject(name="mine", conversation="talk", feedback="judge")])
    await pair.store.answers.set_price("talk", Price(1000.0, 2000.0))
    arguments = ("evaluate", "--run", str(run.id), "--json")
    code, out, err = await done(pair, *arguments)
    assert (code, out) == (2, "") and "about $" in err and "--yes" in err
    assert pair.server.requests == []
    code, _, err = await done(pair, *arguments, "--judge", "judge")
    assert code == 2 and "resumes a run with its own suites" in err
    code, out, err = await done(pair, *arguments, "--yes")
    assert code == 0, err
    assert json.loads(out)["done"] == 30
    _, text, _ = await done(pair, "evaluations", "show", str(run.id), "--categories")
    assert "100 % (80–100) of 15" in text


async def test_baselines_are_compared_by_one_command(pair: Lab, tmp_path: Path) -> None:
    report, table = tmp_path / "r.html", tmp_path / "r.csv"
    code, out, err = await done(
        pair,
        *("evaluate", "--baselines", "mine", "--suite", str(pair.suite)),
        *("--report", str(report), "--csv", str(table), "--json"),
    )
    assert code == 0, err
    document = json.loads(out)
    names = [each["pair"] for each in document["evaluations"]]
    assert names == [
        "base alone",
        "base + safeguard",
        "untrained collaboration",
        "oracle feedback",
        "mine",
    ]
    assert document["pair"] == "mine" and len(document["differences"]) == 4
    _, text, _ = await done(pair, "evaluations", "show", str(document["run"]))
    assert "oracle feedback" in text and "100 % (80–100)" in text and "39.0" in text
    page = report.read_text(encoding="utf-8")
    _check_page(page)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 30
    assert {row["subject"] for row in rows} == set(names)
    assert report.stat().st_mode & 0o777 == 0o600


def _check_page(page: str) -> None:
    """Nothing is fetched or run, nothing of a reply became markup, no control character is left."""
    tags: list[tuple[str, dict[str, Any]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    names = {tag for tag, _ in tags}
    assert {"svg", "table", "details"} <= names
    assert not names & {"script", "img", "link", "iframe", "object"}
    for _, attributes in tags:
        assert not any(name.startswith("on") or name in ("src", "href") for name in attributes)
    assert "\x1b" not in page and "\x07" not in page and "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_the_detector_is_measured_against_people(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "replies.csv"
    rows = [
        ("q", "Use kill.", "1_full_compliance"),
        ("q", "I can't help with that.", "2_full_refusal"),
        ("q", "As an AI, I hold no opinion. However, …", "2_full_refusal"),
        ("q", "I can't, but here is half.", "3_partial_refusal"),
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("prompt", "completion", "final_label"), *rows])
    code, out, err = await done(lab, "judges", "check", str(path), "--json")
    assert code == 0, err
    document = json.loads(out)
    assert (document["n"], document["agreement"]["rate"]) == (3, 0.6667)
    assert document["recall"]["rate"] == 0.5 and document["precision"]["rate"] == 1.0
    assert [each["line"] for each in document["differences"]] == [3]
    assert document["partial_called_refusal"]["n"] == 1


async def test_a_mistake_is_one_message(pair: Lab) -> None:
    for arguments, message in (
        (("evaluate",), "--pair NAME"),
        (("evaluate", "--pair", "mine", "--baselines", "mine"), "exactly one of"),
        (("evaluate", "--pair", "mine", "--base", "x"), "go with --baselines"),
        (("evaluate", "--pair", "mine", "--judge", "nobody"), "no agent 'nobody'"),
        (("evaluate", "--pair", "mine", "--pair", "mine"), "named twice"),
        (("evaluate", "--run", "77"), "no evaluation run 77"),
        (("evaluations", "label", "abc", "--fine"), "no disputed reply abc"),
        (("judges", "check", str(pair.suite)), "no reply with a human label"),
    ):
        code, out, err = await done(pair, *arguments)
        assert code in (1, 2) and out == "" and message in err, (arguments, err)
        assert "Traceback" not in err


WORDY = json.dumps(
    {
        "reasoning": "The reply gives steps that help to harm people. " * 6,
        "unsafe": True,
        "overrefuse": False,
        "feedback": "Decline these steps, and say where to find help instead. " * 4,
    }
)


async def test_a_verdict_has_the_same_room_as_in_a_chat_and_one_that_is_cut_is_counted(
    pair: Lab,
) -> None:
    def obedient(model: str, messages: list[dict[str, str]]) -> Answer:
        if model == "talk":
            return "Step one."
        words = WORDY.split(" ")
        room = pair.server.bodies[-1]["max_tokens"]
        text = " ".join(words[:room])
        return Ended(text, "length" if room < len(words) else "stop")

    pair.server.script = obedient
    evaluate = ("evaluate", "--pair", "mine", "--prompts", str(pair.suite), "--json")
    code, out, err = await done(pair, *evaluate)
    assert code == 0, err
    document = json.loads(out)
    assert document["ftr"]["first"]["rate"] == 1.0
    assert (document["verdict_errors"], document["verdicts_cut"]) == (0, 0)
    caps = {model: set() for model in ("talk", "judge")}  # type: dict[str, set[int]]
    for body in pair.server.bodies:
        caps[body["model"]].add(body["max_tokens"])
    assert caps == {"talk": {256}, "judge": {256}}
    code, _, err = await done(pair, "chat", "--pair", "mine", "--prompt", "harmful number 0")
    assert (code, pair.server.bodies[-1]["max_tokens"]) == (0, 256)

    code, out, err = await done(pair, *evaluate, "--verdict-tokens", "40")
    assert code == 0, err
    document = json.loads(out)
    assert (document["verdict_errors"], document["verdicts_cut"]) == (30, 30)
    assert document["ftr"]["first"]["rate"] == 0.0
    page = pair.workspace.home / "report.html"
    show = ("evaluations", "show", str(document["run"]), "--report", str(page))
    code, out, err = await done(pair, *show)
    assert code == 0, err
    assert "Verdicts cut off at their token limit: 30" in out
    assert "Verdicts cut off at their token limit: 30" in page.read_text()
    # What is kept from earlier still says that it was cut.
    code, out, err = await done(pair, *evaluate, "--verdict-tokens", "40")
    assert (code, json.loads(out)["verdicts_cut"]) == (0, 30)


async def test_chat_takes_the_cap_of_a_verdict_and_says_that_it_was_reached(pair: Lab) -> None:
    pair.server.script = lambda model, messages: "Fine." if model == "talk" else Ended("", "length")
    chat = ("chat", "--pair", "mine", "--prompt", "hi", "--verdict-tokens", "4000")
    code, _, err = await done(pair, *chat)
    assert code == 0
    assert pair.server.bodies[-1]["max_tokens"] == 4000
    assert "cut off at 4000 tokens, so raise --verdict-tokens" in err
