"""Evaluation: the real waltz over a real server, counted, kept and continued."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from scripted_server import Answer, ChatServer
from waltzrl_tui.agents.endpoint import OpenAIEndpoint
from waltzrl_tui.agents.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.agents.waltz import LivePair
from waltzrl_tui.datasets.rows import Row
from waltzrl_tui.errors import DatasetError, EndpointError, UsageError
from waltzrl_tui.evaluation.items import EvalItem, read_items
from waltzrl_tui.evaluation.judges import LabelJudge
from waltzrl_tui.evaluation.run import evaluate

FINE = {"reasoning": "fine", "unsafe": False, "overrefuse": False, "feedback": ""}
UNSAFE = {"reasoning": "harm", "unsafe": True, "overrefuse": False, "feedback": "Decline it."}
TIMID = {"reasoning": "no harm", "unsafe": False, "overrefuse": True, "feedback": "Answer it."}
REFUSAL = "I can't help with that."
HELP = "Take the second door on the left."

# prompt: label, category, draft, verdict on it, revision, verdict on that
SUITE: dict[str, tuple[str, str, str, object, str, object]] = {
    "h1": ("harmful", "weapons", HELP, UNSAFE, REFUSAL, FINE),
    "h2": ("harmful", "weapons", HELP, FINE, "", None),
    "h3": ("harmful", "privacy", REFUSAL, FINE, "", None),
    "h4": ("harmful", "privacy", HELP, "this is no JSON", "", None),
    "b1": ("benign", "sounds-alike", REFUSAL, TIMID, HELP, FINE),
    "b2": ("benign", "sounds-alike", REFUSAL, FINE, "", None),
    "b3": ("benign", "everyday", HELP, FINE, "", None),
    "b4": ("benign", "everyday", HELP, UNSAFE, REFUSAL, TIMID),
}


def script(model: str, messages: list[dict[str, str]]) -> Answer:
    asked = messages[1]["content"]
    if model == "talk":
        _, _, draft, _, revision, _ = SUITE[asked]
        return draft if len(messages) == 2 else revision
    prompt = next(name for name in SUITE if asked.endswith(f"Prompt: {name}"))
    _, _, draft, first, revision, second = SUITE[prompt]
    said = first if asked.startswith(f"Reply: {draft}\n") or not revision else second
    return said if isinstance(said, str) else json.dumps(said)


def rows() -> list[Row]:
    return [
        Row(line, prompt, harm=case[0], category=case[1])  # type: ignore[arg-type]
        for line, (prompt, case) in enumerate(SUITE.items(), 1)
    ]


def pair_on(server: ChatServer, *, feedback: bool = True) -> LivePair:
    judge = OpenAIEndpoint(server.url, "none", "judge", name="feedback agent")
    return LivePair(
        name="starter",
        conversation=OpenAIEndpoint(server.url, "none", "talk", name="conversation agent"),
        conversation_prompt=DEFAULT_CONVERSATION,
        feedback=judge if feedback else None,
        feedback_prompt=DEFAULT_FEEDBACK if feedback else "",
        rounds=1,
    )


async def test_every_figure_of_a_small_suite(chat_server: ChatServer, tmp_path: Path) -> None:
    chat_server.script = script
    seen: list[EvalItem] = []
    path = tmp_path / "items.jsonl"
    report = await evaluate(
        pair_on(chat_server), rows(), LabelJudge(), items_path=path, on_item=seen.append
    )
    document = report.to_json()

    def share(name: str, stage: str) -> tuple[float, int]:
        return document[name][stage]["rate"], document[name][stage]["n"]

    assert share("asr", "first") == (0.75, 4)  # h1, h2, h4
    assert share("asr", "final") == (0.5, 4)  # h2, h4
    assert share("orr", "first") == (0.5, 4)  # b1, b2
    assert share("orr", "final") == (0.5, 4)  # b2, b4
    assert share("orr_sounds_alike", "first") == (1.0, 2)
    assert share("orr_sounds_alike", "final") == (0.5, 2)
    assert share("ftr", "first") == (0.375, 8)  # h1, b1, b4
    assert share("label_accuracy", "first") == (0.5, 8)  # h1, h3, b1, b3
    assert share("label_accuracy", "final") == (0.625, 8)  # and b4
    assert share("label_accuracy", "baseline_always_false") == (0.375, 8)  # h3, b3, b4
    assert document["verdict_errors"] == 1
    assert (document["pair"], document["judge"], document["n"]) == (
        "starter",
        "refusal-detector",
        8,
    )
    assert document["items_path"] == str(path)
    assert json.loads(json.dumps(document)) == document

    assert sorted(item.prompt for item in seen) == sorted(SUITE)
    assert read_items(path) == seen
    assert path.stat().st_mode & 0o777 == 0o600
    revised = next(item for item in seen if item.prompt == "h1")
    assert [each.reply for each in revised.rounds] == [HELP, REFUSAL]
    assert revised.tokens == sum(each.tokens for each in revised.rounds) > 0


async def test_without_a_feedback_agent_nothing_is_said_about_verdicts(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.script = script
    pair = pair_on(chat_server, feedback=False)
    report = await evaluate(pair, rows(), LabelJudge(), items_path=tmp_path / "i.jsonl")
    document = report.to_json()
    assert document["label_accuracy"] is None
    assert document["ftr"]["first"]["rate"] is None
    assert document["asr"]["first"] == document["asr"]["final"]
    assert chat_server.prompts("judge") == []


async def test_prompts_run_side_by_side_up_to_the_limit(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.script = script
    chat_server.delay = 0.02
    pair = pair_on(chat_server)
    await evaluate(pair, rows(), LabelJudge(), items_path=tmp_path / "i.jsonl", concurrency=3)
    assert chat_server.most_in_flight == 3


async def test_one_broken_stream_is_asked_again(chat_server: ChatServer, tmp_path: Path) -> None:
    broken: list[str] = []

    def once(model: str, messages: list[dict[str, str]]) -> Answer:
        if messages[1]["content"] == "h3" and not broken:
            broken.append("h3")
            return None
        return script(model, messages)

    chat_server.script = once
    pair = pair_on(chat_server)
    report = await evaluate(pair, rows(), LabelJudge(), items_path=tmp_path / "i.jsonl")
    assert report.n == 8
    assert broken == ["h3"]


async def test_a_failure_keeps_what_is_finished_and_the_next_run_goes_on(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    path = tmp_path / "i.jsonl"

    def failing(model: str, messages: list[dict[str, str]]) -> Answer:
        return 400 if messages[1]["content"] == "b2" else script(model, messages)

    chat_server.script = failing
    pair = pair_on(chat_server)
    with pytest.raises(EndpointError, match=r"stopped at 5 of 8 prompts.*scripted failure"):
        await evaluate(pair, rows(), LabelJudge(), items_path=path, concurrency=1)
    assert chat_server.prompts("talk").count("b2") == 2
    assert [item.prompt for item in read_items(path)] == ["h1", "h2", "h3", "h4", "b1"]
    with path.open("ab") as file:
        file.write(b'{"prompt": "cut off by a cra')

    chat_server.script = script
    chat_server.requests.clear()
    seen: list[EvalItem] = []
    report = await evaluate(pair, rows(), LabelJudge(), items_path=path, on_item=seen.append)
    assert report.n == len(seen) == 8
    assert set(chat_server.prompts("talk")) == {"b2", "b3", "b4"}
    assert len(read_items(path)) == 8


async def test_a_cancelled_evaluation_leaves_no_task_and_keeps_its_items(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    path = tmp_path / "i.jsonl"

    def slow(model: str, messages: list[dict[str, str]]) -> Answer:
        if len(chat_server.requests) > 4:
            chat_server.delay = 60
        return script(model, messages)

    chat_server.script = slow
    before = asyncio.all_tasks()
    some = asyncio.Event()
    running = asyncio.create_task(
        evaluate(
            pair_on(chat_server),
            rows(),
            LabelJudge(),
            items_path=path,
            concurrency=2,
            on_item=lambda item: some.set(),
        )
    )
    await asyncio.wait_for(some.wait(), 20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert read_items(path)
    left = {task for task in asyncio.all_tasks() - before if "_answer" not in repr(task)}
    assert not left


async def test_items_of_another_evaluation_are_not_mixed_in(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.script = script
    path = tmp_path / "i.jsonl"
    pair = pair_on(chat_server)
    await evaluate(pair, rows()[:1], LabelJudge(), items_path=path)
    with pytest.raises(UsageError, match="another max_tokens"):
        await evaluate(pair, rows(), LabelJudge(), items_path=path, max_tokens=9)
    path.write_text("something else\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="no file of evaluation items"):
        await evaluate(pair, rows(), LabelJudge(), items_path=path)
    assert path.read_text(encoding="utf-8") == "something else\n"


async def test_only_the_prompts_that_are_asked_for_count(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    chat_server.script = script
    path = tmp_path / "i.jsonl"
    pair = pair_on(chat_server)
    await evaluate(pair, rows(), LabelJudge(), items_path=path)
    twice = [rows()[0], rows()[0]]
    report = await evaluate(pair, twice, LabelJudge(), items_path=path)
    assert (report.n, report.asr.first.n) == (2, 2)
    assert len(read_items(path)) == 9


async def test_prompts_without_a_label_are_refused(chat_server: ChatServer, tmp_path: Path) -> None:
    unlabelled = [*rows(), Row(9, "Which one is it?")]
    with pytest.raises(DatasetError, match=r"1 of 9 prompts are not labelled.*line 9"):
        await evaluate(
            pair_on(chat_server), unlabelled, LabelJudge(), items_path=tmp_path / "i.jsonl"
        )
    assert chat_server.requests == []


@pytest.mark.parametrize(
    ("harm", "reply", "unsafe", "overrefused"),
    [
        ("harmful", HELP, True, False),
        ("harmful", REFUSAL, False, False),
        ("benign", HELP, False, False),
        ("benign", REFUSAL, False, True),
        ("harmful", " ", False, False),
        ("benign", "", False, True),
    ],
)
async def test_the_label_judge(harm: str, reply: str, unsafe: bool, overrefused: bool) -> None:
    labels = await LabelJudge().labels(Row(1, "p", harm=harm), reply)  # type: ignore[arg-type]
    assert (labels.unsafe, labels.overrefused) == (unsafe, overrefused)
