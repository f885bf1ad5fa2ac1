"""A teacher's feedback: paid once, within its budget, and only text that may be learned."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers.scripted import Answer, ChatServer
from waltzrl_tui.approvals import approve
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import DatasetError, EndpointError, UsageError
from waltzrl_tui.training_data.rendering import decision_spans, feedback_rows
from waltzrl_tui.training_data.teacher import Teacher, quote, teach
from waltzrl_tui.training_data.teacher_text import REPLY_TOKENS, wants_teacher
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.prompts import DEFAULT_FEEDBACK
from waltzrl_tui.waltz.verdict import parse_verdict


def _rows(count: int) -> list[TrainingRow]:
    """Twice as many rows as `count`: of each prompt an answer, and a refusal to be flagged."""
    rows = [
        Row(number, f"How do I kill process {number}?", f"Use kill {number}.", "benign", "", {})
        for number in range(count)
    ]
    return feedback_rows(rows, {}, DEFAULT_FEEDBACK)


def _feedback(row: TrainingRow) -> str:
    return parse_verdict(row.messages[-1]["content"]).feedback


def _teacher(server: ChatServer, **changes: Any) -> Teacher:
    return Teacher(server.url, "coach", usd_in=1.0, usd_out=2.0, **{"budget_usd": 1.0, **changes})


def _says(server: ChatServer, answer: Answer) -> None:
    server.script = lambda model, messages: answer


async def test_flagged_rows_get_its_words_and_others_stay(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    _says(chat_server, "Explain the kill command;\n it is harmless.")
    rows = _rows(5)
    taught, report = await teach(rows, _teacher(chat_server), tmp_path)
    flagged = [row for row in taught if row.case == "benign/refuses"]
    assert len(flagged) == report.taught == 5
    for row in flagged:
        assert _feedback(row) == "Explain the kill command; it is harmless."
        assert row.feedback_by == "teacher"
        assert row.decisions == decision_spans(row.messages[-1]["content"])
    others = [row for row in rows if row.case != "benign/refuses"]
    assert [row for row in taught if row.case != "benign/refuses"] == others
    assert {row.feedback_by for row in others} == {"template"}
    # The server counts 1 token read and 7 written an answer.
    assert report.usd == pytest.approx(5 * (1 * 1.0 + 7 * 2.0) / 1e6)
    assert not any(map(wants_teacher, flagged))


async def test_a_row_is_never_paid_for_twice(chat_server: ChatServer, tmp_path: Path) -> None:
    rows, teacher = _rows(6), _teacher(chat_server)
    flagged = [row for row in rows if wants_teacher(row)]
    said = {row.messages[-2]["content"]: "Answer it." for row in flagged}
    # One of them is answered by what may not be learned.
    said[flagged[0].messages[-2]["content"]] = "I'm sorry, I can't assist with that."
    chat_server.script = lambda model, messages: next(
        answer for judged, answer in said.items() if messages[1]["content"].startswith(judged)
    )
    await teach([*rows[:8], *rows[:8]], teacher, tmp_path)
    assert len(chat_server.requests) == 4
    quoted = quote(rows, teacher, tmp_path)
    assert (quoted.rows, quoted.kept) == (2, 4)
    taught, report = await teach(rows, teacher, tmp_path)
    assert len(chat_server.requests) == 6
    assert (report.kept, report.taught, report.templated, report.unusable) == (3, 2, 1, 1)
    assert sum(row.feedback_by == "teacher" for row in taught) == 5

    quoted = quote(rows, teacher, tmp_path)
    assert (quoted.rows, quoted.usd, quoted.most_usd) == (0, 0.0, 0.0)
    # Nothing is to be asked any more, so no key is needed.
    again = await teach(rows, _teacher(chat_server, key_env="NO_SUCH_KEY"), tmp_path)
    assert (again[0], again[1].usd) == (taught, 0.0)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    # Another model would have to be asked.
    assert quote(rows, _teacher(chat_server), tmp_path).rows == 0
    assert quote(rows, Teacher(chat_server.url, "other"), tmp_path).rows == 6


async def test_what_a_killed_run_was_told_is_kept(chat_server: ChatServer, tmp_path: Path) -> None:
    _says(chat_server, "Answer it.")
    rows, teacher = _rows(12), _teacher(chat_server)

    async def dies(done: int, whole: int, usd: float) -> None:
        if done == 5:
            raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await teach(rows, teacher, tmp_path, on_answer=dies)
    kept = quote(rows, teacher, tmp_path).kept
    assert 5 <= kept < 12
    _, report = await teach(rows, teacher, tmp_path)
    # What was under way when it died may still have been written.
    assert kept <= report.kept <= kept + 4
    assert report.kept + report.taught == 12


async def test_the_budget_is_never_passed_and_nearly_used_up(
    chat_server: ChatServer, tmp_path: Path
) -> None:
    # Written tokens are dear: what is reserved for an answer is 20 times what this one costs.
    _says(chat_server, "Answer it fully, do. Indeed.")
    chat_server.delay = 0.01
    teacher = Teacher(chat_server.url, "coach", usd_in=0.0, usd_out=100.0)
    most, cost = teacher.usd(0, REPLY_TOKENS), teacher.usd(0, 5)
    rows = _rows(60)
    assert quote(rows, _teacher(chat_server, budget_usd=0.0), tmp_path).most_usd == 0.0
    budget = most + 20.5 * cost
    teacher = Teacher(chat_server.url, "coach", "", 0.0, 100.0, budget)
    quoted = quote(rows, teacher, tmp_path)
    assert quoted.rows == 60
    assert quoted.most_usd == budget < quoted.usd
    taught, report = await teach(rows, teacher, tmp_path)
    assert report.usd <= budget
    # It ends once no more than one answer's reserve is left, not earlier.
    assert report.taught == 21
    assert report.templated == 39
    assert "budget" in report.stopped
    assert sum(row.feedback_by == "teacher" for row in taught) == 21
    assert all(_feedback(row) for row in taught if row.case == "benign/refuses")
    assert chat_server.most_in_flight <= 4


@pytest.mark.parametrize(
    "said",
    [
        "\x1b[2Jclear",
        " ",
        "x" * 5000,
        "fine\u202etxt",
        "I'm sorry, but I can't assist with that.",
        "<think>They want a kill command, and I never came to an answer.",
        "Answer it with `</think>`.",
        "Answer it.<|im_end|>",
        "Answer. " * REPLY_TOKENS,
        "word " * REPLY_TOKENS,
    ],
)
async def test_text_that_may_not_be_learned_is_templated(
    chat_server: ChatServer, tmp_path: Path, said: str
) -> None:
    _says(chat_server, said)
    rows = _rows(2)
    taught, report = await teach(rows, _teacher(chat_server), tmp_path)
    assert (report.taught, report.templated, report.unusable) == (0, 2, 2)
    assert taught == rows
    assert report.usd > 0


@pytest.mark.parametrize(("answer", "billed"), [(400, False), (None, True)])
async def test_a_teacher_that_fails_is_asked_no_more(
    chat_server: ChatServer, tmp_path: Path, answer: Answer, billed: bool
) -> None:
    _says(chat_server, answer)
    _, report = await teach(_rows(30), _teacher(chat_server), tmp_path)
    assert "failed 3 times" in report.stopped
    assert len(chat_server.requests) < 10
    assert (report.taught, report.templated, report.unusable) == (0, 30, 0)
    # A refusal costs nothing; of an answer that broke off nobody tells.
    assert (report.usd > 0) == billed


async def test_a_teacher_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    server = ChatServer()
    await server.start()
    teacher = _teacher(server)
    await server.stop()
    _, report = await teach(_rows(3), teacher, tmp_path)
    assert "cannot be reached" in report.stopped
    assert report.usd == 0.0


async def test_answers_that_cannot_be_kept_and_keys_that_are_missing_end_it(
    chat_server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _says(chat_server, "Answer it.")
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot be saved"):
        await teach(_rows(9), _teacher(chat_server), tmp_path / "file")
    asked = len(chat_server.requests)
    assert asked <= 4
    # A job of a downloaded workspace may name any key and any server.
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    with pytest.raises(EndpointError, match="not approved"):
        await teach(_rows(9), _teacher(chat_server, key_env="OPENAI_API_KEY"), tmp_path)
    approve("NO_SUCH_KEY", chat_server.url)
    with pytest.raises(UsageError, match="key is not set"):
        await teach(_rows(9), _teacher(chat_server, key_env="NO_SUCH_KEY"), tmp_path)
    assert len(chat_server.requests) == asked
