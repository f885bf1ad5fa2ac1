"""Prompts that are labelled harmful in one row and benign in another: they teach both."""

from __future__ import annotations

from typing import Final

from waltzrl_tui.records.labels import Harm
from waltzrl_tui.words import plural

_BITS: Final[dict[Harm, int]] = {"harmful": 1, "benign": 2, "": 0}
_BOTH: Final = 3


class Contradictions:
    """The prompts with both labels, counted as rows are added."""

    def __init__(self) -> None:
        self._labels: dict[int, int] = {}

    def add(self, prompt: int, harm: Harm) -> None:
        """Add one row.

        Args:
            prompt: A number that identifies its prompt and the turns before it.
        """
        if harm:
            self._labels[prompt] = self._labels.get(prompt, 0) | _BITS[harm]

    def __contains__(self, prompt: int) -> bool:
        return self._labels.get(prompt) == _BOTH

    @property
    def prompts(self) -> int:
        """The number of prompts with both labels."""
        return sum(labels == _BOTH for labels in self._labels.values())


def contradiction_warning(prompts: int) -> str:
    """A warning about `prompts` prompts with both labels."""
    return (
        f"{plural(prompts, 'prompt is', 'prompts are')} labelled harmful in one row and benign in "
        "another: the feedback agent learns both; correct the labels"
    )
