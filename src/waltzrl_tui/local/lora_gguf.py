"""A LoRA adapter of peft made into the GGUF file that llama.cpp loads beside the base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from waltzrl_tui.local.convert import gguf_name, permuted

ADAPTER_GGUF = "adapter.gguf"
FAMILIES = ("llama", "qwen2", "qwen3")
"""Model types of transformers whose adapters can be written; llama.cpp calls them the same."""

_PREFIX = "base_model.model."


def write_lora_gguf(adapter: Path, config: dict[str, Any]) -> Path:
    """Write `adapter.gguf` next to `adapter_model.safetensors` and return its path.

    Of Llama models llama.cpp keeps query and key rows in another order (see
    `convert.unpermuted`); the rows of an adapter's B matrix are rows of the weight, so they are
    reordered alike.

    Args:
        adapter: Folder with peft's `adapter_config.json` and `adapter_model.safetensors`.
        config: The base model's `config.json`; its `model_type` is one of `FAMILIES`.

    Raises:
        OSError: The file cannot be written.
    """
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    alpha = json.loads((adapter / "adapter_config.json").read_text("utf-8"))["lora_alpha"]
    target = adapter / ADAPTER_GGUF
    part = adapter / f".{ADAPTER_GGUF}"
    family = config.get("model_type", "llama")
    writer = gguf.GGUFWriter(part, family)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(alpha))
    for name, values in sorted(load_file(adapter / "adapter_model.safetensors").items()):
        module, _, matrix = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
        side = matrix[-1].lower()
        reordered = side == "b" and family == "llama"
        if reordered and module.endswith("q_proj"):
            values = permuted(values, config["num_attention_heads"])
        elif reordered and module.endswith("k_proj"):
            values = permuted(values, config["num_key_value_heads"])
        writer.add_tensor(
            f"{gguf_name(module)}.weight.lora_{side}",
            np.ascontiguousarray(values, dtype=np.float32),
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(target)
    return target
