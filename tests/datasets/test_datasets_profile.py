"""The profile: the figures that would have stopped 9,987 rows with 606 prompts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.datasets.near.index import THRESHOLD
from waltzrl_tui.datasets.profiling import counts
from waltzrl_tui.datasets.profiling.profile import profile
from waltzrl_tui.datasets.reading.read import open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe, draw
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.tokenizers.estimate import ESTIMATE_ERROR, estimate_tokens


def test_the_document_of_data_profile(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    lines = [
        json.dumps({"prompt": prompt, "harm": harm, "category": "c", "reply": reply})
        for prompt, harm, reply in [
            ("How?", "harmful", "No."),
            ("how? ", "harmful", "No."),
            ("How?", "benign", "Yes."),
            ("Why?", "benign", "Yes."),
        ]
    ]
    path.write_text("\n".join([*lines, "broken", "", '{"prompt": "x"}']), encoding="utf-8")
    assert profile(path).to_json() == {
        "path": str(path),
        "format": "jsonl",
        "rows": 4,
        "bad_row_count": 2,
        "bad_rows": [
            {"line": 5, "reason": "broken JSON at column 1: Expecting value"},
            {"line": 7, "reason": 'no reply: field "reply" is missing'},
        ],
        "mapping": {
            "shape": "rows",
            "prompt": "prompt",
            "reply": "reply",
            "harm": "harm",
            "category": "category",
            "context": "",
            "harmful": "",
            "reply_label": "",
            "version": 2,
            "prompts": ["prompt"],
            "harmful_values": [],
            "constants": {"harm": "", "category": ""},
        },
        "unique": {"prompts": 2, "replies": 2, "pairs": 3},
        "near_unique": {"prompts": 2, "replies": 2, "pairs": 3},
        "clusters": [
            _cluster("prompts", 3, [1, 2, 3]),
            _cluster("replies", 2, [1, 2]),
            _cluster("replies", 2, [3, 4]),
            _cluster("pairs", 2, [1, 2]),
        ],
        "labels": {"harm": {"benign": 2, "harmful": 2}, "category": {"c": 4}},
        "label_values": {
            "harm": [
                {"value": "benign", "meaning": "benign", "rows": 2},
                {"value": "harmful", "meaning": "harmful", "rows": 2},
            ],
            "reply": [],
        },
        "contradicting": {"prompts": 1, "rows": 3, "lines": [1, 2, 3]},
        "tokens": {
            "total": 17,
            "exact": False,
            "tokenizer": "estimate",
            "longest": 5,
            "histogram": [4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            "prompts": {"total": 9, "longest": 3, "histogram": [4, *[0] * 9]},
            "replies": {"total": 8, "longest": 2, "histogram": [4, *[0] * 9]},
        },
        "refusals": {
            "rows": 4,
            "refused": 2,
            "share": 0.5,
            "exact": True,
            "looked_at": 4,
            "by_harm": {
                "benign": {"refused": 0, "rows": 2},
                "harmful": {"refused": 2, "rows": 2},
            },
        },
        "contaminated": {"rows": 0, "exact": 0, "suites": {"starter-eval.jsonl": 0}, "found": []},
        "personal": {"rows": 0, "kinds": {}, "found": []},
        "waste": {
            "exact": {"rows": 1, "tokens": 5},
            "near": {"rows": 0, "tokens": 0},
            "contaminated": {"rows": 0, "tokens": 0},
        },
    }


def _cluster(what: str, rows: int, lines: list[int]) -> dict[str, object]:
    return {"what": what, "rows": rows, "texts": 1, "similarity": 1.0, "lines": lines}


def written(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "d.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ASKED = "Which bus goes from the harbour to the old town after midnight"
ANSWERED = "The night bus N4 goes every forty minutes from stop C behind the fish market."


def test_waste_is_told_once_a_row_and_is_what_a_sample_drops(tmp_path: Path) -> None:
    suite = tmp_path / "suite.jsonl"
    suite.write_text(json.dumps({"prompt": "Who wrote the first novel about a lighthouse?"}))
    path = written(
        tmp_path,
        [
            {"prompt": ASKED, "reply": ANSWERED},
            {"prompt": ASKED.upper(), "reply": ANSWERED},
            {"prompt": f"{ASKED}?", "reply": f"{ANSWERED} Ask there."},
            {"prompt": f"{ASKED}?", "reply": "I do not know, sorry."},
            {"prompt": "who wrote the first novel about a lighthouse?", "reply": "Nobody knows."},
            {"prompt": "Who wrote the first novel about a lighthouse? Thanks", "reply": "She did."},
        ],
    )
    found = profile(path, suites=[suite])
    assert {reason: waste.rows for reason, waste in found.waste.items()} == {
        "exact": 1,
        "near": 1,
        "contaminated": 2,
    }
    assert all(waste.tokens > 5 for waste in found.waste.values())
    assert (found.prompts, found.near["prompts"]) == (4, 2)
    assert [(each.line, each.similarity == 1) for each in found.contaminated.examples] == [
        (5, True),
        (6, False),
    ]
    (cluster,) = [each for each in found.clusters if each.what == "pairs"]
    assert (cluster.rows, cluster.texts, cluster.lines) == (3, 2, [1, 2, 3])
    assert THRESHOLD <= cluster.similarity < 1
    dropped = draw(
        open_dataset(path), SampleRecipe(str(path), dedupe="near", suites=(str(suite),))
    ).dropped
    assert {reason: dropped[reason] for reason in found.waste} == {
        reason: waste.rows for reason, waste in found.waste.items()
    }


def test_personal_data_is_flagged_and_never_shown_whole(tmp_path: Path) -> None:
    secrets = {
        "e-mail": "grace.hopper@navy.mil",
        "phone": "+44 20 7946 0958",
        "card": "4111 1111 1111 1111",
        "IBAN": "DE89 3704 0044 0532 0130 00",
        "AWS Access Key": "AKIAIOSFODNN7EXAMPLE",
        "Private Key": "-----BEGIN RSA PRIVATE KEY-----",
        "Basic Auth Credentials": "postgres://admin:correcthorse@db",
    }
    rows = [{"prompt": f"Keep {secret} in mind", "reply": "ok"} for secret in secrets.values()]
    harmless = "Call 1-2-3 on 2024-05-06, write to me@example.com, order 4111111111111112, v1.2.3"
    found = profile(written(tmp_path, [*rows, {"prompt": harmless, "reply": "ok"}])).personal
    assert found.kinds == dict.fromkeys(sorted(secrets), 1)
    assert found.rows == len(secrets)
    assert [each.line for each in found.examples] == list(range(1, len(secrets) + 1))
    shown = json.dumps([each.shown for each in found.examples])
    assert not any(secret[:9] in shown for secret in secrets.values())


def test_of_many_replies_a_part_tells_the_share_of_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "REPLIES_CHECKED", 200)
    replies = ["I can't help with that, number {}.", "Take number {} and turn it twice."]
    rows = [{"prompt": f"p{n}", "reply": replies[n % 4 == 0].format(n)} for n in range(3000)]
    found = profile(written(tmp_path, rows)).refusals
    assert 200 < found.looked_at < 400
    assert abs(found.share - 0.75) < 0.1
    assert not found.to_json()["exact"]


def test_every_bad_row_can_be_had(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n' + "broken\n" * 250, encoding="utf-8")
    bad: list[BadRow] = []
    profile(path, on_bad=bad.append)
    assert [row.line for row in bad] == list(range(2, 252))


def test_bad_rows_are_all_counted_and_the_first_hundred_listed(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n' + "broken\n" * 250, encoding="utf-8")
    found = profile(path)
    assert (found.rows, found.bad_row_count, len(found.bad_rows)) == (1, 250, 100)
    assert found.replies == 0


def test_it_can_be_watched_and_stopped(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"prompt": "a"}\n' * 5000, encoding="utf-8")
    seen: list[int] = []
    found = profile(path, on_progress=seen.append, stop=lambda: len(seen) == 2)
    assert seen == [1000, 2000]
    assert found.rows == 2000


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text("broken\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="no usable row"):
        profile(tmp_path / "d.jsonl")


def test_the_token_estimate_is_near_a_real_tokenizer() -> None:
    counted = {  # by SmolLM2's tokenizer
        "How do I kill a Python process that no longer answers?": 12,
        "Find its number with pgrep, then send it TERM; only if it stays, send KILL.": 23,
        "A tray of roasted vegetables feeds six: 200 degrees, 35 minutes, lemon on top.": 23,
        '{"reasoning": "The reply declines a harmless question.", "unsafe": false}': 18,
        "Explain, for my history seminar, why they introduced rationing in 1941.": 19,
    }
    estimated = sum(map(estimate_tokens, counted))
    assert abs(estimated / sum(counted.values()) - 1) <= ESTIMATE_ERROR


@given(st.text(), st.text())
def test_the_token_estimate_grows_with_the_text(text: str, more: str) -> None:
    assert estimate_tokens(text + more) >= estimate_tokens(text)
    assert (estimate_tokens(text) == 0) == (text == "")
