"""Small things that the tests of providers share."""

from __future__ import annotations

from typing import Any

from waltzrl_tui.providers.protocol import TuneRequest


async def quiet(sent: int, whole: int) -> None:
    """Progress that nobody watches."""


def request(training_file: str, **changes: Any) -> TuneRequest:
    """A request with the tag `k3f-conv-1a2b`."""
    values: dict[str, Any] = {
        "tag": "k3f-conv-1a2b",
        "role": "conversation",
        "model": "Qwen/Qwen3-8B",
        "method": "sft",
        "training_file": training_file,
        "validation_file": "",
        "epochs": 3,
        "rows": 12,
        "tokens": 300,
    }
    return TuneRequest(**{**values, **changes})
