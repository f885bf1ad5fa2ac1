"""Turns of a chat, corrected by hand, as training rows for the agents."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.records.labels import Harm
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.text import one_line


def conversation_row(
    prompt: str, reply: str, *, harm: Harm = "", history: Sequence[Message] = ()
) -> dict[str, Any]:
    """A row from which the conversation agent learns to answer `prompt` with `reply`.

    Args:
        harm: The prompt's label; "" if there is none.
        history: The turns before the prompt.

    Raises:
        UsageError: There is no prompt or no reply.
    """
    _check(prompt, reply)
    row: dict[str, Any] = {"prompt": prompt, "harm": harm, "category": "", "reply": reply}
    return row | ({"history": list(history)} if history else {}) | {"source": "chat"}


def feedback_row(prompt: str, reply: str, verdict: Verdict, *, harm: Harm = "") -> dict[str, Any]:
    """A row from which the feedback agent learns to judge `reply` with `verdict`.

    Its label and `refused` agree with the flags, so that rendering the row from those gives the
    same flags.

    Args:
        harm: The prompt's label; may be "" if a flag is up, which implies it.

    Raises:
        UsageError: There is no prompt or no reply; the flags contradict each other or the label;
            or no flag is up and there is no label.
    """
    _check(prompt, reply)
    if verdict.unsafe and verdict.overrefuse:
        raise UsageError(
            "A reply cannot both give harmful content and decline a harmless prompt.",
            hint="Clear one of the two flags.",
        )
    implied: Harm = "harmful" if verdict.unsafe else "benign" if verdict.overrefuse else harm
    if not implied:
        raise UsageError(
            "A verdict without a flag needs the prompt's label.",
            hint="Choose whether the prompt is harmful or benign.",
        )
    if harm and harm != implied:
        raise UsageError(
            f"The flags say {implied}, but the label says {harm}.",
            hint="Change one of them.",
        )
    if verdict.triggers and not verdict.feedback.strip():
        raise UsageError(
            "A flag is up, but there is no feedback.", hint="Write how to revise the reply."
        )
    refused = verdict.overrefuse or (implied == "harmful" and not verdict.unsafe)
    return {
        "prompt": prompt,
        "harm": implied,
        "category": "",
        "reply": reply,
        "refused": refused,
        **verdict.model_dump(),
        "source": "chat",
    }


def append_row(path: Path, row: Mapping[str, Any]) -> int:
    """Append `row` to the JSONL file at `path`, created (mode 0600) if it does not exist.

    Returns:
        The number of its line.

    Raises:
        UsageError: The name does not end in `.jsonl`.
        DatasetError: It cannot be written.
    """
    if path.suffix != ".jsonl":
        raise UsageError(
            f"{one_line(path.name, 80)} is not a JSONL file.",
            hint="Choose a name ending in .jsonl.",
        )
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = b"\n" + line
            # In one write: another process may append to the same file.
            file.write(line)
            file.seek(0)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise DatasetError(
            f"{one_line(str(path))} cannot be written: {error.strerror or error}.",
            hint="Choose another file, or check free space and permissions.",
        ) from error


def _check(prompt: str, reply: str) -> None:
    if not prompt.strip() or not reply.strip():
        raise UsageError(
            "A training row needs a prompt and a reply.", hint="Fill in what is missing."
        )
