"""What is rendered for training and read back is what was rendered, for every provider."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.datasets.reading.read import iter_rows
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.records.messages import Message
from waltzrl_tui.training_data.provider_formats import STYLES
from waltzrl_tui.training_data.rendering import conversation_rows, feedback_rows
from waltzrl_tui.training_data.training_file import read_training, write_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION, DEFAULT_FEEDBACK

# Line ends of every kind, quotes, controls, and texts that look like JSON or like a bad line.
_ODD = st.sampled_from(
    ["\r\n", "\u2028", "\x85", "\x0b", "\0", '"', "\\", '{"a": 1}', "!{}", "\ufeff", "😀", "\u0301"]
)
_TEXT = st.lists(
    st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), _ODD), max_size=5
).map("".join)
_FILLED = _TEXT.filter(str.strip)
# What came before the prompt, as chats of turns and files of pairs have it.
_BEFORE = st.lists(st.tuples(_FILLED, _FILLED), max_size=2).flatmap(
    lambda pairs: st.sampled_from(
        [
            {},
            {"system": "Be brief.", "history": [list(pair) for pair in pairs]},
            {
                "history": [
                    {"role": role, "content": text}
                    for pair in pairs
                    for role, text in zip(("user", "assistant"), pair, strict=True)
                ]
            },
            {"history": "no chat"},
        ]
    )
)
_ROWS = st.lists(
    st.builds(
        Row,
        line=st.integers(1, 9),
        prompt=_FILLED,
        reply=_FILLED,
        harm=st.sampled_from(["harmful", "benign"]),
        category=_TEXT,
        extra=_BEFORE,
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(_ROWS, st.sampled_from(sorted(STYLES)), st.booleans())
def test_rendering_and_reading_back_loses_nothing(
    rows: list[Row], provider: str, feedback: bool
) -> None:
    rollouts = {row.prompt: f"Sure: {row.reply}" for row in rows}
    if feedback:
        made = feedback_rows(rows, rollouts, DEFAULT_FEEDBACK)
    else:
        made = conversation_rows(rows, rollouts, DEFAULT_CONVERSATION)
        before = [(row.prompt, row.history) for row in rows]
        assert all(_has(row.messages, before) for row in made)
    if not made:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.jsonl"
        write_training(path, made, STYLES[provider])
        read = list(iter_rows(path))
        own = STYLES[provider] in ("local", "chat")
        again = read_training(path) if own else []
    if STYLES[provider] == "bedrock_pairs":
        # A vendor's own wording around the turns: that all of them are there is what counts.
        for row, told in zip(read, made, strict=True):
            assert isinstance(row, Row)
            assert row.reply == told.messages[-1]["content"]
            assert all(turn["content"] in row.prompt for turn in told.messages[:-1])
        return
    assert [_turns(row) for row in read] == [
        [(turn["role"], turn["content"]) for turn in row.messages] for row in made
    ]
    if STYLES[provider] == "local":
        assert again == made
    elif STYLES[provider] == "chat":
        assert [row.messages for row in again] == [row.messages for row in made]


def _has(messages: Sequence[Message], before: Sequence[tuple[str, tuple[Message, ...]]]) -> bool:
    """Whether the turns before some row's prompt come before it in these messages."""
    system, *turns = messages
    for prompt, history in before:
        told = [turn["content"] for turn in history if turn["role"] == "system"]
        asked = [turn for turn in history if turn["role"] != "system"]
        asked.append({"role": "user", "content": prompt})
        if turns[: len(asked)] == asked and system["content"].endswith("\n\n".join(told)):
            return True
    return False


def _turns(row: object) -> list[tuple[str, str]]:
    """The chat that a row was read from."""
    assert isinstance(row, Row)
    history = [(turn["role"], turn["content"]) for turn in row.history]
    return [*history, ("user", row.prompt), ("assistant", row.reply)]


@given(_ROWS)
def test_rows_written_as_they_are_read_are_read_as_they_were(rows: list[Row]) -> None:
    rows = [Row(number, *_labelled(row)) for number, row in enumerate(rows, 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        lines = [json.dumps(row.to_json(), ensure_ascii=row.line % 2 == 0) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        assert list(iter_rows(path)) == rows


def _labelled(row: Row) -> tuple[str, str, str, str]:
    return row.prompt, row.reply, row.harm, row.category
