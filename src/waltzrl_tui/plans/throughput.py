"""How fast a GPU trains a LoRA adapter, and the memory it takes: formulas with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waltzrl_tui.plans.schema import Catalogue, GpuEntry, Precision

LOCAL_CHAT_PARAMS: Final = 3.5
"""Billions of parameters, in 4 bits, with which chat is usable without a GPU."""


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    """Training speed in tokens/s, from slow to fast."""

    low: float
    expected: float
    high: float


def memory_gb(params: float, longest: int, precision: Precision) -> float:
    """GPU memory for training on one row of `longest` tokens at a time, in 10⁹ bytes.

    Weights in bf16 (2 bytes) or 4 bits, adapter, optimizer, and activations that grow with the
    row, as Qwen's README measured for Qwen-7B (7.7 billion parameters) on an A100: LoRA 20.1,
    23.8 and 36.6 GB at 256, 2,048 and 8,192 tokens, Q-LoRA 11.5 and 13.9 GB at 256 and 2,048.

    Args:
        params: Billions of parameters of the model.
    """
    activations = 0.27 * params * longest / 1000
    if precision == "LoRA":
        return 2.25 * params + 2.0 + activations
    return 0.8 * params + 4.8 + activations


def chat_memory_gb(params: float) -> float:
    """GPU memory for chat with two adapters over one 4-bit base, in 10⁹ bytes.

    Args:
        params: Billions of parameters of the base.
    """
    return 0.65 * params + 2.0


def training_speed(
    catalogue: Catalogue, gpu: GpuEntry, params: float, precision: Precision, gpus: int = 1
) -> TrainingSpeed:
    """The training speed in tokens/s, computed from the catalogue's published figure.

    It grows with the GPU's dense TFLOPS and falls with the parameters, as a token takes about 4
    operations per parameter (forward, and backward without weight gradients).

    Args:
        params: Billions of parameters of the model.
        gpus: Equal GPUs that train together.
    """
    known = catalogue.throughput
    reference = catalogue.gpu[known.gpu]
    full = known.tokens_per_second * gpu.tflops / reference.tflops * known.params / params
    if precision == "QLoRA":
        full *= known.qlora
    if gpus > 1:
        full *= gpus * known.many
    return TrainingSpeed(full * known.low, full * known.expected, full * known.high)


def match_gpu(catalogue: Catalogue, name: str) -> str | None:
    """The catalogue's name for the GPU that a driver or a price list calls `name`, if any."""
    words = _words(name.lower().replace("nvidia", " ").replace("geforce", " "))
    best: tuple[int, str] | None = None
    for title, gpu in catalogue.gpu.items():
        for alias in (*gpu.names, title.lower()):
            alias = alias.removeprefix("nvidia ")
            parts = _words(alias)
            # Whole words, so that an A100 is not an A10; the longest matching name wins.
            matches = any(
                words[at : at + len(parts)] == parts for at in range(len(words) - len(parts) + 1)
            )
            if matches and (best is None or len(alias) > best[0]):
                best = (len(alias), title)
    return best[1] if best else None


def _words(name: str) -> list[str]:
    return name.replace("_", " ").replace("-", " ").split()
