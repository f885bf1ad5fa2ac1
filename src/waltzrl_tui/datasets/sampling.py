"""Seeded, stratified samples: the same rows on any machine, whatever the order of the file.

Every row gets a key, `sha256(seed, content)`, and stands in its stratum in the order of the keys.
All strata are interleaved into one sequence, of which a sample of `n` is the first `n` rows; so a
larger sample with the same seed contains the smaller one. Two passes are made over the rows: the
first keeps a few bytes a row, the second picks what was chosen.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from waltzrl_tui.datasets.rows import BadRow, Row
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.text import normalised

Stratum = tuple[str, str]
"""The value of the balance column, and the category."""


@dataclass(frozen=True)
class SampleRecipe:
    """All that decides which rows of a dataset make a sample.

    Attributes:
        source: The dataset, as the user named it; it does not change the choice.
        n: Rows in training and validation together; None takes all.
        dedupe: `exact` keeps one of the rows with the same prompt (normalised) and reply.
        balance: A column whose values get equal shares as far as they reach: `harm`, `category`
            or any other field; None keeps the proportions of the dataset.
        valid: Share of the sample that is held out, 0 to 0.5.

    Raises:
        UsageError: A value is out of its range.
    """

    source: str
    n: int | None = None
    seed: int = 0
    dedupe: Literal["exact", "off"] = "exact"
    balance: str | None = "harm"
    valid: float = 0.1

    def __post_init__(self) -> None:
        if self.n is not None and self.n < 1:
            raise UsageError(f"A sample needs at least 1 row, not {self.n}.", hint="Raise -n.")
        if not 0 <= self.valid <= 0.5:
            raise UsageError(
                f"The validation share is {self.valid}.", hint="Choose one from 0 to 0.5."
            )
        if self.dedupe not in ("exact", "off"):
            raise UsageError(
                f"Duplicates cannot be dropped by “{self.dedupe}”.", hint="Choose exact or off."
            )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """The chosen rows, in the order of the sample, and what was left out on the way.

    Attributes:
        dropped: Rows by reason: `exact`, `near`, `bad`, `contaminated`.
        sha256: Of the content of the rows; equal samples have equal hashes.
    """

    train: list[Row]
    valid: list[Row]
    dropped: dict[str, int]
    sha256: str


@dataclass(frozen=True)
class SampleCounts:
    """How large a sample would be.

    Attributes:
        available: Usable rows after duplicates were dropped.
        strata: Chosen rows by (balance value, category).
    """

    train: int
    valid: int
    available: int
    dropped: dict[str, int]
    strata: dict[Stratum, int]


@dataclass
class Survey:
    """What a choice needs to know of a dataset, a few bytes a row; independent of n and seed."""

    dedupe: str
    balance: str | None
    content: bytearray = field(default_factory=bytearray)  # 16 bytes a kept row
    prompts: bytearray = field(default_factory=bytearray)  # 8 bytes a kept row
    places: array[int] = field(default_factory=lambda: array("Q"))
    stratum: array[int] = field(default_factory=lambda: array("I"))
    strata: list[Stratum] = field(default_factory=list)
    duplicates: int = 0
    bad: int = 0
    # The last order that was asked for: typing another n must not sort again.
    sequence: list[tuple[int, bool]] = field(default_factory=list)
    sequence_of: tuple[int, float] | None = None

    def dropped(self) -> dict[str, int]:
        return {"exact": self.duplicates, "near": 0, "bad": self.bad, "contaminated": 0}


@dataclass(frozen=True)
class _Choice:
    train: list[int]
    valid: list[int]
    """Indexes into the survey, in the order of the sample."""


def survey(rows: Iterable[Row | BadRow], recipe: SampleRecipe) -> Survey:
    """Read the rows once. The result serves every recipe with the same `dedupe` and `balance`."""
    result = Survey(recipe.dedupe, recipe.balance)
    ids: dict[Stratum, int] = {}
    kept: dict[bytes, int] = {}
    wording: dict[int, bytes] = {}
    for place, row in enumerate(rows):
        if isinstance(row, BadRow):
            result.bad += 1
            continue
        prompt = normalised(row.prompt).encode()
        exact = _digest(row.prompt.encode(), _canonical(row), row.reply.encode())
        content = _digest(prompt, row.reply.encode())
        stratum = ids.setdefault(_stratum(row, recipe.balance), len(ids))
        index = kept.get(content) if recipe.dedupe == "exact" else None
        if index is None:
            index = len(result.places)
            if recipe.dedupe == "exact":
                kept[content] = index
                wording[index] = exact
            else:
                # Rows that differ in anything order differently; equal ones are interchangeable.
                content = _digest(content, exact)
            result.content += content
            result.prompts += _digest(prompt)[:8]
            result.places.append(place)
            result.stratum.append(stratum)
            continue
        result.duplicates += 1
        # Which of the duplicates stays must not depend on which comes first.
        if exact < wording[index]:
            wording[index] = exact
            result.places[index] = place
            result.stratum[index] = stratum
    result.strata = list(ids)
    return result


def counts(rows: Iterable[Row | BadRow] | Survey, recipe: SampleRecipe) -> SampleCounts:
    """The size of the sample that `draw` would make; cheap when given a `Survey`."""
    seen = rows if isinstance(rows, Survey) else survey(rows, recipe)
    choice = _choose(seen, recipe)
    strata: dict[Stratum, int] = defaultdict(int)
    for index in (*choice.train, *choice.valid):
        strata[seen.strata[seen.stratum[index]]] += 1
    return SampleCounts(
        train=len(choice.train),
        valid=len(choice.valid),
        available=len(seen.places),
        dropped=seen.dropped(),
        strata=dict(sorted(strata.items())),
    )


def draw(rows: Iterable[Row | BadRow], recipe: SampleRecipe) -> Sample:
    """The sample of `rows` by `recipe`.

    Args:
        rows: Read twice when it can be (a list, a `Dataset`); an iterator is held in memory.

    Raises:
        DatasetError: No usable row, or the rows changed between the two passes.
    """
    source: Iterable[Row | BadRow] = list(rows) if isinstance(rows, Iterator) else rows
    seen = survey(source, recipe)
    if not seen.places:
        raise DatasetError(
            f"{recipe.source} has no usable row to sample.", hint="Look at its bad rows."
        )
    choice = _choose(seen, recipe)
    picked = _pick(source, seen, [*choice.train, *choice.valid], recipe)
    train = picked[: len(choice.train)]
    valid = picked[len(choice.train) :]
    return Sample(train, valid, seen.dropped(), _sample_hash(train, valid))


def _pick(
    rows: Iterable[Row | BadRow], seen: Survey, indexes: Sequence[int], recipe: SampleRecipe
) -> list[Row]:
    wanted = {seen.places[index]: index for index in indexes}
    found: dict[int, Row] = {}
    for place, row in enumerate(rows):
        index = wanted.get(place)
        if index is None:
            continue
        prompt = _digest(normalised(row.prompt).encode())[:8] if isinstance(row, Row) else b""
        if not isinstance(row, Row) or prompt != seen.prompts[index * 8 : index * 8 + 8]:
            break
        found[index] = row
        if len(found) == len(wanted):
            break
    if len(found) != len(wanted):
        raise DatasetError(
            f"{recipe.source} changed while it was sampled.", hint="Try again when it is complete."
        )
    return [found[index] for index in indexes]


def _choose(seen: Survey, recipe: SampleRecipe) -> _Choice:
    if (seen.dedupe, seen.balance) != (recipe.dedupe, recipe.balance):
        raise ValueError("the survey was made for another dedupe or balance")
    if seen.sequence_of != (recipe.seed, recipe.valid):
        seen.sequence = _sequence(seen, recipe)
        seen.sequence_of = (recipe.seed, recipe.valid)
    sequence = seen.sequence[: recipe.n]
    if not recipe.valid:
        return _Choice([index for index, _ in sequence], [])
    # A prompt follows its first row, so that no prompt stands on both sides.
    side: dict[bytes, bool] = {}
    sizes: Counter[bytes] = Counter()
    for index, held_out in sequence:
        side.setdefault(_prompt(seen, index), held_out)
        sizes[_prompt(seen, index)] += 1
    _settle(side, sizes, max(1, int(len(sequence) * recipe.valid + 0.5)))
    train = [index for index, _ in sequence if not side[_prompt(seen, index)]]
    valid = [index for index, _ in sequence if side[_prompt(seen, index)]]
    return _Choice(train, valid)


def _settle(side: dict[bytes, bool], sizes: Counter[bytes], wanted: int) -> None:
    """Move the last prompts to the other side until `wanted` rows are held out, or nearly so."""
    excess = sum(sizes[prompt] for prompt, held_out in side.items() if held_out) - wanted
    for prompt in reversed(list(side)):
        size = sizes[prompt] if side[prompt] else -sizes[prompt]
        if size * excess > 0 and abs(size) <= abs(excess):
            side[prompt] = not side[prompt]
            excess -= size
    if len(side) > 1 and not any(side.values()):
        side[min(side, key=lambda prompt: sizes[prompt])] = True
    if all(side.values()):
        side[max(side, key=lambda prompt: sizes[prompt])] = False


def _sequence(seen: Survey, recipe: SampleRecipe) -> list[tuple[int, bool]]:
    """All kept rows in the order in which samples take them, each with whether it is held out."""
    seed = str(recipe.seed).encode()
    members: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    frame = _framed(seed) + (16).to_bytes(8, "little")
    for index, stratum in enumerate(seen.stratum):
        key = hashlib.sha256(frame + seen.content[index * 16 : index * 16 + 16]).digest()
        members[stratum].append((key, index))

    groups: dict[str, list[tuple[float, bytes, int, bool]]] = defaultdict(list)
    names = sorted(
        members, key=lambda stratum: _digest(seed, *map(str.encode, seen.strata[stratum]))
    )
    for number, stratum in enumerate(names):
        rows = sorted(members[stratum])
        # Each stratum starts its count elsewhere, so that the shares add up over small strata too.
        offset = (number + 0.5) / len(names)
        for rank, (key, index) in enumerate(rows):
            held_out = int((rank + 1) * recipe.valid + offset) > int(rank * recipe.valid + offset)
            # The rank as a share of the stratum keeps the categories of a value in proportion.
            share = (rank + 0.5) / len(rows)
            value = seen.strata[stratum][0] if recipe.balance else ""
            groups[value].append((share, key, index, held_out))

    order: list[tuple[int, bytes, int, bool]] = []
    for value, found in groups.items():
        turn = _digest(seed, value.encode())
        order += [(rank, turn, row[2], row[3]) for rank, row in enumerate(sorted(found))]
    # Taking turns by rank gives the values equal shares until one is used up.
    order.sort()
    return [(index, held_out) for _, _, index, held_out in order]


def _prompt(seen: Survey, index: int) -> bytes:
    return bytes(seen.prompts[index * 8 : index * 8 + 8])


def _stratum(row: Row, balance: str | None) -> Stratum:
    if balance is None or balance == "harm":
        return row.harm, row.category
    if balance == "category":
        return row.category, row.harm
    return str(row.extra.get(balance, "")), row.category


def _canonical(row: Row) -> bytes:
    return json.dumps([row.harm, row.category, row.extra], sort_keys=True, default=str).encode()


def _digest(*parts: bytes) -> bytes:
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(_framed(part))
    return hashed.digest()[:16]


def _framed(part: bytes) -> bytes:
    """`part` after its length, so that parts cannot run into each other."""
    return len(part).to_bytes(8, "little") + part


def _sample_hash(train: Sequence[Row], valid: Sequence[Row]) -> str:
    hashed = hashlib.sha256()
    for name, rows in (("train", train), ("valid", valid)):
        for row in rows:
            content = [name, row.prompt, row.reply, row.harm, row.category]
            hashed.update(json.dumps(content).encode() + b"\n")
    return hashed.hexdigest()
