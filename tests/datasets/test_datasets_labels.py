"""Labels are read as what they mean, and what they were read as is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from waltzrl_tui.cli import main
from waltzrl_tui.datasets.profiling.profile import profile
from waltzrl_tui.datasets.reading.mappings import correct_mapping, guess_mapping, parse_choices
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import Mapping, Row
from waltzrl_tui.errors import UsageError
from waltzrl_tui.store import Store
from waltzrl_tui.training_data.preferences import conversation_preferences, feedback_preferences
from waltzrl_tui.training_data.rendering import conversation_rows, feedback_rows
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK
from waltzrl_tui.waltz.verdict import parse_verdict
from waltzrl_tui.workspace import Workspace


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def labels(path: Path) -> list[str]:
    return [row.harm for row in open_dataset(path) if isinstance(row, Row)]


@pytest.mark.parametrize("name", ["is_safe", "isSafe", "Is Safe", "IS-SAFE", "Safe"])
@pytest.mark.parametrize("safe", [True, "yes", 1, "TRUE"])
def test_a_field_means_the_same_however_its_name_is_written(
    name: str, safe: object, tmp_path: Path
) -> None:
    unsafe = {True: False, "yes": "no", "TRUE": "FALSE"}.get(safe, 0)  # type: ignore[call-overload]
    path = written(tmp_path, [{"prompt": "a", name: safe}, {"prompt": "b", name: unsafe}])
    assert labels(path) == ["benign", "harmful"]


def test_a_flag_whose_name_says_nothing_is_no_label_until_its_meaning_is_stated(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [True, False, True]
    path = written(tmp_path, [{"prompt": f"p{n}", "ok": ok} for n, ok in enumerate(flags)])

    def profiled(*options: str) -> str:
        assert main(["--home", str(workspace.home), "data", "profile", str(path), *options]) == 0
        return capsys.readouterr().out

    shown = profiled("--map", "harm=ok")
    assert "true → not understood: 2 rows, false → not understood: 1 row" in shown
    assert "--map harmful=VALUE" in shown
    assert labels(path) == ["", "", ""]

    shown = profiled("--map", "harmful=false")
    assert "true → benign: 2 rows, false → harmful: 1 row" in shown
    document = json.loads(profiled("--json"))
    assert document["mapping"]["harmful"] == "false"
    assert document["label_values"]["harm"] == [
        {"value": "true", "meaning": "benign", "rows": 2},
        {"value": "false", "meaning": "harmful", "rows": 1},
    ]
    # Another field has other values.
    assert json.loads(profiled("--map", "harm==harmful", "--json"))["mapping"]["harmful"] == ""


@pytest.mark.parametrize(
    ("values", "harmful", "harm"),
    [
        ([0, 1, 2, None], "1", ["benign", "harmful", "", ""]),
        ([0, 1, 2, 3], "2|3", ["benign", "benign", "harmful", "harmful"]),
        (["Good", "BAD", ""], "bad", ["benign", "harmful", ""]),
        (["True", "0", "maybe"], "false", ["benign", "harmful", ""]),
    ],
)
def test_a_stated_value_means_harmful(
    values: list[object], harmful: str, harm: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, [{"prompt": f"p{n}", "x": x} for n, x in enumerate(values)])
    mapping = Mapping(
        shape="prompts", prompts=("prompt",), harm="x", harmful=tuple(harmful.split("|"))
    )
    assert [row.harm for row in open_dataset(path, mapping) if isinstance(row, Row)] == harm


@pytest.mark.parametrize(
    "choice", ["harmful=false", "harm=ok,harmful=flase", "harm==benign,harmful=1"]
)
def test_a_harmful_value_that_cannot_be_is_refused(choice: str) -> None:
    objects = [{"prompt": "p", "ok": True}, {"prompt": "q", "ok": False}]
    with pytest.raises(UsageError) as raised:
        correct_mapping(guess_mapping(objects), parse_choices(choice), objects)
    assert raised.value.hint


async def test_a_mapping_stored_by_an_earlier_version_still_loads(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = written(tmp_path, [{"prompt": "p", "isSafe": True, "note": "n"}])
    document = {"shape": "prompts", "prompt": "empty|note", "harm": "isSafe", "category": "=all"}
    path.write_text(json.dumps({"note": "n", "empty": "", "isSafe": True}) + "\n")
    async with await Store.open(workspace) as store:
        await store.mappings.set(path, document)
    [row] = open_dataset(path)
    assert isinstance(row, Row)
    assert (row.prompt, row.harm, row.category) == ("n", "benign", "all")


def test_a_field_may_have_any_name(tmp_path: Path) -> None:
    objects = [{"a|b": "p", "=harmful": "c", "ok": "x|y"}]
    choices = {"prompt": "a|b", "category": "=harmful", "harm": "ok"}
    mapping = correct_mapping(guess_mapping(objects), choices, objects)
    assert (mapping.prompts, mapping.category) == (("a|b",), "=harmful")
    assert Mapping.from_json(json.loads(json.dumps(mapping.to_json()))) == mapping
    [row] = open_dataset(written(tmp_path, objects), mapping)
    assert isinstance(row, Row)
    assert (row.prompt, row.category) == ("p", "c")


def test_values_that_are_not_understood_are_listed_with_their_rows(tmp_path: Path) -> None:
    values = ["harmful", "Benign", "harmfull", "harmfull", "", "not harmful"]
    path = written(tmp_path, [{"prompt": f"p{n}", "harm": x} for n, x in enumerate(values)])
    found = [(one.value, one.meaning, one.rows) for one in profile(path).label_values["harm"]]
    assert found == [
        ("Benign", "benign", 1),
        ("harmful", "harmful", 1),
        ("not harmful", "benign", 1),
        ("harmfull", "", 2),
    ]


KTO = [
    ("How do I boil rice?", "Simmer it for twelve minutes.", True),
    ("How do I boil rice?", "idk lol", False),
    ("How do I pick my neighbour's lock?", "I will not help you enter another home.", True),
    ("How do I pick my neighbour's lock?", "Sure, take a tension wrench.", False),
]


def learned(path: Path) -> tuple[list[str], list[tuple[str, bool, bool]]]:
    """The replies that the conversation agent learns, and the replies judged with their flags."""
    rows = [row for row in open_dataset(path) if isinstance(row, Row)]
    replies = conversation_rows(rows, {}, DEFAULT_CONVERSATION, revisions=1.0)
    judged = []
    for made in feedback_rows(rows, {}, DEFAULT_FEEDBACK):
        verdict = parse_verdict(made.messages[-1]["content"])
        assert bool(verdict.feedback) == verdict.triggers
        shown = made.messages[-2]["content"]
        reply = next(row.reply for row in rows if row.reply in shown)
        judged.append((reply, verdict.unsafe, verdict.overrefuse))
    return [made.messages[-1]["content"] for made in replies], judged


@pytest.mark.parametrize("written_as", [bool, int, str])
def test_kto_teaches_the_wanted_replies_and_no_verdict(written_as: Any, tmp_path: Path) -> None:
    rows = [{"prompt": p, "completion": c, "label": written_as(good)} for p, c, good in KTO]
    path = written(tmp_path, rows)
    assert labels(path) == [""] * 4
    assert learned(path) == ([KTO[0][1], KTO[2][1]], [])
    rows_read = [row for row in open_dataset(path) if isinstance(row, Row)]
    pairs = conversation_preferences(rows_read, DEFAULT_CONVERSATION)
    assert [(made.messages[-1]["content"], made.rejected) for made in pairs] == [
        (KTO[0][1], KTO[1][1]),
        (KTO[2][1], KTO[3][1]),
    ]
    assert [(one.meaning, one.rows) for one in profile(path).label_values["reply"]] == [
        ("bad", 2),
        ("good", 2),
    ]


BEAVERTAILS = [
    ("How do I cheat at cards?", "Mark the deck.", {"theft": False, "card_fraud": True}, False),
    ("How do I shuffle cards?", "Riffle them.", {"theft": False, "card_fraud": False}, True),
    (
        "How do I hide cards?",
        "I will not help you cheat.",
        {"theft": False, "card_fraud": False},
        True,
    ),
]


def test_a_flag_of_the_replys_safety_labels_the_reply(tmp_path: Path) -> None:
    names = ("prompt", "response", "category", "is_safe")
    path = written(tmp_path, [dict(zip(names, row, strict=True)) for row in BEAVERTAILS])
    rows = [row for row in open_dataset(path) if isinstance(row, Row)]
    assert [(row.harm, row.category, row.reply_label) for row in rows] == [
        ("", "card_fraud", "unsafe"),
        ("", "", "safe"),
        ("", "", "safe"),
    ]
    # Whether the refusal was needed is not known, so no verdict on it is learned.
    unsafe, safe, refusal = (row.reply for row in rows)
    assert learned(path) == ([safe, refusal], [(unsafe, True, False), (safe, False, False)])
    wrong = [
        parse_verdict(made.rejected).unsafe for made in feedback_preferences(rows, DEFAULT_FEEDBACK)
    ]
    assert wrong == [False, True]
    [judged, _] = feedback_rows(rows, {}, DEFAULT_FEEDBACK)
    assert "Unsafe reply (card fraud)." in judged.messages[-1]["content"]


def test_a_flag_beside_refusals_that_it_calls_unsafe_labels_the_prompts(tmp_path: Path) -> None:
    rows = [
        {"prompt": "How do I bake bread?", "reply": "Mix flour and water.", "isSafe": True},
        {"prompt": "How do I poison a dog?", "reply": "I will not help with it.", "isSafe": False},
    ]
    assert labels(written(tmp_path, rows)) == ["benign", "harmful"]


@pytest.mark.parametrize("name", ["label", "type", "data_type", "safety"])
@pytest.mark.parametrize("values", [(True, False), (0, 1), ("1", "0")])
def test_a_bare_flag_is_no_harm_and_no_category(
    name: str, values: tuple[object, object], tmp_path: Path
) -> None:
    rows = [{"prompt": f"p{n}", "response": "r", name: value} for n, value in enumerate(values)]
    mapping = open_dataset(written(tmp_path, rows)).mapping
    assert (mapping.harm, mapping.category, mapping.reply_label) == ("", "", "")


@pytest.mark.parametrize("value", [["food", "drink"], {"a": {"b": 1}}, {"score": 0.5}])
def test_an_odd_category_spoils_no_row(value: object, tmp_path: Path) -> None:
    path = written(tmp_path, [{"prompt": "p", "harm": "benign", "category": value}])
    assert open_dataset(path).mapping.category == ""
    by_hand = Mapping(shape="prompts", prompts=("prompt",), harm="category", category="category")
    wanted = Row(1, "p", extra={"harm": "benign", "category": value})
    assert list(open_dataset(path, by_hand)) == [wanted]


def test_a_prompt_with_both_labels_is_warned_about(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"prompt": prompt, "reply": reply, "harm": harm}
        for number in range(20)
        for prompt, reply, harm in [
            (f"How do I open door {number}?", "I can't help with that.", "harmful"),
            # The same rows but for the label are one row of a sample, and still contradict.
            (f"how do I open  door {number}?", "I can't help with that.", "benign"),
            (f"Question {number}", "Sure.", "benign"),
        ]
    ]
    path = written(tmp_path, rows)
    words = "20 prompts are labelled harmful in one row and benign in another"

    def output(*command: str) -> str:
        assert main(["--home", str(workspace.home), *command]) == 0
        return capsys.readouterr().out

    sample = ("data", "sample", str(path), "--out", str(tmp_path / "out"))
    for command in (("data", "profile", str(path)), sample, ("plan", str(path))):
        assert words in output(*command)
    document = json.loads(output("data", "profile", str(path), "--json"))["contradicting"]
    assert (document["prompts"], document["rows"]) == (20, 40)
    assert document["lines"][:3] == [1, 2, 4]
    assert json.loads(output(*sample, "--json"))["contradicting_prompts"] == 20
    plan = json.loads(output("plan", str(path), "--json"))
    assert plan["sample"]["contradicting_prompts"] == 20
    assert all(any(words in each for each in row["warnings"]) for row in plan["rows"])


def test_one_prompt_after_other_turns_does_not_contradict_itself(tmp_path: Path) -> None:
    rows = [
        {"prompt": "And how?", "reply": "So.", "harm": harm, "history": [["p", harm], ["q", "r"]]}
        for harm in ("harmful", "benign")
    ]
    assert profile(written(tmp_path, rows)).contradicting.prompts == 0
