"""The training worker without a store or workspace: a job on a rented machine.

It was sent there as a zip file (`providers.worker_code`) and is started with a description of its
job. It trains as the embedded engine does, prints its rows as lines of its log
(`providers.worker_rows`), and brings the adapter to a private repository of the Hugging Face hub.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.errors import EngineError, WaltzError
from waltzrl_tui.local.lora_gguf import ADAPTER_GGUF
from waltzrl_tui.local.recipe import FULL, TrainingSettings
from waltzrl_tui.local.training import Note, Trainer, TrainingStep
from waltzrl_tui.providers.worker_rows import Kind, WorkerRow, written
from waltzrl_tui.store.rows import now
from waltzrl_tui.training_data.training_file import read_training

ADAPTER_FILES: Final = ("adapter_config.json", "adapter_model.safetensors", ADAPTER_GGUF)

_STEP_SECONDS: Final = 1.0
_PUSHES: Final = 5
_PUSH_SECONDS: Final = 10.0
_MAX_TOKENS: Final = 1024
_PIECE_TOKENS: Final = ((40e9, 4096), (0.0, 1280))
"""Padded tokens at a time by the GPU's memory (bytes, at least)."""

_NEVER: Final = 1e9


class Rows:
    """Numbers rows and prints them. Steps that follow within a second are left out, but those
    with a validation loss and the last."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._number = 0
        self._said_at = -_STEP_SECONDS
        self._lock = threading.Lock()

    def __call__(self, report: TrainingStep | Note) -> None:
        if isinstance(report, Note):
            self.put("note", text=report.text, level=report.level)
            return
        at = time.monotonic()
        last = report.step == report.total_steps
        if at - self._said_at < _STEP_SECONDS and "valid_loss" not in report.values and not last:
            return
        self._said_at = at
        self.put(
            "step", at=now(), step=report.step, total_steps=report.total_steps, **report.values
        )

    def put(self, kind: Kind, **values: Any) -> None:
        """Print one row."""
        with self._lock:
            self._number += 1
            self._say(written(WorkerRow(self._number, kind, values)))


def main(job: Mapping[str, Any]) -> int:
    """Train and upload the adapter; returns the exit status.

    Args:
        job: `files` (dataset repository), `train` and `valid` (paths in it, the second may be
            ""), `model`, `role`, `epochs`, `settings` (what differs from the recipe), `gpu`
            (whether one is paid for), `result` (repository of the adapter).
    """
    rows = Rows(lambda line: print(line, flush=True))
    try:
        with tempfile.TemporaryDirectory() as folder:
            adapter = train(job, Path(folder), rows)
            push(adapter, str(job["result"]), rows)
    except WaltzError as error:
        rows.put("note", text=str(error), level="error")
        return 1
    return 0


def train(job: Mapping[str, Any], folder: Path, rows: Rows) -> Path:
    """Fetch the files and train; the folder of the adapter.

    Raises:
        WaltzError: Files, settings, memory or disk.
    """
    rows(Note(f"downloading the rows and {job['model']}"))
    trainer = Trainer(
        str(job["model"]),
        folder,
        read_training(_fetched(job, "train")),
        read_training(_fetched(job, "valid")) if job.get("valid") else [],
        settings_of(job),
        report=rows,
        stop=threading.Event(),
        threads=os.cpu_count() or 1,
    )
    adapter = trainer.run()
    if adapter is None:
        raise EngineError("The training was stopped.", hint="Start a new job.")
    return adapter


def settings_of(job: Mapping[str, Any]) -> TrainingSettings:
    """The full recipe of the role, what the machine allows, and what the user wishes.

    Raises:
        UsageError: There is no setting of such a name.
        EngineError: A GPU is paid for and cannot be used.
    """
    chosen = FULL.settings(job["role"]).to_json()
    # Nothing outlives the machine, so nothing is kept for another start.
    chosen |= {"max_tokens": _MAX_TOKENS, "checkpoint_seconds": _NEVER}
    memory = _gpu_bytes()
    if memory:
        chosen["micro_tokens"] = next(size for least, size in _PIECE_TOKENS if memory >= least)
    elif job.get("gpu"):
        raise EngineError(
            "The machine's GPU cannot be used: its driver and torch are incompatible.",
            hint="Choose another machine with the option flavor.",
        )
    chosen |= dict(job.get("settings") or {})
    return TrainingSettings.from_json(chosen | {"epochs": float(job["epochs"])})


def push(adapter: Path, repo: str, rows: Rows) -> None:
    """Send the adapter to a private repository, with retries: it took hours to make.

    Raises:
        EngineError: None of them succeeded.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    for number in range(1, _PUSHES + 1):
        try:
            api.create_repo(repo, private=True, exist_ok=True)
            api.upload_folder(
                folder_path=adapter,
                repo_id=repo,
                allow_patterns=list(ADAPTER_FILES),
                commit_message="LoRA adapter",
            )
        except Exception as error:
            # Whatever the SDK raises, another try may succeed.
            text = f"The adapter could not be sent: {type(error).__name__}: {error}"
            if number == _PUSHES:
                raise EngineError(text, hint="Check that the token has write access.") from error
            rows(Note(text, "warning"))
            time.sleep(_PUSH_SECONDS * number)
        else:
            rows.put("result", repo=repo)
            return


def _fetched(job: Mapping[str, Any], split: str) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(str(job["files"]), str(job[split]), repo_type="dataset"))


def _gpu_bytes() -> int:
    """Memory of the GPU, 0 without one."""
    import torch

    return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else 0
