"""A small GGUF model in 8 bits: twice the bytes of 4 bits, and a good deal faster on a CPU.

Prompts are bound by arithmetic, not by memory, and so is a batch of streams: what 4 bits save in
reading they cost in unpacking. Measured on two cores with AVX2 and the embedded model: 1.8 times
the prompt tokens a second, 1.4 times those of sixteen streams, one stream the same.
"""

from __future__ import annotations

import struct
from pathlib import Path

LARGEST: int = 400_000_000
"""Largest file to rewrite, bytes: a second copy of a large model is not worth its space."""


def worth_it(source: Path) -> bool:
    """Whether the file is small and there is no GPU, which is faster with fewer bytes."""
    import torch

    return source.stat().st_size <= LARGEST and not torch.cuda.is_available()


def to_8_bits(source: Path, target: Path) -> None:
    """Write `source` to `target` with all matrices of fewer bits in Q8_0.

    Raises:
        OSError: It cannot be written.
        ValueError: Not a GGUF file that can be read.
    """
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(source)
    wide = gguf.GGMLQuantizationType
    unchanged = {wide.F32, wide.F16, wide.BF16, wide.Q8_0}
    infos, blocks, offset = b"", [], 0
    for tensor in reader.tensors:
        kind, data = tensor.tensor_type, np.ascontiguousarray(tensor.data)
        if kind not in unchanged and data.ndim > 1:
            values = np.asarray(gguf.quants.dequantize(data, kind), np.float32)
            kind, data = wide.Q8_0, gguf.quants.quantize(values, wide.Q8_0)
        block = data.tobytes()
        name, shape = tensor.name.encode(), [int(size) for size in tensor.shape]
        infos += struct.pack(f"<Q{len(name)}sI", len(name), name, len(shape))
        infos += struct.pack(f"<{len(shape)}QIQ", *shape, int(kind), offset)
        blocks.append(block)
        offset += len(block) + _padding(len(block), reader.alignment)
    # The fields, the long lists of the tokenizer above all, are taken over as they stand.
    with source.open("rb") as file:
        head = file.read(int(reader.tensors[0].field.offset))
    with target.open("wb") as file:
        file.write(head + infos)
        file.write(bytes(_padding(file.tell(), reader.alignment)))
        for block in blocks:
            file.write(block + bytes(_padding(len(block), reader.alignment)))


def _padding(size: int, alignment: int) -> int:
    return -size % alignment
