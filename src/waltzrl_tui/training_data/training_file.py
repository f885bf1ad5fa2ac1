"""Training files: chats to learn, written in the format of an engine or a provider."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from waltzrl_tui.errors import DatasetError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.tokenizers.estimate import estimate_tokens
from waltzrl_tui.training_data.provider_formats import Style, provider_line
from waltzrl_tui.workspace import private_write


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One chat to learn: the loss counts on its last message, the assistant's.

    Attributes:
        messages: System message, turns, and the assistant message that is learned.
        case: The prompt's label, and what the judged or learned reply does.
        source: The source of the judged (or, for a revision, the revised) reply.
        decisions: The spans, in characters of the learned message, of its deciding words.
        feedback_by: The author of a verdict's feedback: `template` (ours), `teacher`, or the
            `dataset`, which is never overwritten; "" in a row without a verdict.
        rejected: For DPO, the worse answer in place of the last message; "" without.
    """

    messages: tuple[Message, ...]
    case: str = ""
    source: str = "dataset"
    decisions: tuple[tuple[int, int], ...] = ()
    feedback_by: str = ""
    rejected: str = ""


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """A written training file. `tokens` is an estimate over the messages' text."""

    path: Path
    rows: int
    tokens: int
    sha256: str


def write_training(path: Path, rows: Sequence[TrainingRow], style: Style = "local") -> TrainingFile:
    """Write rows as JSONL (one object per line, UTF-8), atomically and with mode 0600.

    Args:
        style: The format; `local` keeps each row's case and deciding words beside its chat.

    Raises:
        DatasetError: There are no rows, or the file cannot be written.
    """
    if not rows:
        raise DatasetError(
            f"Nothing to write to {path.name}: no rows are left.",
            hint="Sample more rows, or check labels and replies with `waltzrl-tui data profile`.",
        )
    written = (
        _own_line(row)
        if style == "local"
        else provider_line(row.messages, style, number, rejected=row.rejected)
        for number, row in enumerate(rows, 1)
    )
    lines = [json.dumps(line, ensure_ascii=False) for line in written]
    text = "\n".join(lines) + "\n"
    try:
        private_write(path, text)
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="Free some space or choose another folder.",
        ) from error
    tokens = sum(estimate_tokens(turn["content"]) for row in rows for turn in row.messages)
    return TrainingFile(path, len(rows), tokens, hashlib.sha256(text.encode()).hexdigest())


def _own_line(row: TrainingRow) -> dict[str, Any]:
    line = asdict(row)
    if not row.rejected:
        del line["rejected"]
    return line


def read_training(path: Path) -> list[TrainingRow]:
    """The rows of a file that `write_training` wrote, or of any JSONL with `messages`.

    Raises:
        DatasetError: It cannot be read; the message names the line.
    """
    rows: list[TrainingRow] = []
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(_training_row(json.loads(line), path, number))
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as training rows: {error}.", hint="Render it again."
        ) from error
    return rows


def _training_row(value: Any, path: Path, number: int) -> TrainingRow:
    messages = value.get("messages") if isinstance(value, dict) else None
    if (
        not isinstance(messages, list)
        or not messages
        or not all(
            isinstance(turn, dict)
            and isinstance(turn.get("role"), str)
            and isinstance(turn.get("content"), str)
            for turn in messages
        )
        or messages[-1]["role"] != "assistant"
    ):
        raise DatasetError(
            f"{path}, line {number}: `messages` must be a list of objects with role and "
            "content that ends with the assistant.",
            hint="Render the file again with `waltzrl-tui data sample`.",
        )
    return TrainingRow(
        tuple(messages),
        case=str(value.get("case", "")),
        source=str(value.get("source", "")),
        decisions=tuple((int(begin), int(end)) for begin, end in value.get("decisions", ())),
        feedback_by=str(value.get("feedback_by", "")),
        rejected=str(value.get("rejected", "")),
    )
