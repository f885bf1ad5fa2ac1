"""Seeded, stratified samples: the same rows on any machine, whatever the order of the file.

Every row gets a key, `sha256(seed, content)`, which orders the rows of its stratum. All strata are
interleaved into one sequence (`_sequence`), and a sample of `n` is its first `n` rows, so a larger
sample with the same seed contains the smaller one. Training and validation never share a group of
near prompts: `_divide` sends each group to the side of its first row, `_settle` moves groups until
the sizes are right, and `_both` makes sure that neither side is empty.

The rows are read twice: `survey` keeps a few bytes per row, `_pick` takes the chosen rows.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from waltzrl_tui.datasets.near.chunked import sort_in_parts
from waltzrl_tui.datasets.near.index import text_digest
from waltzrl_tui.datasets.reading.read import Dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.recipe import Dedupe, SampleRecipe
from waltzrl_tui.datasets.sampling.scan import GroupCache, Stratum, Survey, digest, framed, survey
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import normalised
from waltzrl_tui.words import plural

__all__ = [
    "Dedupe",
    "GroupCache",
    "Sample",
    "SampleCounts",
    "SampleRecipe",
    "Stratum",
    "Survey",
    "counts",
    "draw",
    "lines_where",
    "survey",
]


@dataclass(frozen=True)
class Sample:
    """The chosen rows, in the order of the sample, and the number of rows dropped.

    Attributes:
        dropped: Rows by reason: `exact`, `near`, `bad`, `contaminated`, `filtered`.
        sha256: Hash of the rows' content; equal samples have equal hashes.
        contradicting: Prompts that are labelled both harmful and benign in the source rows.
    """

    train: list[Row]
    valid: list[Row]
    dropped: dict[str, int]
    sha256: str
    contradicting: int = 0


@dataclass(frozen=True)
class SampleCounts:
    """The size of a sample.

    Attributes:
        available: Usable rows after duplicates were dropped.
        strata: Chosen rows by (balance value, category).
    """

    train: int
    valid: int
    available: int
    dropped: dict[str, int]
    strata: dict[Stratum, int]


def lines_where(
    dataset: Dataset, where: str, *, stop: Callable[[], bool] | None = None
) -> frozenset[int] | None:
    """The numbers (`Row.line`) of the rows that match `where`; None when it is empty.

    Raises:
        UsageError, DatasetError: As `query.matching_lines`.
    """
    if not where.strip():
        return None
    from waltzrl_tui.datasets.query.query import matching_lines

    # A query counts lines from 0, a row from 1.
    return frozenset(
        line + 1 for line in matching_lines(dataset.path, dataset.mapping, where, stop=stop)
    )


def counts(rows: Iterable[Row | BadRow] | Survey, recipe: SampleRecipe) -> SampleCounts:
    """The size of the sample that `draw` would make; cheap when given a `Survey`."""
    scan = rows if isinstance(rows, Survey) else survey(rows, recipe)
    train, valid = _choose(scan, recipe)
    strata: dict[Stratum, int] = defaultdict(int)
    for index in (*train, *valid):
        strata[scan.strata[scan.stratum[index]]] += 1
    return SampleCounts(
        train=len(train),
        valid=len(valid),
        available=len(scan.places),
        dropped=dict(scan.dropped),
        strata=dict(sorted(strata.items())),
    )


def draw(
    rows: Iterable[Row | BadRow],
    recipe: SampleRecipe,
    *,
    lines: Collection[int] | None = None,
    base_sha256: str = "",
    cache: GroupCache | None = None,
) -> Sample:
    """The sample of `rows` by `recipe`.

    Args:
        rows: Read twice where possible (a list, a `Dataset`); an iterator is held in memory.
        lines: The numbers of the rows that match the recipe's `where`; found in a `Dataset` by
            default.
        base_sha256: Hash of the sample that this one extends, to be checked.
        cache: Groups of near prompts, for samples that are drawn from the same rows again.

    Raises:
        DatasetError: No usable rows, the rows changed between the two passes, or the sample to
            extend can no longer be drawn.
        UsageError: The recipe's `where` is wrong.
    """
    source: Iterable[Row | BadRow] = list(rows) if isinstance(rows, Iterator) else rows
    if lines is None and recipe.where:
        if not isinstance(source, Dataset):
            raise ValueError("rows without a file need the lines that fulfil the recipe's where")
        lines = lines_where(source, recipe.where)
    scan = survey(source, recipe, lines=lines, cache=cache)
    if not scan.places:
        raise _nothing(recipe, scan)
    trained, held_out = _choose(scan, recipe)
    picked = _pick(source, scan, [*trained, *held_out], recipe)
    train, valid = picked[: len(trained)], picked[len(trained) :]
    if recipe.grown and base_sha256:
        base = _choose(scan, replace(recipe, n=recipe.grown[-1], grown=recipe.grown[:-1]))
        if _sample_hash(train[: len(base[0])], valid[: len(base[1])]) != base_sha256:
            raise DatasetError(
                f"The sample of {plural(recipe.grown[-1], 'row')} can no longer be drawn from "
                f"{recipe.source}.",
                hint="Its rows, the evaluation prompts or this program changed: draw a new one.",
            )
    return Sample(
        train=train,
        valid=valid,
        dropped=dict(scan.dropped),
        sha256=_sample_hash(train, valid),
        contradicting=scan.contradicting,
    )


def _nothing(recipe: SampleRecipe, scan: Survey) -> DatasetError:
    if scan.dropped["filtered"]:
        return DatasetError(
            f"No usable row of {recipe.source} matches “{recipe.where}”.",
            hint="Change the expression, or leave it out.",
        )
    if scan.dropped["contaminated"]:
        return DatasetError(
            f"All rows of {recipe.source} are also in an evaluation suite.",
            hint="Sample another dataset, or evaluate on other prompts.",
        )
    return DatasetError(
        f"{recipe.source} has no usable rows to sample.", hint="Check its bad rows."
    )


def _pick(
    rows: Iterable[Row | BadRow], scan: Survey, indexes: Sequence[int], recipe: SampleRecipe
) -> list[Row]:
    wanted = {scan.places[index]: index for index in indexes}
    picked: dict[int, Row] = {}
    for place, row in enumerate(rows):
        index = wanted.get(place)
        if index is None:
            continue
        if not isinstance(row, Row) or text_digest(normalised(row.prompt)) != scan.prompts[index]:
            break
        picked[index] = row
        if len(picked) == len(wanted):
            break
    if len(picked) != len(wanted):
        raise DatasetError(
            f"{recipe.source} changed while it was sampled.", hint="Try again when it is complete."
        )
    return [picked[index] for index in indexes]


def _choose(scan: Survey, recipe: SampleRecipe) -> tuple[list[int], list[int]]:
    """Training and validation as indexes into the survey, in the order of the sample."""
    if scan.key != recipe.survey_key:
        raise ValueError("the survey was made for a recipe with another survey_key")
    if scan.sequence_of != (recipe.seed, recipe.valid):
        scan.sequence = _sequence(scan, recipe)
        scan.sequence_of = (recipe.seed, recipe.valid)
    if not recipe.valid:
        return [index for index, _ in scan.sequence[: recipe.n]], []
    side: dict[int, bool] = {}
    train: list[int] = []
    valid: list[int] = []
    begin = 0
    for size in (*recipe.grown, recipe.n):
        part = scan.sequence[begin:size]
        begin += len(part)
        _divide(part, scan.group, side, len(valid), begin, recipe.valid)
        train += [index for index, _ in part if not side[scan.group[index]]]
        valid += [index for index, _ in part if side[scan.group[index]]]
    return train, valid


def _divide(
    part: Sequence[tuple[int, bool]],
    group: array[int],
    side: dict[int, bool],
    held_before: int,
    rows: int,
    share: float,
) -> None:
    """Put the groups of `part` that are new into `side`: True for those that are held out.

    A group follows its first row, so that no two near prompts are on different sides.

    Args:
        held_before: Rows that are held out in the parts before, and `rows` those of all parts.
    """
    new: dict[int, bool] = {}
    sizes: Counter[int] = Counter()
    for index, held_out in part:
        if group[index] in side:
            held_before += side[group[index]]
        else:
            new.setdefault(group[index], held_out)
            sizes[group[index]] += 1
    _settle(new, sizes, max(1, int(rows * share + 0.5)) - held_before)
    if not side:
        _both(new, sizes)
    side |= new


def _settle(side: dict[int, bool], sizes: Counter[int], wanted: int) -> None:
    """Move the last groups to the other side until `wanted` rows are held out, or nearly so."""
    excess = sum(sizes[group] for group, held_out in side.items() if held_out) - wanted
    for group in reversed(list(side)):
        size = sizes[group] if side[group] else -sizes[group]
        if size * excess > 0 and abs(size) <= abs(excess):
            side[group] = not side[group]
            excess -= size


def _both(side: dict[int, bool], sizes: Counter[int]) -> None:
    """Leave neither side without a group, training least of all."""
    if len(side) > 1 and not any(side.values()):
        side[min(side, key=lambda group: sizes[group])] = True
    if side and all(side.values()):
        side[max(side, key=lambda group: sizes[group])] = False


def _sequence(scan: Survey, recipe: SampleRecipe) -> list[tuple[int, bool]]:
    """All kept rows in the order in which samples take them, each with whether it is held out."""
    seed = str(recipe.seed).encode()
    members: dict[int, list[tuple[bytes, int]]] = defaultdict(list)
    frame = framed(seed) + (16).to_bytes(8, "little")
    for index, stratum in enumerate(scan.stratum):
        key = hashlib.sha256(frame + scan.content[index * 16 : index * 16 + 16]).digest()
        members[stratum].append((key, index))

    groups: dict[str, list[tuple[float, bytes, int, bool]]] = defaultdict(list)
    names = sorted(members, key=lambda stratum: digest(seed, *map(_bytes, scan.strata[stratum])))
    for number, stratum in enumerate(names):
        rows = list(sort_in_parts(members.pop(stratum), lambda row: row[0][0] / 256))
        # Each stratum starts its count elsewhere, so that the shares add up over small strata too.
        offset = (number + 0.5) / len(names)
        for rank, (key, index) in enumerate(rows):
            held_out = int((rank + 1) * recipe.valid + offset) > int(rank * recipe.valid + offset)
            # The rank as a share of the stratum keeps the categories of a value in proportion.
            share = (rank + 0.5) / len(rows)
            value = scan.strata[stratum][0] if recipe.balance else ""
            groups[value].append((share, key, index, held_out))

    order: list[tuple[int, bytes, int, bool]] = []
    longest = max(map(len, groups.values()), default=0)
    for value, ranks in groups.items():
        turn = digest(seed, _bytes(value))
        ranked = enumerate(sort_in_parts(ranks, lambda row: row[0]))
        order += [(rank, turn, row[2], row[3]) for rank, row in ranked]
    # Taking turns by rank gives the values equal shares until one is used up.
    ordered = sort_in_parts(order, lambda row: row[0] / longest)
    return [(index, held_out) for _, _, index, held_out in ordered]


def _bytes(label: str) -> bytes:
    # A label may be any field, and hold what no text should.
    return label.encode("utf-8", "surrogatepass")


def _sample_hash(train: Sequence[Row], valid: Sequence[Row]) -> str:
    hashed = hashlib.sha256()
    for name, rows in (("train", train), ("valid", valid)):
        for row in rows:
            content: list[object] = [name, row.prompt, row.reply, row.harm, row.category]
            if row.history:
                content.append(row.history)
            hashed.update(json.dumps(content).encode() + b"\n")
    return hashed.hexdigest()
