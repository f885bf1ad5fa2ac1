"""What the tests of providers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from waltzrl_tui.providers.protocol import ProviderContext, TrainingUpload

Upload = Callable[..., TrainingUpload]


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    """Makes a training file of `rows` chats."""

    def make(rows: int = 12, reply: str = "Use kill.", name: str = "train.jsonl") -> TrainingUpload:
        turns = [
            {"role": "system", "content": "Answer."},
            {"role": "user", "content": "How do I kill a process?"},
            {"role": "assistant", "content": reply},
        ]
        path = tmp_path / name
        lines = [json.dumps({"messages": turns, "n": n}) for n in range(rows)]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return TrainingUpload(path, digest, len(content), rows, f"conv-train-{digest[:16]}.jsonl")

    return make


@pytest.fixture
def context_for(tmp_path: Path) -> Callable[[str, str], ProviderContext]:
    """A context with one key and an address."""

    def make(key: str, url: str) -> ProviderContext:
        return ProviderContext(lambda _: key, url, tmp_path / "cache")

    return make
