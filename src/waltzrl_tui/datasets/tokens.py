"""How many tokens a text has, when the model's own tokenizer is not at hand."""

from __future__ import annotations

ESTIMATE_ERROR = 0.25
"""The estimate is within this share of the true count for a dataset of English prose; a single
short text, code or another script can be further off."""


def estimate_tokens(text: str) -> int:
    """An estimate of the tokens in `text`: a quarter of its UTF-8 bytes, rounded up.

    The rule of thumb of four characters a token comes from byte-pair vocabularies of 30,000 to
    200,000 entries on English. Bytes instead of characters bring other scripts, whose characters
    take more tokens, nearer to the truth. Wherever it is shown it must be called an estimate.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return (size + 3) // 4
