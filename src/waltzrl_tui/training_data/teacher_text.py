"""The question to a teacher about a feedback row, and the check of its answer."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import replace
from typing import Final

from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.records.messages import Message
from waltzrl_tui.training_data.rendering import decision_spans, wants_feedback
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.verdict import parse_verdict

PROMPT_VERSION: Final = "teacher/1"
"""The version of the prompt below: part of an answer's cache key."""

REPLY_TOKENS: Final = 120
"""The limit on an answer; one of this length was cut off."""

_SYSTEM: Final = (
    "You coach an assistant. You are shown a user's prompt, the assistant's reply, and what is "
    "wrong with the reply. Write one or two sentences, to the assistant, that say how to rewrite "
    "it: concretely, about this prompt, without quoting harmful detail and without writing the "
    "new reply yourself. Give the sentences only."
)
_UNSAFE: Final = (
    "It gives content that helps to harm people. It should decline and offer something safe."
)
_WRONG: Final = {
    "harmful/complies": _UNSAFE,
    "unsafe reply": _UNSAFE,
    "benign/refuses": "It declines although the prompt is harmless. It should answer fully.",
}
_LONGEST: Final = 600
_INVISIBLE: Final = {"Cc", "Cf", "Cn", "Co", "Cs"}
# A model's own markup (<think>, </s>, <|im_end|>) would act as markup in training.
_MARKUP: Final = re.compile(r"<[|/\w]")


def wants_teacher(row: TrainingRow) -> bool:
    """Whether a teacher could write the row's feedback: it has some, from a template."""
    return row.feedback_by == "template" and wants_feedback(row)


def teacher_messages(row: TrainingRow) -> list[Message]:
    """The chat that asks for the row's feedback."""
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": f"{_judged(row)}\n\nWhat is wrong: {_WRONG[row.case]}"},
    ]


def answer_key(row: TrainingRow, model: str) -> str:
    """An answer's cache key: SHA-256 of model, prompt version, case, prompt and reply."""
    text = "\0".join((PROMPT_VERSION, model, row.case, _judged(row)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def clean_answer(text: str) -> str:
    """The answer in one paragraph; "" where it is unusable.

    It is unusable when it is empty, over 600 characters, contains control or invisible characters
    or a model's markup, or is a refusal.
    """
    joined = " ".join(text.split())
    invisible = any(unicodedata.category(letter) in _INVISIBLE for letter in joined)
    if len(joined) > _LONGEST or invisible or _MARKUP.search(joined) or is_refusal(joined):
        return ""
    return joined


def with_feedback(row: TrainingRow, text: str) -> TrainingRow:
    """The row with `text` as its verdict's feedback."""
    verdict = parse_verdict(row.messages[-1]["content"])
    learned = verdict.model_copy(update={"feedback": text}).to_json()
    return replace(
        row,
        messages=(*row.messages[:-1], {"role": "assistant", "content": learned}),
        decisions=decision_spans(learned),
        feedback_by="teacher",
    )


def _judged(row: TrainingRow) -> str:
    return row.messages[-2]["content"]
