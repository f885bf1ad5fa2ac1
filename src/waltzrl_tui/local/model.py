"""The base with one trainable LoRA adapter, and the loss of a batch of encoded rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from waltzrl_tui.local.encoding import Encoded
from waltzrl_tui.local.refusal_margin import Caution


@dataclass(frozen=True, slots=True)
class LoraShape:
    """Which layers get an adapter, and how large.

    Attributes:
        rank: r; the scale is alpha / r.
        alpha: LoRA's alpha.
        last_layers: Only so many layers, counted from the top, are adapted (0: all). Below
            them nothing is trained, so nothing need be computed twice.
    """

    rank: int = 16
    alpha: int = 32
    last_layers: int = 0


@dataclass(slots=True)
class BatchLoss:
    """Loss of a batch: the weighted sum over its reply tokens, and the sum of the weights."""

    total: Any
    weight: float
    tokens: int


@dataclass(slots=True)
class LoraModel:
    """A causal language model of transformers with a peft adapter, on the CPU or one GPU.

    On a CPU the weights are fp32 (bf16 without AMX or AVX512-BF16 is 20 times slower); on a GPU
    bf16. The frozen layers below the adapted ones give the same hidden states in every epoch:
    on the CPU they are kept from the first pass on, which makes the later epochs cheaper.
    """

    source: str
    shape: LoraShape
    adapter: Path | None = None
    cache_bytes: int = 1_500_000_000
    peft: Any = field(init=False)
    tokenizer: Any = field(init=False)
    device: Any = field(init=False)
    _inner: Any = field(init=False)
    _parts: tuple[Any, Any] | None = field(init=False, default=None)
    _adapted: int = field(init=False, default=0)
    _bottom: dict[int, Any] = field(init=False, default_factory=dict)
    _bottom_bytes: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        import torch
        from peft import LoraConfig, PeftModel, get_peft_model
        from transformers import AutoModelForCausalLM, AutoTokenizer

        on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if on_gpu else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(self.source)
        base = AutoModelForCausalLM.from_pretrained(
            self.source, dtype=torch.bfloat16 if on_gpu else torch.float32
        ).to(self.device)
        base.config.use_cache = False
        layers = base.config.num_hidden_layers
        last = self.shape.last_layers if self.shape.last_layers < layers else 0
        if self.adapter is not None:
            self.peft = PeftModel.from_pretrained(base, self.adapter, is_trainable=True)
        else:
            config = LoraConfig(
                r=self.shape.rank,
                lora_alpha=self.shape.alpha,
                lora_dropout=0.0,
                target_modules=_linear_names(base),
                layers_to_transform=list(range(layers - last, layers)) if last else None,
                task_type="CAUSAL_LM",
            )
            self.peft = get_peft_model(base, config)
        self._inner = self.peft.get_base_model().model
        self._adapted = last or layers
        if last and not on_gpu:
            self._parts = self._split(layers - last)

    @property
    def caches(self) -> bool:
        """Whether the frozen layers' hidden states are kept."""
        return self._parts is not None

    @property
    def cached_cost(self) -> float:
        """Cost of a batch whose frozen layers are kept, as a share of one whose are not.

        A frozen layer is one forward pass; an adapted one is a forward and, as its weights take
        no gradient, about one more pass backward.
        """
        layers = self.config["num_hidden_layers"]
        adapted = 2 * self._adapted
        return float(adapted / (adapted + layers - self._adapted))

    @property
    def config(self) -> dict[str, Any]:
        """The base model's configuration."""
        values: dict[str, Any] = self.peft.get_base_model().config.to_dict()
        return values

    def cached(self, rows: Sequence[int]) -> bool:
        """Whether a batch of these rows needs only the adapted layers."""
        return self.caches and all(row in self._bottom for row in rows)

    def parameters(self) -> list[Any]:
        """The adapter's trainable parameters."""
        return [value for value in self.peft.parameters() if value.requires_grad]

    def loss(
        self,
        rows: Sequence[Encoded],
        keys: Sequence[int],
        *,
        train: bool,
        caution: Caution | None = None,
    ) -> BatchLoss:
        """The loss of `rows`, each known by its key (the cache's, unique to the row's text).

        Rows are padded on the right; with causal attention and no loss on padding no attention
        mask is needed. The output layer, a third of this model's work, sees reply tokens only.
        """
        import torch

        with nullcontext() if train else torch.no_grad():
            hidden = self._hidden(rows, keys)
            picked, targets, weights = [], [], []
            for index, row in enumerate(rows):
                picked.append(hidden[index, row.start - 1 : len(row.ids) - 1])
                targets += row.ids[row.start :]
                weights += row.weights
            logits = self.peft.get_base_model().lm_head(torch.cat(picked)).float()
            each = torch.nn.functional.cross_entropy(
                logits, torch.tensor(targets, device=self.device), reduction="none"
            )
            total = (each * torch.tensor(weights, device=self.device)).sum()
            if caution is not None:
                firsts = list(accumulate((len(row.weights) for row in rows[:-1]), initial=0))
                total = total + caution.loss(logits[firsts], [row.declines for row in rows])
        return BatchLoss(total, sum(weights), sum(len(row.ids) for row in rows))

    def _hidden(self, rows: Sequence[Encoded], keys: Sequence[int]) -> Any:
        import torch

        longest = max(len(row.ids) for row in rows)
        if self._parts is None:
            return self._inner(input_ids=self._padded(rows, longest)).last_hidden_state
        below, above = self._parts
        if not all(key in self._bottom for key in keys):
            with torch.no_grad():
                bottom = below(input_ids=self._padded(rows, longest)).last_hidden_state
            if self._bottom_bytes < self.cache_bytes:
                for index, (row, key) in enumerate(zip(rows, keys, strict=True)):
                    states = bottom[index, : len(row.ids)].clone()
                    self._bottom[key] = states
                    self._bottom_bytes += states.nbytes
        else:
            states = [self._bottom[key] for key in keys]
            bottom = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
        return above(inputs_embeds=bottom).last_hidden_state

    def _padded(self, rows: Sequence[Encoded], longest: int) -> Any:
        import torch

        pad = self.tokenizer.pad_token_id or 0
        return torch.tensor(
            [row.ids + [pad] * (longest - len(row.ids)) for row in rows], device=self.device
        )

    def _split(self, layer: int) -> tuple[Any, Any] | None:
        """The layers below `layer` and those from it on, if running one after the other gives what
        running all at once gives; None where the model is built otherwise."""
        import torch

        if not hasattr(self._inner, "layers") or not hasattr(self._inner, "norm"):
            return None
        below = _part(self._inner, slice(0, layer), torch.nn.Identity())
        above = _part(self._inner, slice(layer, None), self._inner.norm)
        ids = torch.arange(1, 17).unsqueeze(0)
        with torch.no_grad():
            whole = self._inner(input_ids=ids).last_hidden_state
            try:
                bottom = below(input_ids=ids).last_hidden_state
                parted = above(inputs_embeds=bottom).last_hidden_state
            except (TypeError, ValueError, AttributeError, RuntimeError):
                return None
        same = torch.allclose(whole, parted, atol=1e-3, rtol=1e-3)
        return (below, above) if same else None

    def save(self, folder: Path) -> None:
        """Write peft's adapter files into `folder`."""
        self.peft.save_pretrained(folder)


def _part(inner: Any, layers: slice, norm: Any) -> Any:
    """A view of a decoder with only some of its layers; the weights are shared."""
    part = copy.copy(inner)
    part._modules = dict(inner._modules)
    part.layers, part.norm = inner.layers[layers], norm
    # The model runs as many layers as its config says, from the front of its list.
    part.config = copy.copy(inner.config)
    part.config.num_hidden_layers = len(part.layers)
    return part


def _linear_names(base: Any) -> list[str]:
    """The names of all linear layers but the output layer, as peft's `all-linear` takes them."""
    import torch

    output = base.get_output_embeddings()
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in base.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not output
        }
    )
