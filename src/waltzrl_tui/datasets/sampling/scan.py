"""Scan a dataset once for what the choice of a sample needs: about 100 bytes per row."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from struct import Struct

from waltzrl_tui.datasets.contradictions import Contradictions
from waltzrl_tui.datasets.near.index import Depth, NearGroups, NearIndex, text_digest
from waltzrl_tui.datasets.profiling.contamination import References, load_references
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.recipe import SampleRecipe
from waltzrl_tui.text import normalised

Stratum = tuple[str, str]
"""The value of the balance column, and the category."""

_NONE = 2**32 - 1
_length = Struct("<Q").pack


class GroupCache:
    """The groups of the prompts of the last survey that was given this cache.

    Another choice of rows, balance or duplicates of the same file then compares nothing again.
    """

    def __init__(self) -> None:
        self._entry: tuple[bytes, NearGroups] | None = None

    def get(self, key: bytes) -> NearGroups | None:
        """The groups stored under `key`; None when it is not the last one."""
        return self._entry[1] if self._entry and self._entry[0] == key else None

    def put(self, key: bytes, groups: NearGroups) -> None:
        """Replace what is stored."""
        self._entry = key, groups


@dataclass
class Survey:
    """The facts about a dataset that a choice needs, whatever n, seed and validation share.

    Attributes:
        key: The `survey_key` of the recipes that it serves.
        content: For each kept row 16 bytes that identify it.
        prompts: For each kept row 64 bits that identify its normalised prompt.
        group: For each kept row the group of its prompt: prompts linked by being near. Without a
            validation share each prompt is its own group.
        places: For each kept row its position in the dataset, from 0.
        stratum: For each kept row its place in `strata`.
        dropped: Rows by reason: `exact`, `near`, `bad`, `contaminated`, `filtered`.
        contradicting: Prompts that are labelled both harmful and benign.
    """

    key: tuple[object, ...]
    content: bytearray = field(default_factory=bytearray)
    prompts: array[int] = field(default_factory=lambda: array("Q"))
    group: array[int] = field(default_factory=lambda: array("Q"))
    places: array[int] = field(default_factory=lambda: array("Q"))
    stratum: array[int] = field(default_factory=lambda: array("I"))
    strata: list[Stratum] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    contradicting: int = 0
    # The last order, so that another n does not sort again.
    sequence: list[tuple[int, bool]] = field(default_factory=list)
    sequence_of: tuple[int, float] | None = None


def survey(
    rows: Iterable[Row | BadRow],
    recipe: SampleRecipe,
    *,
    lines: Collection[int] | None = None,
    cache: GroupCache | None = None,
    stop: Callable[[], bool] | None = None,
) -> Survey:
    """Read the rows once. The result serves every recipe with the same `survey_key`.

    Args:
        lines: The numbers (`Row.line`) of the rows that match the recipe's `where`; None for all
            rows. `sampling.lines_where` finds them.
        cache: Groups of an earlier survey, used when the prompts are the same.
        stop: Checked now and then once the rows are read; the survey is unusable when it was true.

    Raises:
        DatasetError: A suite cannot be read, or there is not enough space for a temporary file.
    """
    references = load_references(recipe.suites, recipe.source)
    with NearIndex() as prompts, NearIndex() as replies:
        references.put_into(prompts)
        reading = _Reading(recipe, prompts, replies, cache or GroupCache())
        for place, row in enumerate(rows):
            if isinstance(row, BadRow):
                reading.bad += 1
            elif lines is not None and row.line not in lines:
                reading.filtered += 1
            else:
                reading.add(place, row)
        return reading.survey(references, stop)


class _Reading:
    """The rows of a survey before contaminated and near ones are dropped."""

    def __init__(
        self, recipe: SampleRecipe, prompts: NearIndex, replies: NearIndex, cache: GroupCache
    ) -> None:
        self._recipe, self._cache = recipe, cache
        self._near = recipe.dedupe == "near"
        self._grouped = self._near or recipe.valid > 0 or bool(recipe.suites)
        self._prompts = prompts
        self._replies = replies
        self._prompt_numbers: dict[int, int] = {}
        self._reply_numbers: dict[int, int] = {}
        self._strata: dict[Stratum, int] = {}
        self._index_of: dict[bytes, int] = {}
        self._contradictions = Contradictions()
        self.bad = self.filtered = 0
        # One entry per row kept so far.
        self._content = bytearray()
        self._wording = bytearray()
        self._digests = array("Q")
        self._prompt = array("I")
        self._reply = array("I")
        self._places = array("Q")
        self._stratum = array("I")
        self._copies = array("I")

    def add(self, place: int, row: Row) -> None:
        """Add one row."""
        prompt, reply = normalised(row.prompt), row.reply.encode()
        exact = digest(row.prompt.encode(), _canonical(row), reply)
        # The same prompt after other turns is another example.
        history = row.history if row.extra else ()
        before = (json.dumps(history).encode(),) if history else ()
        content = digest(prompt.encode(), reply, *before)
        text = text_digest(prompt)
        # Duplicates count too: the one that is kept decides the label.
        question = text_digest(f"{text} {json.dumps(history)}") if history else text
        self._contradictions.add(question, row.harm)
        stratum = self._strata.setdefault(_stratum(row, self._recipe.balance), len(self._strata))
        if self._recipe.dedupe == "off":
            # Rows that differ in anything order differently; equal ones are interchangeable.
            content = digest(content, exact)
        else:
            index = self._index_of.setdefault(content, len(self._places))
            if index < len(self._places):
                self._copies[index] += 1
                # Which duplicate is kept must not depend on file order.
                if exact < self._wording[index * 16 : index * 16 + 16]:
                    self._wording[index * 16 : index * 16 + 16] = exact
                    self._places[index] = place
                    self._stratum[index] = stratum
                return
            self._wording += exact
        self._content += content
        number = self._prompt_numbers.get(text)
        if number is None:
            number = len(self._prompt_numbers)
            if self._grouped:
                number = self._prompts.add(text, prompt)
            self._prompt_numbers[text] = number
        self._digests.append(text)
        self._prompt.append(number)
        self._reply.append(self._reply_number(row) if self._near else _NONE)
        self._places.append(place)
        self._stratum.append(stratum)
        self._copies.append(1)

    def survey(self, references: References, stop: Callable[[], bool] | None) -> Survey:
        """Drop contaminated and near rows; the survey of the rest."""
        self._index_of.clear()
        known = {text_digest(each.prompt) for each in references.prompts}
        prompts = self._groups(len(references.prompts), stop)
        dropped = dict.fromkeys(("exact", "near", "bad", "contaminated", "filtered"), 0)
        dropped |= {"bad": self.bad, "filtered": self.filtered}
        left = []
        for index, text in enumerate(self._digests):
            if text in known or self._prompt[index] in prompts.contaminated:
                dropped["contaminated"] += self._copies[index]
            else:
                dropped["exact"] += self._copies[index] - 1
                left.append(index)
        if self._near:
            before = len(left)
            left = self._thinned(left, prompts.cluster, self._replies.groups(stop=stop).cluster)
            dropped["near"] = before - len(left)
        result = Survey(self._recipe.survey_key, strata=list(self._strata), dropped=dropped)
        result.contradicting = self._contradictions.prompts
        for index in left:
            result.content += self._content[index * 16 : index * 16 + 16]
            result.prompts.append(self._digests[index])
            number = self._prompt[index]
            result.group.append(prompts.component[number] if self._grouped else number)
            result.places.append(self._places[index])
            result.stratum.append(self._stratum[index])
        return result

    def _groups(self, references: int, stop: Callable[[], bool] | None) -> NearGroups:
        """The groups of near prompts, as deep as the recipe needs."""
        depth: Depth = "components" if self._recipe.valid else "references"
        if self._near:
            depth = "clusters"
        key = self._prompts.fingerprint + f"{references} {depth}".encode()
        if groups := self._cache.get(key):
            return groups
        groups = self._prompts.groups(references, depth=depth, stop=stop)
        if not (stop and stop()):
            self._cache.put(key, groups)
        return groups

    def _reply_number(self, row: Row) -> int:
        if not row.reply:
            return _NONE
        text = text_digest(row.reply)
        number = self._reply_numbers.get(text)
        if number is None:
            number = self._replies.add(text, normalised(row.reply))
            self._reply_numbers[text] = number
        return number

    def _thinned(self, left: list[int], prompt: array[int], reply: array[int]) -> list[int]:
        """Of rows that are near in prompt and reply, the one with the smallest content.

        Args:
            prompt, reply: The cluster of each prompt and reply.
        """
        best: dict[tuple[int, int], tuple[bytes, int]] = {}
        for index in left:
            number = self._reply[index]
            key = prompt[self._prompt[index]], _NONE if number == _NONE else reply[number]
            row = bytes(self._content[index * 16 : index * 16 + 16]), index
            best[key] = min(row, best.get(key, row))
        return sorted(index for _, index in best.values())


def digest(*parts: bytes) -> bytes:
    """16 bytes that identify `parts`; the same on any machine."""
    return hashlib.sha256(b"".join(map(framed, parts))).digest()[:16]


def framed(part: bytes) -> bytes:
    """`part` after its length, so that parts cannot run into each other."""
    return _length(len(part)) + part


def _stratum(row: Row, balance: str | None) -> Stratum:
    if balance is None or balance == "harm":
        return row.harm, row.category
    if balance == "category":
        return row.category, row.harm
    return str(row.extra.get(balance, "")), row.category


def _canonical(row: Row) -> bytes:
    if not row.extra:
        return _labels(row.harm, row.category)
    return json.dumps([row.harm, row.category, row.extra], sort_keys=True, default=str).encode()


@lru_cache(maxsize=4096)
def _labels(harm: str, category: str) -> bytes:
    return json.dumps([harm, category, {}]).encode()
