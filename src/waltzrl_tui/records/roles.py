"""The two agents' roles, and how an agent is trained for one."""

from __future__ import annotations

from typing import Final, Literal

Role = Literal["conversation", "feedback"]

ROLES: Final[tuple[Role, ...]] = ("conversation", "feedback")

JobRole = Literal["conversation", "feedback", "both"]
"""The agent that a job trains; "both" for one that prepares the files of both."""

Method = Literal["sft", "dpo"]
"""Supervised fine-tuning, or direct preference optimization."""
