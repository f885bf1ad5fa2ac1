"""A GGUF file of the Llama family made into a folder that transformers loads.

transformers can read GGUF itself, but takes a minute for the embedded model and refuses to save
the result; this takes a few seconds, once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from waltzrl_tui.errors import EngineError

_LAYER = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_CONTROL = 3  # token type of special tokens, gguf specification


def gguf_to_transformers(source: Path, folder: Path) -> None:
    """Dequantise `source` to fp32 and write config, weights and tokenizer into `folder`.

    Raises:
        EngineError: Not a readable GGUF file, or not of the Llama family with a BPE tokenizer.
    """
    import gguf
    import numpy as np
    from safetensors.numpy import save_file

    try:
        reader = gguf.GGUFReader(source)
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise EngineError(
            f"{source} is not a readable GGUF file: {error}.",
            hint="Download it again, or give another file or folder.",
        ) from error
    fields = {name: field.contents() for name, field in reader.fields.items()}
    architecture = fields.get("general.architecture")
    if architecture != "llama" or fields.get("tokenizer.ggml.model") != "gpt2":
        raise EngineError(
            f"{source} holds a {architecture} model; only Llama models with a BPE tokenizer "
            "can be converted.",
            hint="Give the model's transformers folder or hub id instead.",
        )
    config = _config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    folder.mkdir(parents=True, exist_ok=True)
    weights: dict[str, Any] = {}
    for tensor in reader.tensors:
        name = transformers_name(tensor.name)
        values = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if name.endswith("q_proj.weight"):
            values = unpermuted(values, config["num_attention_heads"])
        elif name.endswith("k_proj.weight"):
            values = unpermuted(values, config["num_key_value_heads"])
        weights[name] = np.ascontiguousarray(values)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _write_tokenizer(fields, folder)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def transformers_name(name: str) -> str:
    """The transformers name of a GGUF tensor (`blk.3.attn_q.weight`)."""
    parts = name.split(".")
    if parts[0] == "blk":
        return f"model.layers.{parts[1]}.{_LAYER[parts[2]]}.{parts[3]}"
    return f"{_TOP[parts[0]]}.{parts[1]}"


def gguf_name(module: str) -> str:
    """The GGUF name of a transformers linear layer, without `.weight`.

    Args:
        module: Such as `model.layers.3.self_attn.q_proj`.
    """
    _, _, number, rest = module.split(".", 3)
    inverse = {theirs: ours for ours, theirs in _LAYER.items()}
    return f"blk.{number}.{inverse[rest]}"


def unpermuted(values: Any, heads: int) -> Any:
    """Rows of a query or key matrix (rows, columns) from llama.cpp's rotary order to Hugging
    Face's: llama.cpp interleaves the two halves of each head."""
    rows, columns = values.shape
    half = rows // heads // 2
    return values.reshape(heads, half, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def permuted(values: Any, heads: int) -> Any:
    """The inverse of `unpermuted`."""
    rows, columns = values.shape
    half = rows // heads // 2
    return values.reshape(heads, 2, half, columns).swapaxes(1, 2).reshape(rows, columns)


def _config(fields: dict[str, Any], *, tied: bool) -> dict[str, Any]:
    width, heads = int(fields["llama.embedding_length"]), int(fields["llama.attention.head_count"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "head_dim": width // heads,
        "intermediate_size": int(fields["llama.feed_forward_length"]),
        "num_hidden_layers": int(fields["llama.block_count"]),
        "num_attention_heads": heads,
        "num_key_value_heads": int(fields["llama.attention.head_count_kv"]),
        "max_position_embeddings": int(fields["llama.context_length"]),
        "rms_norm_eps": float(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": float(fields.get("llama.rope.freq_base", 10000.0)),
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": int(fields["tokenizer.ggml.bos_token_id"]),
        "eos_token_id": int(fields["tokenizer.ggml.eos_token_id"]),
        "pad_token_id": int(fields.get("tokenizer.ggml.padding_token_id", 0)),
        "tie_word_embeddings": tied,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
    }


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ", 1)) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
    )
    splits: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if fields.get("tokenizer.ggml.pre") == "smollm":
        splits.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(splits)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [
            AddedToken(token, special=True, normalized=False)
            for token, kind in zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
            if int(kind) == _CONTROL
        ]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    eos = tokens[int(fields["tokenizer.ggml.eos_token_id"])]
    pad = tokens[int(fields.get("tokenizer.ggml.padding_token_id", 0))]
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": tokens[int(fields["tokenizer.ggml.bos_token_id"])],
                "eos_token": eos,
                "pad_token": pad,
                "chat_template": fields.get("tokenizer.chat_template", ""),
                "clean_up_tokenization_spaces": False,
                "model_max_length": int(fields["llama.context_length"]),
            },
            indent=1,
        ),
        encoding="utf-8",
    )
