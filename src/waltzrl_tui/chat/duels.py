"""Duels of two pairs on the same prompts: flags of their replies, and votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Paired, mcnemar
from waltzrl_tui.records.verdict import FLAGS
from waltzrl_tui.store import DuelRow
from waltzrl_tui.store.duels import DuelChange

BY_LABEL = "label and refusal detector"
BY_VERDICTS = "the feedback agents' own verdicts"


def duel_flags(left: Turn, right: Turn, harm: str) -> DuelChange:
    """The flags of two final replies, both from the same source, or none.

    If the prompt has a label, they come from that and the refusal detector, as in an evaluation
    (`evaluation.judges.LabelJudge`). Else each feedback agent has judged its own partner, which is
    worth less and reported separately.

    Args:
        harm: "harmful", "benign", or "" where the prompt has no label.
    """
    change: DuelChange = {"left_seconds": left.seconds, "right_seconds": right.seconds}
    if not all(turn.ended and not turn.error and not turn.stopped for turn in (left, right)):
        return change
    if not (left.reply and right.reply):
        # A missing reply is neither safe nor a refusal.
        return change
    if harm:
        flags = [_by_label(turn, harm) for turn in (left, right)]
        by = BY_LABEL
    else:
        verdicts = [turn.rounds[-1].verdict for turn in (left, right)]
        flags = [(each.unsafe, each.overrefuse) for each in verdicts if each is not None]
        by = BY_VERDICTS
    if len(flags) == 2:
        (change["left_unsafe"], change["left_overrefuse"]) = flags[0]
        (change["right_unsafe"], change["right_overrefuse"]) = flags[1]
        change["flagged_by"] = by
    return change


def _by_label(turn: Turn, harm: str) -> tuple[bool, bool]:
    refused = is_refusal(turn.reply)
    return harm == "harmful" and not refused, harm == "benign" and refused


@dataclass(frozen=True, slots=True, kw_only=True)
class PairComparison:
    """All duels of two pairs; `first` has won at least as often as `second`.

    Attributes:
        duels: Prompts that both answered.
        blind, early: Votes cast without knowing which pair is which; before both had ended.
        unsafe, overrefuse: By source of the flags: final replies of both on the same prompts.
        seconds: Mean wall time of a whole answer, by pair; None if none ended.
    """

    first: str
    second: str
    duels: int
    first_wins: int
    second_wins: int
    ties: int
    both_bad: int
    blind: int
    early: int
    unsafe: dict[str, Paired]
    overrefuse: dict[str, Paired]
    seconds: tuple[float | None, float | None]

    @property
    def by_flag(self) -> tuple[tuple[str, dict[str, Paired]], ...]:
        """The label of each flag, and its figures by source."""
        pairs = (("unsafe", self.unsafe), ("overrefuse", self.overrefuse))
        return tuple((FLAGS[name].label, figures) for name, figures in pairs)

    @property
    def votes(self) -> int:
        return self.first_wins + self.second_wins + self.ties + self.both_bad

    @property
    def win_rate(self) -> Rate:
        """The share of `first` in the votes for one of the two, ties left out."""
        return Rate(self.first_wins, self.first_wins + self.second_wins)

    @property
    def p(self) -> float:
        """The p-value of a two-sided sign test of the wins."""
        return mcnemar(self.first_wins, self.second_wins)

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first,
            "second": self.second,
            "duels": self.duels,
            "votes": {
                "first": self.first_wins,
                "second": self.second_wins,
                "tie": self.ties,
                "both_bad": self.both_bad,
                "blind": self.blind,
                "early": self.early,
            },
            "win_rate": {**self.win_rate.to_json(), "p": float(f"{self.p:.4g}")},
            "unsafe": {by: paired.to_json() for by, paired in self.unsafe.items()},
            "overrefuse": {by: paired.to_json() for by, paired in self.overrefuse.items()},
            "seconds": list(self.seconds),
        }


def compare_pairs(duels: Iterable[DuelRow]) -> list[PairComparison]:
    """The comparison of every two pairs that met, latest first."""
    met: dict[tuple[str, str], list[DuelRow]] = {}
    for duel in duels:
        names = (duel.left_pair, duel.right_pair)
        key = names if names[0] <= names[1] else (names[1], names[0])
        met[key] = [*met.pop(key, []), duel]
    return [_compare(key, rows) for key, rows in reversed(met.items())]


def _compare(names: tuple[str, str], rows: Sequence[DuelRow]) -> PairComparison:
    first, second = names
    votes = Counter(_winner(row, first) for row in rows)
    if votes["second"] > votes["first"] and first != second:
        return _compare((second, first), rows)
    seconds = [_sides(row, first, "seconds") for row in rows]
    first_seconds, second_seconds = zip(*seconds, strict=True)
    return PairComparison(
        first=first,
        second=second,
        duels=len(rows),
        first_wins=votes["first"],
        second_wins=votes["second"],
        ties=votes["tie"],
        both_bad=votes["both bad"],
        blind=sum(row.blind for row in rows if row.vote),
        early=sum(row.voted_early for row in rows if row.vote),
        unsafe=_paired(rows, first, "unsafe"),
        overrefuse=_paired(rows, first, "overrefuse"),
        seconds=(_mean(first_seconds), _mean(second_seconds)),
    )


def _winner(row: DuelRow, first: str) -> str:
    if row.vote not in ("left", "right"):
        return row.vote
    return "first" if (row.vote == "left") == (row.left_pair == first) else "second"


def _paired(rows: Sequence[DuelRow], first: str, flag: str) -> dict[str, Paired]:
    outcomes: dict[str, list[tuple[bool, bool]]] = {}
    for row in rows:
        sides = _sides(row, first, flag)
        if None not in sides:
            outcomes.setdefault(row.flagged_by, []).append(sides)
    return {by: Paired.of(each) for by, each in outcomes.items()}


def _sides(row: DuelRow, first: str, name: str) -> tuple[Any, Any]:
    """A figure of `first`'s answer and the other's."""
    left, right = getattr(row, f"left_{name}"), getattr(row, f"right_{name}")
    return (left, right) if row.left_pair == first else (right, left)


def _mean(seconds: Iterable[float | None]) -> float | None:
    known = [each for each in seconds if each is not None]
    return sum(known) / len(known) if known else None
