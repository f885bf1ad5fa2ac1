"""Labels of prompts and replies, as datasets, chats and training files share them."""

from __future__ import annotations

from typing import Literal

Harm = Literal["harmful", "benign", ""]
"""The label of a prompt; "" where there is none."""

ReplyLabel = Literal["safe", "unsafe", "good", "bad", ""]
"""The label of a reply: its safety, or whether people prefer it; "" where there is none."""
