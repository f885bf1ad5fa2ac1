"""Count the rows of a dataset, and turn the counts into its profile."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as AnyMapping
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.contradictions import Contradictions
from waltzrl_tui.datasets.label_values import LabelCounter
from waltzrl_tui.datasets.near.chunked import count_distinct, count_values
from waltzrl_tui.datasets.near.clusters import ClusterKind, largest_clusters
from waltzrl_tui.datasets.near.index import NearGroups, NearIndex, text_digest
from waltzrl_tui.datasets.profiling.contamination import References
from waltzrl_tui.datasets.profiling.figures import (
    Contaminated,
    Contamination,
    Contradicting,
    Personal,
    PersonalRow,
    Profile,
    Refusals,
    Tokens,
    Waste,
)
from waltzrl_tui.datasets.profiling.personal import find_personal
from waltzrl_tui.datasets.reading.rows import Mapping, Row, label_text
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.text import normalised
from waltzrl_tui.tokenizers.estimate import estimate_tokens

EXAMPLES_KEPT: Final = 100
"""The most contaminated rows, and matches of personal data, that a profile lists."""

REPLIES_CHECKED: Final = 5_000
"""Distinct replies that are all checked for refusals; of further ones, one in 32 is."""

_CATEGORIES_KEPT: Final = 1000
_OTHER: Final = "(other)"
_NONE: Final = 2**32 - 1


class _DistinctTexts:
    """The distinct texts of one column: their numbers in an index, and their personal data."""

    def __init__(self, name: str, index: NearIndex) -> None:
        self.name = name
        self.index = index
        self.numbers: dict[int, int] = {}
        self.kinds: dict[int, tuple[str, ...]] = {}

    def number(self, digest: int, text: str) -> tuple[int, bool]:
        """The number of `text` in the index, and whether it is new there."""
        number = self.numbers.get(digest)
        if number is not None:
            return number, False
        number = self.numbers[digest] = self.index.add(digest, text)
        return number, True


class ProfileCounter:
    """The counts of one dataset; `add` every row, then read the `profile`."""

    def __init__(
        self,
        references: References,
        prompts: NearIndex,
        replies: NearIndex,
        reply_label: str = "",
    ) -> None:
        """Args: reply_label: The field of the mapping that the rows were read with."""
        references.put_into(prompts)
        self._reply_label = reply_label
        self._references = references
        self._prompts = _DistinctTexts("prompt", prompts)
        self._replies = _DistinctTexts("reply", replies)
        self._harm: Counter[str] = Counter()
        self._category: Counter[str] = Counter()
        self._contradictions = Contradictions()
        self._values = {"harm": LabelCounter(), "reply": LabelCounter()}
        self._sizes = {name: Tokens() for name in ("rows", "prompts", "replies")}
        self._personal: list[PersonalRow] = []
        self._refuses: dict[int, bool] = {}
        # One entry per row.
        self._lines = array("Q")
        self._prompt = array("I")
        self._questions = array("I")
        self._histories: dict[int, int] = {}
        self._reply = array("I")
        self._tokens = array("I")
        self._labels: dict[str, int] = {}
        self._label = array("B")

    @property
    def rows(self) -> int:
        return len(self._lines)

    def add(self, row: Row) -> None:
        """Count one row."""
        prompt = normalised(row.prompt)
        number, new = self._prompts.number(text_digest(prompt), prompt)
        if new:
            self._find_personal(self._prompts, number, row.line, row.prompt)
        history = row.history if row.extra else ()
        size = sum(estimate_tokens(turn["content"]) for turn in history)
        size += estimate_tokens(row.prompt)
        self._sizes["prompts"].add(size)
        reply = _NONE
        if row.reply:
            digest = text_digest(row.reply)
            reply, new = self._replies.number(digest, normalised(row.reply))
            if new:
                self._find_personal(self._replies, reply, row.line, row.reply)
                if reply < REPLIES_CHECKED or digest % 32 == 0:
                    self._refuses[reply] = is_refusal(row.reply)
            more = estimate_tokens(row.reply)
            self._sizes["replies"].add(more)
            size += more
        self._sizes["rows"].add(size)
        self._lines.append(row.line)
        self._prompt.append(number)
        question = self._question(history, number) if history else number
        self._questions.append(question)
        self._contradictions.add(question, row.harm)
        self._reply.append(reply)
        self._tokens.append(min(size, _NONE))
        self._label.append(self._labels.setdefault(row.harm, len(self._labels)))
        self._harm[row.harm] += 1
        if row.label:
            self._values["harm"].add(row.label, row.harm)
        if self._reply_label and (value := label_text(row.extra.get(self._reply_label))):
            self._values["reply"].add(value, row.reply_label)
        known = row.category in self._category or len(self._category) < _CATEGORIES_KEPT
        self._category[row.category if known else _OTHER] += 1

    def _question(self, history: Sequence[AnyMapping[str, str]], prompt: int) -> int:
        """A number, distinct from those of prompts, for this prompt after these turns."""
        known = text_digest(json.dumps([prompt, *history]))
        return _NONE - 1 - self._histories.setdefault(known, len(self._histories))

    def profile(
        self,
        path: Path,
        mapping: Mapping,
        bad_row_count: int,
        bad_rows: list[tuple[int, str]],
        stop: Callable[[], bool] | None,
    ) -> Profile:
        """The figures of all rows that were added."""
        references = len(self._references.prompts)
        prompts = self._prompts.index.groups(references, stop=stop)
        replies = self._replies.index.groups(stop=stop)
        near_prompts = array("Q", (prompts.cluster[number] for number in self._prompt))
        near_replies = array(
            "Q", (_NONE if number == _NONE else replies.cluster[number] for number in self._reply)
        )
        near_pairs = array("Q", _joined(near_prompts, near_replies))
        pairs = array("Q", _joined(self._questions, self._reply))
        lowest_of_pairs = {
            pair: min(prompts.lowest.get(pair >> 32, 1.0), replies.lowest.get(pair & _NONE, 1.0))
            for pair, size in count_values(near_pairs).items()
            if size > 1
        }
        kinds: tuple[tuple[ClusterKind, array[int], array[int], dict[int, float]], ...] = (
            ("prompts", near_prompts, self._prompt, prompts.lowest),
            ("replies", near_replies, self._reply, replies.lowest),
            ("pairs", near_pairs, pairs, lowest_of_pairs),
        )
        rows = self._sizes["rows"]
        return Profile(
            path=path,
            mapping=mapping,
            rows=self.rows,
            bad_row_count=bad_row_count,
            bad_rows=bad_rows,
            prompts=len(self._prompts.numbers),
            replies=len(self._replies.numbers),
            pairs=count_distinct(pairs),
            labels={"harm": _sorted(self._harm), "category": _sorted(self._category)},
            tokens=rows.total,
            histogram=rows.histogram,
            longest=rows.longest,
            near={
                "prompts": prompts.clusters - references,
                "replies": replies.clusters,
                "pairs": count_distinct(near_pairs),
            },
            clusters=[
                cluster
                for what, groups, texts, lowest in kinds
                for cluster in largest_clusters(
                    what, groups, texts, self._lines, lowest, none=_NONE
                )
            ],
            sides={name: self._sizes[name] for name in ("prompts", "replies")},
            refusals=self._refusals(),
            contaminated=self._contamination(prompts),
            personal=self._personal_figures(),
            waste=self._waste(prompts, pairs, near_pairs),
            label_values={name: counter.values() for name, counter in self._values.items()},
            contradicting=self._contradicting(),
        )

    def _find_personal(self, texts: _DistinctTexts, number: int, line: int, text: str) -> None:
        matches = find_personal(text)
        if matches:
            texts.kinds[number] = tuple({match.kind for match in matches})
            for match in matches[: EXAMPLES_KEPT - len(self._personal)]:
                self._personal.append(PersonalRow(line, texts.name, match.kind, match.shown))

    def _contaminated(self, prompts: NearGroups) -> dict[int, Contaminated]:
        """The place in a suite by the number of a prompt; lines are those of the suite."""
        same = {each.prompt: place for place, each in enumerate(self._references.prompts)}
        exact = {text_digest(prompt): place for prompt, place in same.items()}
        contaminated = {}
        for digest, number in self._prompts.numbers.items():
            place, share = prompts.contaminated.get(number, (0, 0.0))
            if digest in exact:
                place, share = exact[digest], 1.0
            elif share:
                # Different texts can have the same shingles; only the same prompt counts as exact.
                share = min(share, 0.999)
            if share:
                each = self._references.prompts[place]
                contaminated[number] = Contaminated(0, each.suite, each.line, round(share, 3))
        return contaminated

    def _contamination(self, prompts: NearGroups) -> Contamination:
        known = self._contaminated(prompts)
        suites = dict.fromkeys(self._references.suites, 0)
        examples: list[Contaminated] = []
        rows = exact = 0
        for line, number in zip(self._lines, self._prompt, strict=True):
            each = known.get(number)
            if each is None:
                continue
            rows += 1
            exact += each.similarity == 1
            suites[each.suite] += 1
            if len(examples) < EXAMPLES_KEPT:
                examples.append(Contaminated(line, each.suite, each.suite_line, each.similarity))
        return Contamination(rows, exact, suites, examples)

    def _waste(
        self, prompts: NearGroups, pairs: array[int], near_pairs: array[int]
    ) -> dict[str, Waste]:
        contaminated = self._contaminated(prompts)
        pairs_seen: set[int] = set()
        seen_near: set[int] = set()
        counts = {reason: [0, 0] for reason in ("exact", "near", "contaminated")}
        for place, size in enumerate(self._tokens):
            if self._prompt[place] in contaminated:
                reason = "contaminated"
            elif pairs[place] in pairs_seen:
                reason = "exact"
            elif near_pairs[place] in seen_near:
                reason = "near"
            else:
                reason = ""
                pairs_seen.add(pairs[place])
                seen_near.add(near_pairs[place])
            if reason:
                counts[reason][0] += 1
                counts[reason][1] += size
        return {reason: Waste(*count) for reason, count in counts.items()}

    def _contradicting(self) -> Contradicting:
        lines = [
            line
            for line, question in zip(self._lines, self._questions, strict=True)
            if question in self._contradictions
        ]
        return Contradicting(
            prompts=self._contradictions.prompts, rows=len(lines), lines=lines[:EXAMPLES_KEPT]
        )

    def _refusals(self) -> Refusals:
        names = {number: name for name, number in self._labels.items()}
        counts = {name: [0, 0] for name in names.values()}
        # Index 0: rows whose replies are all checked; 1: rows of which one reply in 32 is.
        refused, looked_at, rows = [0, 0], [0, 0], [0, 0]
        for reply, label in zip(self._reply, self._label, strict=True):
            if reply == _NONE:
                continue
            part = int(reply >= REPLIES_CHECKED)
            rows[part] += 1
            verdict = self._refuses.get(reply)
            if verdict is None:
                continue
            looked_at[part] += 1
            refused[part] += verdict
            counts[names[label]][0] += verdict
            counts[names[label]][1] += 1
        rest = round(refused[1] / looked_at[1] * rows[1]) if looked_at[1] else 0
        by_harm = {name: (count[0], count[1]) for name, count in sorted(counts.items()) if count[1]}
        return Refusals(
            rows=sum(rows),
            refused=refused[0] + rest,
            looked_at=sum(looked_at),
            by_harm=by_harm,
        )

    def _personal_figures(self) -> Personal:
        kinds: Counter[str] = Counter()
        rows = 0
        for prompt, reply in zip(self._prompt, self._reply, strict=True):
            row_kinds = {*self._prompts.kinds.get(prompt, ()), *self._replies.kinds.get(reply, ())}
            rows += bool(row_kinds)
            kinds.update(row_kinds)
        return Personal(rows, _sorted(kinds), self._personal)


def _joined(first: Iterable[int], second: Iterable[int]) -> Iterator[int]:
    """Two numbers of 32 bits as one of 64."""
    return (one << 32 | two for one, two in zip(first, second, strict=True))


def _sorted(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name, whatever the order of the file."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
