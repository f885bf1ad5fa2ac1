"""Tokens/s of embedded LoRA training beside TRL's SFTTrainer: same rows, model, adapter, batch.

    python benchmarks/bench_train.py [--rows 48]

TRL is not a dependency: `pip install trl` first, or only our own figure is printed.
Both train the same adapter (r16, all linear layers of the last 10) for one epoch, batch 8, in a
process of their own; time is that of the training loop alone, tokens are unpadded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAST_LAYERS, RANK, ALPHA, BATCH, RATE = 10, 16, 32, 8, 5e-4


def _rows(count: int) -> list[Any]:
    from waltzrl_tui.datasets.reading.read import open_dataset
    from waltzrl_tui.datasets.reading.rows import Row
    from waltzrl_tui.training_data.rendering import feedback_rows

    rows = [row for row in open_dataset(ROOT / "data" / "starter.jsonl") if isinstance(row, Row)]
    return feedback_rows(rows[:count], {}, "feedback/brief-1")[:count]


def _source() -> str:
    from waltzrl_tui.local.weights import find_weights
    from waltzrl_tui.workspace import Workspace

    return find_weights(Workspace.find(ROOT)).source


def ours(count: int) -> dict[str, float]:
    from waltzrl_tui.local.recipe import TrainingSettings
    from waltzrl_tui.local.training import Trainer, TrainingStep
    from waltzrl_tui.local.work import training_threads

    settings = TrainingSettings(
        epochs=1.0, batch_rows=BATCH, learning_rate=RATE, rank=RANK, alpha=ALPHA,
        last_layers=LAST_LAYERS, decision_weight=1.0, checkpoint_seconds=1e9,
    )  # fmt: skip
    steps: list[tuple[float, float, TrainingStep]] = []
    started: list[tuple[float, float]] = []

    def report(said: Any) -> None:
        if isinstance(said, TrainingStep):
            steps.append((time.perf_counter(), time.process_time(), said))
        else:
            started.append((time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            _source(), Path(folder), _rows(count), [], settings,
            report=report, stop=threading.Event(), threads=training_threads(),
        ).run()  # fmt: skip
    wall, cpu = steps[-1][0] - started[0][0], steps[-1][1] - started[0][1]
    tokens = steps[-1][2].values["tokens"]
    return {"tokens": tokens, "seconds": wall, "cpu": cpu, "loss": steps[-1][2].values["loss"]}


def peer(count: int) -> dict[str, float]:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from waltzrl_tui.local.model import _linear_names
    from waltzrl_tui.local.work import training_threads

    torch.set_num_threads(training_threads())
    source = _source()
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    layers = model.config.num_hidden_layers
    rows = [
        {"prompt": list(row.messages[:-1]), "completion": [row.messages[-1]]}
        for row in _rows(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=model,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
            args=SFTConfig(
                output_dir=folder, per_device_train_batch_size=BATCH, num_train_epochs=1,
                learning_rate=RATE, bf16=False, fp16=False, use_cpu=True, report_to=[],
                save_strategy="no", logging_steps=1, disable_tqdm=True, max_length=512,
                gradient_checkpointing=False, dataloader_pin_memory=False,
            ),
            peft_config=LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, task_type="CAUSAL_LM",
                target_modules=_linear_names(model),
                layers_to_transform=list(range(layers - LAST_LAYERS, layers)),
            ),
        )  # fmt: skip
        tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
        began, spent = time.perf_counter(), time.process_time()
        result = trainer.train()
    return {
        "tokens": tokens,
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - spent,
        "loss": result.training_loss,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--side", choices=["ours", "peer"])
    args = parser.parse_args()
    if args.side:
        # TRL prints; the figures go to the real stdout alone.
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        out.write(json.dumps((ours if args.side == "ours" else peer)(args.rows)))
        out.close()
        return 0
    sides = ["ours"] + (["peer"] if find_spec("trl") else [])
    figures = {}
    for side in sides:
        done = subprocess.run(
            [sys.executable, __file__, "--rows", str(args.rows), "--side", side],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        figures[side] = json.loads(done.stdout)
    speed = {side: found["tokens"] / found["seconds"] for side, found in figures.items()}
    words = ", ".join(
        f"{side} {speed[side]:.0f} tok/s ({found['tokens'] / found['cpu']:.0f} a CPU s, "
        f"{found['tokens']:.0f} tokens)"
        for side, found in figures.items()
    )
    ratio = f"; ratio {speed['ours'] / speed['peer']:.2f}, at least 1.2" if len(speed) == 2 else ""
    print(f"train: {words}{ratio}" + ("" if ratio else "; pip install trl for its peer"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
