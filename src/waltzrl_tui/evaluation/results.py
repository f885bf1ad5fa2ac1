"""The results of a run: figures by subject, suite and judge, differences, agreement, the queue."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, Final

from waltzrl_tui.evaluation.items import EvalItem, Played, Stage, labelled
from waltzrl_tui.evaluation.judges import content_key, labels_of
from waltzrl_tui.evaluation.paired import Agreement, Paired, holm
from waltzrl_tui.evaluation.report import Report, make_report
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.store.evaluation_runs import HandLabel, Place, RunRow
from waltzrl_tui.text import normalised

BY_HAND: Final = "by hand"
"""The name of the labels by hand beside a judge's."""
SETTLED: Final = " + hand"
"""Suffix of a judge whose opinions are replaced by labels by hand where there are any."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Two subjects on the same prompts of all suites; negative is better for the second one.

    Attributes:
        unsafe_holm, overrefused_holm: The p of each, corrected for all `tests` shown together.
    """

    first: str
    second: str
    judge: str
    unsafe: Paired
    overrefused: Paired
    unsafe_holm: float = 1.0
    overrefused_holm: float = 1.0
    tests: int = 1

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "judge": self.judge,
            "tests": self.tests,
            "asr": {**self.unsafe.to_json(), "p_holm": float(f"{self.unsafe_holm:.4g}")},
            "orr": {**self.overrefused.to_json(), "p_holm": float(f"{self.overrefused_holm:.4g}")},
        }


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """Two judges, or a judge and labels by hand, on all replies with a readable opinion of both."""

    first: str
    second: str
    harmful: Agreement
    refusal: Agreement

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "harmful_response": self.harmful.to_json(),
            "refusal": self.refusal.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Dispute:
    """A reply about which judges differ, or one has no readable opinion.

    Attributes:
        key: See `content_key`.
        label: The label by hand, or None while it is open.
    """

    key: str
    place: Place
    stage: Stage
    item: Played
    label: HandLabel | None

    @property
    def reply(self) -> str:
        return self.item.replies[self.stage]


@dataclass
class RunResults:
    """The items of a run, in memory; more may be added while it runs.

    Attributes:
        hand: Labels by hand, by content key.
    """

    run: RunRow
    spec: RunSpec
    items: dict[Place, Played] = field(default_factory=dict)
    hand: Mapping[str, HandLabel] = field(default_factory=dict)
    # A cache: a live run is counted again and again, with a few more items each time.
    _labelled: dict[tuple[Place, str], EvalItem] = field(default_factory=dict)
    _places: dict[int, list[Place]] = field(default_factory=dict)
    # Each different reply once; None after new items.
    _different: list[tuple[Place, Stage, Played]] | None = None
    # Those with a label by hand; None when they must be looked up.
    _hand_labelled: list[tuple[Stage, Played, HandLabel]] | None = None

    @classmethod
    def of(cls, run: RunRow) -> RunResults:
        return cls(run, RunSpec.model_validate(run.spec))

    def take(self, items: Iterable[tuple[Place, Mapping[str, Any]]]) -> None:
        """Add items from the store."""
        for place, document in items:
            if place not in self.items:
                insort(self._places.setdefault(place[0], []), place)
            else:
                self._labelled.clear()
            self.items[place] = Played.model_validate(document)
        self._different = self._hand_labelled = None

    def settle(self, hand: Mapping[str, HandLabel]) -> None:
        """Replace the labels by hand."""
        if hand != self.hand:
            self.hand = hand
            self._labelled.clear()
            self._hand_labelled = None

    @property
    def judges(self) -> tuple[str, ...]:
        """The judges, and the main one with labels by hand if this run has any."""
        return (*self.spec.judges, self.main) if self.labelled_here else self.spec.judges

    @property
    def main(self) -> str:
        """The judge that decides: the first one, with labels by hand if this run has any."""
        return self.spec.judges[0] + (SETTLED if self.labelled_here else "")

    @property
    def labelled_here(self) -> bool:
        """Whether a reply of this run has a label by hand."""
        return bool(self._labelled_replies())

    @property
    def repeated(self) -> int:
        """How many prompts of the suites repeat an earlier one."""
        prompts = {place[1:]: item.prompt for place, item in self.items.items()}
        return len(prompts) - len({normalised(prompt) for prompt in prompts.values()})

    def evaluated(
        self, subject: int, suite: int | None = None, judge: str = ""
    ) -> dict[tuple[int, int], EvalItem]:
        """The items of a subject (on one suite) by (suite, prompt), as the judge labels them."""
        chosen = judge or self.spec.judges[0]
        return {
            (place[1], place[2]): self._item(place, chosen)
            for place in self._places.get(subject, ())
            if suite in (None, place[1])
        }

    def _item(self, place: Place, judge: str) -> EvalItem:
        item = self._labelled.get((place, judge))
        if item is None:
            name = judge.removesuffix(SETTLED)
            hand = self.hand if judge != name else {}
            item = labelled(self.items[place], name, hand)
            self._labelled[place, judge] = item
        return item

    def report(self, subject: int, suite: int | None = None, judge: str = "") -> Report:
        """The figures of a subject on one suite, or on all."""
        chosen = judge or self.spec.judges[0]
        name = self.spec.suites[suite].name if suite is not None else "all"
        return make_report(
            list(self.evaluated(subject, suite, chosen).values()),
            pair=self.spec.subjects[subject].name,
            judge=chosen,
            suite=name,
            seconds=self.run.seconds,
        )

    def difference(
        self, first: int, second: int, judge: str = "", suite: int | None = None
    ) -> Difference:
        """The second subject compared with the first, by final replies."""
        chosen = judge or self.spec.judges[0]
        one = self.evaluated(first, suite, chosen)
        other = self.evaluated(second, suite, chosen)
        same = [(one[place], other[place]) for place in one if place in other]
        return Difference(
            first=self.spec.subjects[first].name,
            second=self.spec.subjects[second].name,
            judge=chosen,
            unsafe=Paired.of(
                (bool(a.final_unsafe), bool(b.final_unsafe))
                for a, b in same
                if a.harm == "harmful" and None not in (a.final_unsafe, b.final_unsafe)
            ),
            overrefused=Paired.of(
                (bool(a.final_overrefused), bool(b.final_overrefused))
                for a, b in same
                if a.harm == "benign" and None not in (a.final_overrefused, b.final_overrefused)
            ),
        )

    def differences(self, judge: str = "", suite: int | None = None) -> list[Difference]:
        """The last subject compared with each other one, with p corrected for all tests."""
        last = len(self.spec.subjects) - 1
        differences = [self.difference(first, last, judge, suite) for first in range(last)]
        ps = [[each.unsafe.p, each.overrefused.p] for each in differences]
        # A comparison without prompts is not a test.
        tested = [
            (row, column)
            for row, each in enumerate(differences)
            for column, paired in enumerate((each.unsafe, each.overrefused))
            if paired.n
        ]
        corrected = holm([ps[row][column] for row, column in tested])
        for (row, column), p in zip(tested, corrected, strict=True):
            ps[row][column] = p
        return [
            replace(each, unsafe_holm=unsafe, overrefused_holm=overrefused, tests=len(tested))
            for each, (unsafe, overrefused) in zip(differences, ps, strict=True)
        ]

    def agreements(self) -> list[JudgeAgreement]:
        """Agreement of all pairs of judges, each different reply counted once."""
        return [self._agreement(a, b) for a, b in combinations(self.spec.judges, 2)]

    def disputes(self, *, settled: bool = True) -> list[Dispute]:
        """Replies for a person to label, each once.

        Those that change a figure come first, settled ones last.

        Args:
            settled: Whether to include those with a label by hand.
        """
        judges = self.spec.judges
        disputes: dict[str, Dispute] = {}
        idle: set[str] = set()
        for place, stage, item in self._replies():
            opinions = [item.opinion(judge, stage, {}) for judge in judges]
            harm = {each.harmful_response for each in opinions}
            refusal = {each.refusal for each in opinions}
            if len(harm) < 2 and len(refusal) < 2 and not any(each.error for each in opinions):
                continue
            key = content_key(item.prompt, item.replies[stage])
            label = self.hand.get(key)
            if settled or label is None:
                disputes.setdefault(
                    key, Dispute(key=key, place=place, stage=stage, item=item, label=label)
                )
                if len({labels_of(each, item.harm) for each in opinions}) == 1:
                    idle.add(key)
        return sorted(
            disputes.values(), key=lambda each: (each.label is not None, each.key in idle)
        )

    def by_hand(self, judge: str) -> JudgeAgreement | None:
        """How far `judge` agrees with the labels by hand; None without any."""
        if not self.labelled_here:
            return None
        harmful: list[tuple[bool, bool]] = []
        refusal: list[tuple[bool, bool]] = []
        for stage, item, label in self._labelled_replies():
            opinion = item.opinion(judge, stage, {})
            if opinion.harmful_response is None or opinion.refusal is None:
                continue
            harmful.append((opinion.harmful_response, label.harmful))
            refusal.append((opinion.refusal, label.refusal))
        return JudgeAgreement(
            first=judge,
            second=BY_HAND,
            harmful=Agreement.of(harmful),
            refusal=Agreement.of(refusal),
        )

    def judge_usd(self) -> float | None:
        """USD of the judges, cached answers included at their price; None where unknown."""
        costs = [item.judge_usd for item in self.items.values()]
        return None if None in costs else sum(cost or 0.0 for cost in costs)

    def to_json(self) -> dict[str, Any]:
        """All figures of the run."""
        subjects, suites = range(len(self.spec.subjects)), range(len(self.spec.suites))
        return {
            "run": self.run.id,
            "state": self.run.state,
            "total": self.run.total,
            "done": len(self.items),
            "evaluations": [
                self.report(subject, suite, judge).to_json()
                for judge in self.judges
                for suite in suites
                for subject in subjects
            ],
            "differences": [
                each.to_json() for judge in self.judges for each in self.differences(judge)
            ],
            "agreement": [each.to_json() for each in self.agreements()],
            "by_hand": [
                each.to_json() for judge in self.spec.judges if (each := self.by_hand(judge))
            ],
            "repeated_prompts": self.repeated,
            "disputes": {
                "open": len(self.disputes(settled=False)),
                "settled": len(self.disputes()) - len(self.disputes(settled=False)),
            },
            "judge_usd": self.judge_usd(),
            "left_out": self.run.error,
        }

    def _agreement(self, first: str, second: str) -> JudgeAgreement:
        harmful: list[tuple[bool, bool]] = []
        refusal: list[tuple[bool, bool]] = []
        for _, stage, item in self._replies():
            one, other = item.opinion(first, stage, {}), item.opinion(second, stage, {})
            if one.harmful_response is not None and other.harmful_response is not None:
                harmful.append((one.harmful_response, other.harmful_response))
            if one.refusal is not None and other.refusal is not None:
                refusal.append((one.refusal, other.refusal))
        return JudgeAgreement(
            first=first,
            second=second,
            harmful=Agreement.of(harmful),
            refusal=Agreement.of(refusal),
        )

    def _replies(self) -> list[tuple[Place, Stage, Played]]:
        """Each different reply to a prompt once, in the order of the items."""
        if self._different is not None:
            return self._different
        seen: set[tuple[str, str]] = set()
        replies: list[tuple[Place, Stage, Played]] = []
        stages: tuple[Stage, ...] = ("first", "final")
        for place, item in sorted(self.items.items()):
            for stage in stages:
                content = (item.prompt, item.replies[stage])
                if content not in seen:
                    seen.add(content)
                    replies.append((place, stage, item))
        self._different = replies
        return replies

    def _labelled_replies(self) -> list[tuple[Stage, Played, HandLabel]]:
        if self._hand_labelled is None:
            self._hand_labelled = [
                (stage, item, label)
                for _, stage, item in (self._replies() if self.hand else ())
                if (label := self.hand.get(content_key(item.prompt, item.replies[stage])))
            ]
        return self._hand_labelled
