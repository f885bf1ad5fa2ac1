"""Training rows as token ids, with a weight for every token that the loss counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.records.messages import Message


@dataclass(frozen=True, slots=True)
class Encoded:
    """One training row.

    Attributes:
        ids: All tokens: the chat as the model's template writes it, then the reply and its end.
        start: Index of the first token of the reply: the loss counts from there.
        weights: One weight for every token from `start` on.
        declines: Whether the learned reply declines its prompt; None where that is not to be
            told from its first token.
    """

    ids: list[int]
    start: int
    weights: list[float]
    declines: bool | None = None


def encode(
    tokenizer: Any,
    messages: Sequence[Message],
    *,
    max_tokens: int,
    decisions: Sequence[tuple[int, int]] = (),
    decision_weight: float = 1.0,
    decision_tokens: int = 0,
    opening_tokens: int = 0,
    declines: bool | None = None,
) -> Encoded | None:
    """Tokenize one chat whose last message, the assistant's, is learned.

    In a reply of 30 tokens a few decide: the words of a verdict's flags, the opening of a
    refusal. They are weighted up, or the loss is all but deaf to them.

    Args:
        max_tokens: Longer rows give None: a cut reply would teach to stop short.
        decisions: Spans of the reply, in characters, whose tokens decide.
        decision_weight: Weight of the deciding tokens; all others have 1.
        decision_tokens: How many of the first tokens of the reply count as deciding.
        opening_tokens: Only so many tokens of the reply are learned (0: all, and its end).
        declines: See `Encoded`.
    """
    *context, reply = messages
    prefix = tokenizer.apply_chat_template(
        list(context), add_generation_prompt=True, tokenize=False
    )
    prefix_ids = tokenizer(prefix, add_special_tokens=False)["input_ids"]
    encoded = tokenizer(reply["content"], add_special_tokens=False, return_offsets_mapping=True)
    reply_ids = [*encoded["input_ids"], tokenizer.eos_token_id]
    if len(prefix_ids) + len(reply_ids) > max_tokens:
        return None
    learned = opening_tokens or len(reply_ids)
    deciding = {
        index
        for index, (begin, end) in enumerate(encoded["offset_mapping"])
        if index < decision_tokens or any(begin < last and first < end for first, last in decisions)
    }

    weights = [
        decision_weight if index in deciding else 1.0 for index in range(len(reply_ids[:learned]))
    ]
    ids = [*prefix_ids, *reply_ids[:learned]]
    return Encoded(ids, len(prefix_ids), weights, declines)


def batches(lengths: Sequence[int], size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The rows of one epoch in batches of `size`, rows of like length together.

    The same arguments always give the same batches: a resumed run depends on it. Rows are
    shuffled, then sorted by length within groups of eight batches, and the batches shuffled,
    so that padding is small and the order still random.
    """
    shuffled = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    shuffled.shuffle(order)
    group = size * 8
    grouped: list[list[int]] = []
    for first in range(0, len(order), group):
        rows = sorted(order[first : first + group], key=lambda index: lengths[index])
        grouped += [rows[at : at + size] for at in range(0, len(rows), size)]
    shuffled.shuffle(grouped)
    return grouped
