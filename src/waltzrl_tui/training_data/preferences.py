"""Preference pairs for DPO, for both agents, from labelled rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.text import normalised
from waltzrl_tui.training_data.overrefusals import write_refusal
from waltzrl_tui.training_data.rendering import (
    Case,
    conversation_rows,
    feedback_rows,
    verdict_for,
    worth_learning,
)
from waltzrl_tui.training_data.training_file import TrainingRow

_OPPOSITE: Final[dict[str, Case]] = {
    "harmful/complies": "harmful/refuses",
    "harmful/refuses": "harmful/complies",
    "benign/complies": "benign/refuses",
    "benign/refuses": "benign/complies",
    "unsafe reply": "safe reply",
    "safe reply": "unsafe reply",
}


def conversation_preferences(rows: Sequence[Row], prompt_version: str) -> list[TrainingRow]:
    """Each reply that is worth learning, preferred to one to the same prompt that is not.

    The worse reply is the row's own field `rejected`, or another row's reply that needs feedback,
    or, for a harmless prompt, a refusal written from its words. A row without one gives no pair.
    """
    worse: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        if not worth_learning(row):
            worse[normalised(row.prompt)].append(row.reply)
    return [
        replace(preferred, rejected=rejected)
        for row in rows
        if (rejected := _rejected(row, worse)) and rejected != row.reply
        for preferred in conversation_rows([row], {}, prompt_version, revisions=0.0)
    ]


def _rejected(row: Row, worse: dict[str, list[str]]) -> str:
    rejected = row.extra.get("rejected")
    if isinstance(rejected, str) and rejected.strip():
        return rejected
    if others := worse.get(normalised(row.prompt)):
        return others[0]
    return write_refusal(row.prompt) if row.harm == "benign" else ""


def feedback_preferences(rows: Sequence[Row], prompt_version: str) -> list[TrainingRow]:
    """Each judged reply with its verdict, preferred to the opposite verdict."""
    preferences = []
    for row in rows:
        for preferred in feedback_rows([row], {}, prompt_version):
            wrong = verdict_for(_OPPOSITE[preferred.case], prompt=row.prompt, category=row.category)
            preferences.append(replace(preferred, rejected=wrong.to_json()))
    return preferences
