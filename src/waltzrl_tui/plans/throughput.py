"""How fast a GPU trains a LoRA adapter, and how much memory that takes: formulas with sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waltzrl_tui.plans.schema import Catalogue, GpuEntry, Precision

LOCAL_CHAT_PARAMS: Final = 3.5
"""Billions of parameters that a machine without a GPU still chats with in 4 bits."""


@dataclass(frozen=True, slots=True)
class TrainingSpeed:
    """Tokens a second of training, from slow to fast."""

    low: float
    expected: float
    high: float


def memory_gb(params: float, longest: int, precision: Precision) -> float:
    """GPU memory that training takes, in 10⁹ bytes, one row of `longest` tokens at a time.

    Weights in bf16 (2 bytes) or 4 bits, adapter, optimizer, and activations that grow with the
    row, as Qwen's README measured for Qwen-7B on an A100: LoRA 20.1, 23.8 and 36.6 GB at 256,
    2,048 and 8,192 tokens, Q-LoRA 11.5 and 13.9 GB at 256 and 2,048.
    """
    activations = 0.27 * params * longest / 1000
    if precision == "LoRA":
        return 2.25 * params + 2.0 + activations
    return 0.8 * params + 4.8 + activations


def chat_memory_gb(params: float) -> float:
    """GPU memory that chat with two adapters over one base in 4 bits takes, in 10⁹ bytes."""
    return 0.65 * params + 2.0


def training_speed(
    catalogue: Catalogue, gpu: GpuEntry, params: float, precision: Precision, gpus: int = 1
) -> TrainingSpeed:
    """LoRA training of a model of `params` billion parameters, computed from the published figure.

    In proportion to the GPU's dense TFLOPS and to the inverse of the parameters, as work per
    token is about 4 operations a parameter (forward, and backward without weight gradients).
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
    """The catalogue's name of a GPU that a driver or a price list calls `name`."""
    wanted = " ".join(name.lower().replace("nvidia", " ").replace("geforce", " ").split())
    best: tuple[int, str] | None = None
    for title, gpu in catalogue.gpu.items():
        for part in (*gpu.names, title.lower()):
            part = part.removeprefix("nvidia ")
            words = wanted.replace("_", " ").replace("-", " ").split()
            looked = part.replace("_", " ").replace("-", " ").split()
            # Whole words, so that an A100 is no A10; the longest name that fits wins.
            fits = any(
                words[at : at + len(looked)] == looked for at in range(len(words) - len(looked) + 1)
            )
            if fits and (best is None or len(part) > best[0]):
                best = (len(part), title)
    return best[1] if best else None
