"""How cautious a conversation agent is: the greedy choice between declining and answering."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.local.encoding import Encoded

_TYPICAL = 3


@dataclass(frozen=True, slots=True)
class Caution:
    """The greedy choice between declining and answering, learned as the choice that it is.

    Greedy decoding takes the likeliest first token. Refusals begin with a few, answers with
    hundreds, so a model that gives refusals a fifth of its probability declines all the same. This
    term asks that the likeliest opening of the right kind is ahead of the likeliest of the other.

    Attributes:
        openings: Ids of the tokens that begin refusals.
        weight: Of this term in rows whose reply answers, beside the cross-entropy of one token.
        declining_weight: The same in rows whose reply declines.
        margin: How far ahead, in logits.
    """

    openings: tuple[int, ...]
    weight: float
    declining_weight: float
    margin: float

    def loss(self, logits: Any, declines: Sequence[bool | None]) -> Any:
        """The sum over rows; `logits`, (rows, vocabulary), are those of the first tokens."""
        import torch

        refusing = torch.tensor(self.openings, device=logits.device)
        lead = logits[:, refusing].amax(1) - logits.index_fill(1, refusing, -torch.inf).amax(1)
        weights = [
            0.0 if kind is None else self.declining_weight if kind else self.weight
            for kind in declines
        ]
        behind = torch.where(
            torch.tensor([bool(kind) for kind in declines], device=logits.device),
            -lead,
            lead + self.margin,
        )
        each = torch.nn.functional.softplus(behind)
        return (each * torch.tensor(weights, device=logits.device)).sum()


def openings_of_refusals(rows: Sequence[Encoded]) -> tuple[int, ...]:
    """The tokens that begin refusals: three times as often as they begin answers, and not once."""
    declining = Counter(row.ids[row.start] for row in rows if row.declines)
    answering = Counter(row.ids[row.start] for row in rows if row.declines is False)
    return tuple(
        sorted(
            token
            for token, count in declining.items()
            if count > 1 and count >= _TYPICAL * answering[token]
        )
    )
