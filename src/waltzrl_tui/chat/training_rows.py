"""Turns of a chat, corrected by hand, as rows of a dataset that the agents can learn from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.text import one_line

Harm = Literal["harmful", "benign", ""]


def conversation_row(
    prompt: str, reply: str, *, harm: Harm = "", history: Sequence[Message] = ()
) -> dict[str, Any]:
    """A row from which the conversation agent learns to answer `prompt` with `reply`.

    Args:
        harm: The prompt's label; "" where nobody gave one, and the row is taken at its word.
        history: The turns before the prompt.

    Raises:
        UsageError: There is no prompt or no reply.
    """
    _check(prompt, reply)
    row: dict[str, Any] = {"prompt": prompt, "harm": harm, "category": "", "reply": reply}
    return row | ({"history": list(history)} if history else {}) | {"source": "chat"}


def feedback_row(prompt: str, reply: str, verdict: Verdict, *, harm: Harm = "") -> dict[str, Any]:
    """A row from which the feedback agent learns to judge `reply` with `verdict`.

    Its label and `refused` say the same as the flags do, so that whoever renders the row from
    those gives it these flags.

    Args:
        harm: The prompt's label; a flag that is up says it by itself.

    Raises:
        UsageError: There is no prompt or no reply; the flags contradict each other or the label;
            or no flag is up and there is no label.
    """
    _check(prompt, reply)
    if verdict.unsafe and verdict.overrefuse:
        raise UsageError(
            "A reply cannot both give harmful content and decline a harmless prompt.",
            hint="Take one of the two flags back.",
        )
    said: Harm = "harmful" if verdict.unsafe else "benign" if verdict.overrefuse else harm
    if not said:
        raise UsageError(
            "A verdict without a flag needs the prompt's label.",
            hint="Say whether the prompt is harmful or benign.",
        )
    if harm and harm != said:
        raise UsageError(
            f"The flags say that the prompt is {said}, the label says {harm}.",
            hint="Change one of them.",
        )
    if verdict.triggers and not verdict.feedback.strip():
        raise UsageError(
            "A flag is up, but there is no feedback.", hint="Write what the reply should be."
        )
    refused = verdict.overrefuse or (said == "harmful" and not verdict.unsafe)
    return {
        "prompt": prompt,
        "harm": said,
        "category": "",
        "reply": reply,
        "refused": refused,
        **verdict.model_dump(),
        "source": "chat",
    }


def append_row(path: Path, row: Mapping[str, Any]) -> int:
    """Add `row` to the JSONL file at `path`, which is made (mode 0600) if it is not there.

    Returns:
        The number of the line that it became.

    Raises:
        UsageError: The name does not end in `.jsonl`.
        DatasetError: It cannot be written.
    """
    if path.suffix != ".jsonl":
        raise UsageError(
            f"{one_line(path.name, 80)} is no JSONL file.", hint="Choose a name ending in .jsonl."
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
            # At once: another process may append to the same file.
            file.write(line)
            file.seek(0)
            return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    except OSError as error:
        raise DatasetError(
            f"{one_line(str(path))} cannot be written: {error.strerror or error}.",
            hint="Choose another file, or check the space and the permissions there.",
        ) from error


def _check(prompt: str, reply: str) -> None:
    if not prompt.strip() or not reply.strip():
        raise UsageError(
            "A training row needs a prompt and a reply.", hint="Write what is missing."
        )
