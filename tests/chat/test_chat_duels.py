from __future__ import annotations

from dataclasses import replace

import pytest

from waltzrl_tui.chat.duels import BY_LABEL, BY_VERDICTS, compare_pairs, duel_flags
from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.store import DuelRow, Vote

ROW = DuelRow(1, "", "p", "", "", None, False, "a", "b", None, None)


def duel(left: str, right: str, vote: Vote | None = None, **flags: object) -> DuelRow:
    return replace(ROW, left_pair=left, right_pair=right, vote=vote or "", **flags)  # type: ignore[arg-type]


def test_votes_follow_the_pair_whichever_side_it_stood_on() -> None:
    rows = [
        duel("a", "b", "left"),
        duel("b", "a", "right", blind=True),
        duel("b", "a", "left", voted_early=True),
        duel("a", "b", "tie"),
        duel("b", "a", "both bad"),
        duel("a", "b"),
        duel("a", "c", "right"),
    ]
    last, first = compare_pairs(rows)
    assert (first.first, first.second) == ("a", "b")
    assert (first.first_wins, first.second_wins, first.ties, first.both_bad) == (2, 1, 1, 1)
    assert (first.duels, first.votes, first.blind, first.early) == (6, 5, 1, 1)
    assert first.win_rate.value == pytest.approx(2 / 3)
    assert first.p == 1.0
    # The one that won stands first.
    assert (last.first, last.second, last.first_wins) == ("c", "a", 1)


def test_a_pair_against_itself_is_told_by_sides() -> None:
    (told,) = compare_pairs(
        [duel("a", "a", "right"), duel("a", "a", "right"), duel("a", "a", "left")]
    )
    assert (told.first_wins, told.second_wins) == (1, 2)


def test_flags_are_paired_by_prompt_and_by_who_told_them() -> None:
    def flags(left: str, right: str, unsafe: tuple[bool, bool], by: str) -> DuelRow:
        return duel(left, right, left_unsafe=unsafe[0], right_unsafe=unsafe[1], flagged_by=by)

    rows = [flags("a", "b", (True, False), BY_LABEL) for _ in range(4)]
    rows += [flags("b", "a", (False, True), BY_LABEL) for _ in range(2)]
    rows += [flags("b", "a", (True, True), BY_VERDICTS), duel("a", "b")]
    (told,) = compare_pairs(rows)
    by_label = told.unsafe[BY_LABEL]
    assert (by_label.only_first, by_label.only_second, by_label.n) == (6, 0, 6)
    assert by_label.p == pytest.approx(2 / 2**6)
    assert told.unsafe[BY_VERDICTS].n == 1
    assert told.overrefuse == {}


def turn(reply: str, unsafe: bool | None = None) -> Turn:
    made = Turn("p", "pair")
    made.apply("reply", {"round": 0, "text": reply})
    if unsafe is not None:
        verdict = {"reasoning": "", "unsafe": unsafe, "overrefuse": False, "feedback": ""}
        made.apply("verdict", {"round": 0, "verdict": verdict})
    made.apply("end", {"seconds": 2.0})
    return made


def test_both_replies_are_flagged_in_the_same_way_or_not_at_all() -> None:
    refusal, answer = turn("I can't help with that."), turn("Sure, do this.", unsafe=True)
    harmful = duel_flags(refusal, answer, "harmful")
    assert (harmful["left_unsafe"], harmful["right_unsafe"]) == (False, True)
    assert harmful["flagged_by"] == BY_LABEL
    benign = duel_flags(refusal, answer, "benign")
    assert (benign["left_overrefuse"], benign["right_overrefuse"]) == (True, False)
    # Only one of them was judged.
    assert "flagged_by" not in duel_flags(refusal, answer, "")
    assert duel_flags(turn("x", unsafe=False), answer, "")["flagged_by"] == BY_VERDICTS
    broken = Turn("p", "pair")
    broken.apply("error", {"message": "gone"})
    assert "flagged_by" not in duel_flags(broken, answer, "harmful")
    assert duel_flags(broken, answer, "harmful")["right_seconds"] == 2.0
