"""The settings that decide which rows of a dataset make a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any, Literal, get_args

from waltzrl_tui.errors import UsageError
from waltzrl_tui.words import plural

Dedupe = Literal["exact", "near", "off"]


@dataclass(frozen=True)
class SampleRecipe:
    """All that decides which rows of a dataset make a sample.

    Attributes:
        source: The dataset, as the user gave it; it does not affect the choice.
        n: Rows in training and validation together; None takes all.
        dedupe: `exact` keeps one of the rows with the same prompt (normalised) and reply, `near`
            also one of those whose prompts and replies are both near (`datasets.near`).
        balance: A column whose values get equal shares as far as possible: `harm`, `category`
            or any other field; None keeps the proportions of the dataset.
        valid: Share of the sample that is held out, 0 to 0.5. No prompt in it is near one that
            is trained on.
        where: An expression (`datasets.query`) that rows must match; empty takes all.
        suites: Evaluation prompts, as files or `contamination.BUNDLED`; rows with one of these
            prompts, or a near one, are left out.
        grown: The sizes of the samples that this one extends, smallest first. It begins with
            their rows, in their order and on their side.

    Raises:
        UsageError: A value is out of its range.
    """

    source: str
    n: int | None = None
    seed: int = 0
    dedupe: Dedupe = "exact"
    balance: str | None = "harm"
    valid: float = 0.1
    where: str = ""
    suites: tuple[str, ...] = ()
    grown: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise UsageError(f"A sample needs at least 1 row, not {self.n}.", hint="Raise -n.")
        if not 0 <= self.valid <= 0.5:
            raise UsageError(
                f"A validation share of {self.valid} is out of range.", hint="Choose 0 to 0.5."
            )
        if self.dedupe not in get_args(Dedupe):
            raise UsageError(
                f"“{self.dedupe}” is not a way to drop duplicates.",
                hint="Choose exact, near or off.",
            )
        sizes = (0, *self.grown, *(() if self.n is None else (self.n,)))
        if any(one >= two for one, two in pairwise(sizes)):
            raise UsageError(
                f"A sample of {plural(sizes[-2], 'row')} cannot grow to {sizes[-1]:,}.",
                hint="Choose a larger -n.",
            )

    @property
    def survey_key(self) -> tuple[object, ...]:
        """Recipes with the same key can share a survey of the dataset."""
        # Only a validation share needs groups of near prompts.
        return self.dedupe, self.balance, self.where, self.suites, self.valid > 0

    def extended(self, n: int | None) -> SampleRecipe:
        """The recipe of a larger sample that begins with this one's.

        Raises:
            UsageError: `n` is not larger.
        """
        if self.n is None:
            raise UsageError(
                "A sample of all rows cannot be extended.", hint="Draw a new one with -n."
            )
        return replace(self, n=n, grown=(*self.grown, self.n))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "suites": list(self.suites), "grown": list(self.grown)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SampleRecipe:
        """The recipe in a document of `to_json`, of this or an earlier version.

        Raises:
            UsageError: A value is out of its range.
        """
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        for name in ("suites", "grown"):
            values[name] = tuple(values.get(name, ()))
        return cls(**values)
