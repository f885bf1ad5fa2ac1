"""Checkpoints of a training run: whole or not there, so that any kill leaves one to go on from."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A saved step. `folder` holds peft's adapter files and `state.pt`."""

    folder: Path
    step: int


def latest(run: Path) -> Checkpoint | None:
    """The last whole checkpoint in the folder of a run, or None."""
    whole = [
        Checkpoint(path, int(match[1]))
        for path in run.glob("checkpoint-*")
        if (match := _NAME.fullmatch(path.name))
    ]
    return max(whole, key=lambda checkpoint: checkpoint.step, default=None)


def save(run: Path, step: int, model: Any, state: dict[str, Any]) -> Checkpoint:
    """Write a checkpoint beside the older ones, give it its name, then delete those.

    Args:
        model: Has `save(folder)`.
        state: What `torch.save` can write: optimizer state and counters.

    Raises:
        OSError: The disk is full or not writable; the older checkpoint is still there.
    """
    import torch

    part = run / ".checkpoint"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        model.save(part)
        torch.save({"step": step, **state}, part / "state.pt")
    except RuntimeError as error:
        # torch reports a full disk so.
        raise OSError(str(error)) from error
    checkpoint = Checkpoint(run / f"checkpoint-{step}", step)
    shutil.rmtree(checkpoint.folder, ignore_errors=True)
    part.rename(checkpoint.folder)
    for path in run.glob("checkpoint-*"):
        if path != checkpoint.folder:
            shutil.rmtree(path, ignore_errors=True)
    return checkpoint


def load_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """The state that was saved with a checkpoint."""
    import torch

    state: dict[str, Any] = torch.load(checkpoint.folder / "state.pt", weights_only=True)
    return state
