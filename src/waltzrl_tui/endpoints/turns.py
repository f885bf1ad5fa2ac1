"""Chats for APIs without system turns, where the roles must alternate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from waltzrl_tui.records.messages import Message

FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
"""Why a reply ended: these APIs' words as `Origin.finish` has them."""


def split_system(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The system message ("" for none) and the other turns: none empty, roles alternating."""
    system = "\n\n".join(turn["content"] for turn in messages if turn["role"] == "system")
    turns: list[Message] = []
    for turn in messages:
        role, text = turn["role"], turn["content"]
        if role == "system" or not text.strip():
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n\n{text}"}
        else:
            turns.append({"role": role, "content": text})
    return system, turns
