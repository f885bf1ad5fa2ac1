"""Training rows as the lines that each provider takes.

Sources: the vendors' own documentation and SDKs, November 2026. Extra fields are refused by some
of them, so a provider's file holds the chat and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

from waltzrl_tui.agents.prompts import Message
from waltzrl_tui.errors import DatasetError

Style = Literal["local", "chat", "bedrock"]

STYLES: Final[dict[str, Style]] = {
    "local": "local",
    "together": "chat",
    "fireworks": "chat",
    "openai": "chat",
    "mistral": "chat",
    "tinker": "chat",
    "hf_jobs": "chat",
    "runpod": "chat",
    "vast": "chat",
    "lambda": "chat",
    "bedrock": "bedrock",
}
"""How each provider wants its rows: `messages` with a system turn, or (Bedrock) the system text in
a field of its own."""


def provider_line(messages: Sequence[Message], style: Style, number: int = 0) -> dict[str, Any]:
    """One chat in a provider's format; nothing of it is lost.

    Args:
        number: The row's number in its file, for errors.

    Raises:
        DatasetError: Bedrock takes only chats of user and assistant by turns, the assistant last.
    """
    if style != "bedrock":
        return {"messages": [dict(turn) for turn in messages]}
    system = [turn["content"] for turn in messages if turn["role"] == "system"]
    turns = [dict(turn) for turn in messages if turn["role"] != "system"]
    wanted = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [turn["role"] for turn in turns] != wanted:
        raise DatasetError(
            f"Row {number} cannot be written for Bedrock: its turns are not user and assistant by "
            "turns.",
            hint="Leave the row out, or train it at another provider.",
        )
    return ({"system": "\n\n".join(system)} if system else {}) | {"messages": turns}
