"""Training rows as the lines that each provider accepts.

Sources: the vendors' documentation and SDKs, November 2026. Some of them reject extra fields, so a
provider's file contains the chat only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from waltzrl_tui.errors import DatasetError
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.providers import EMBEDDED, PROVIDERS

Style = Literal["local", "chat", "bedrock", "bedrock_pairs", "preferences"]

STYLES: Final[dict[str, Style]] = {
    "local" if name == EMBEDDED else name: facts.style
    for name, facts in PROVIDERS.items()
    if facts.style
}
"""The format of each provider's rows, by the name that commands take for it."""


# A Nova job fails on a turn that begins like this or contains one of these (AWS's guide).
_NOVA: Final = re.compile(r"\A\s*(?:User|Bot|Assistant|System):|<image>|<video>|\[EOS\]")


def bedrock_style(model: str) -> Style:
    """Bedrock's format for this base model."""
    pairs = re.search(r"llama-?3[-.]1\b", model, re.I)
    return "bedrock_pairs" if pairs else "bedrock"


def provider_line(
    messages: Sequence[Message], style: Style, number: int = 0, *, rejected: str = ""
) -> dict[str, Any]:
    """One chat in a provider's format, complete.

    Args:
        rejected: The worse answer, for the style `preferences` (OpenAI's, which Together and
            Fireworks accept too).
        number: The row's number in its file, for errors.

    Raises:
        DatasetError: Bedrock accepts only chats that alternate between user and assistant and end
            with the assistant.
    """
    if style == "preferences":
        return {
            "input": {"messages": [dict(turn) for turn in messages[:-1]]},
            "preferred_output": [dict(messages[-1])],
            "non_preferred_output": [{"role": "assistant", "content": rejected}],
        }
    if style in ("local", "chat"):
        return {"messages": [dict(turn) for turn in messages]}
    system = [turn for turn in messages if turn["role"] == "system"]
    turns = [dict(turn) for turn in messages if turn["role"] != "system"]
    wanted = ["user", "assistant"] * (len(turns) // 2)
    if not turns or [turn["role"] for turn in turns] != wanted:
        raise DatasetError(
            f"Row {number} cannot be written for Bedrock: its turns do not alternate between "
            "user and assistant.",
            hint="Leave the row out, or train with another provider.",
        )
    if style == "bedrock_pairs":
        return {"prompt": _llama([*system, *turns[:-1]]), "completion": turns[-1]["content"]}
    for turn in turns:
        if match := _NOVA.search(turn["content"]):
            raise DatasetError(
                f"Row {number} cannot be written for Bedrock: a turn holds “{match[0].strip()}”, "
                "which its models reject.",
                hint=f"Leave such rows out, for example with --where \"prompt not like '%"
                f"{match[0].strip()}%'\".",
            )
    return {
        "schemaVersion": "bedrock-conversation-2024",
        **({"system": [{"text": turn["content"]} for turn in system]} if system else {}),
        "messages": [
            {"role": turn["role"], "content": [{"text": turn["content"]}]} for turn in turns
        ],
    }


def _llama(messages: Sequence[Message]) -> str:
    """The chat in Llama 3's template (Meta's model card), up to the start of the reply."""
    turns = "".join(
        f"<|start_header_id|>{turn['role']}<|end_header_id|>\n\n{turn['content']}<|eot_id|>"
        for turn in messages
    )
    return f"<|begin_of_text|>{turns}<|start_header_id|>assistant<|end_header_id|>\n\n"
