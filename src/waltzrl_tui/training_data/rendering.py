"""From rows to the two agents' training files: conversation and feedback."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pydantic import ValidationError

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.datasets.refusals import is_refusal
from waltzrl_tui.datasets.reply_labels import told_refusal
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.training_data.overrefusals import overrefusal
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.waltz.prompts import conversation_messages, feedback_messages, revision_turn

Case = Literal[
    "harmful/complies",
    "harmful/refuses",
    "benign/complies",
    "benign/refuses",
    "unsafe reply",
    "safe reply",
]
Source = Literal["dataset", "rollout", "template", "revision"]
CASES: tuple[Case, ...] = (
    "harmful/complies",
    "harmful/refuses",
    "benign/complies",
    "benign/refuses",
)
"""By the prompt's label. The other two are of replies that are labelled where the prompt's label is
not known, or would say something else."""

_GOOD = ("harmful/refuses", "benign/complies", "safe reply")

_REASONING: dict[Case, str] = {
    "harmful/complies": "Harmful prompt ({0}), answered.",
    "harmful/refuses": "Harmful prompt ({0}), declined.",
    "benign/complies": "Harmless prompt, answered.",
    "benign/refuses": "Harmless prompt, declined.",
    "unsafe reply": "Unsafe reply ({0}).",
    "safe reply": "Safe reply.",
}
_DECISIONS = re.compile(
    r'(?<="reasoning": ")(?:Harm\w+|Unsafe|Safe)|(?:answered|declined)(?=\.", "unsafe")'
    r'|(?<=": )(?:true|false)(?=, ")|(?<="feedback": ).'
)

# Both begin with the word that decides: a small model that hesitates over the first word of the
# feedback leaves it empty.
_REFUSE = (
    "Decline to help with {0}, and offer something safe instead.",
    "Decline: this is about {0}. Say what you will not do and what you can do.",
)
_ANSWER = (
    "Answer the request directly: it is harmless.",
    "Answer it fully: nothing in this request is dangerous.",
)


def case_of(harm: str, reply: str, refuses: bool | None = None) -> Case:
    """Which of the four cases a (prompt, reply) is.

    Args:
        harm: The prompt's label.
        refuses: What the dataset says of the reply; by the refusal detector without.
    """
    if refuses is None:
        refuses = is_refusal(reply)
    if harm == "harmful":
        return "harmful/refuses" if refuses else "harmful/complies"
    return "benign/refuses" if refuses else "benign/complies"


def own_case(row: Row) -> Case | None:
    """The case of the row's own reply, as its dataset labels it or else as it reads.

    None where the labels do not tell: the verdict on the reply is not known then.
    """
    told = told_refusal(row.extra)
    refuses = is_refusal(row.reply) if told is None else told
    if row.reply_label == "unsafe":
        # One that declines, or that harms by answering a harmless prompt, is labelled in another
        # sense than ours.
        if refuses or row.harm == "benign":
            return None
        return "harmful/complies" if row.harm else "unsafe reply"
    if row.reply_label == "safe" and not refuses and row.harm != "benign":
        return "safe reply"
    if not row.harm:
        return None
    case = case_of(row.harm, row.reply, refuses)
    # Nobody says what is wrong with it.
    return None if row.reply_label == "bad" and case in _GOOD else case


def worth_learning(row: Row) -> bool:
    """Whether a conversation agent should learn the row's reply: it deserves no feedback.

    A row without a label is taken at its word.
    """
    if row.reply_label in ("unsafe", "bad"):
        return False
    return not row.harm or own_case(row) in _GOOD


def teaches_feedback(row: Row) -> bool:
    """Whether a feedback agent can learn from the row: a verdict on some reply to it is known."""
    return bool(row.harm or (row.reply and own_case(row)))


def verdict_for(case: Case, *, prompt: str, category: str) -> Verdict:
    """The templated verdict of a case. Its feedback wording is chosen by the prompt's hash."""
    unsafe, overrefuse = case in ("harmful/complies", "unsafe reply"), case == "benign/refuses"
    choice = _chance(prompt)
    named = re.sub(r"[-_]", " ", category) or "harm"
    feedback = ""
    if unsafe:
        feedback = _REFUSE[choice % len(_REFUSE)].format(named)
    elif overrefuse:
        feedback = _ANSWER[choice % len(_ANSWER)]
    flags = [name for name, up in (("unsafe", unsafe), ("overrefuse", overrefuse)) if up]
    return Verdict.of(*flags, reasoning=_REASONING[case].format(named), feedback=feedback)


def conversation_rows(
    rows: Sequence[Row],
    rollouts: Mapping[str, str],
    prompt_version: str,
    *,
    revisions: float = 1.0,
    refusals_within: int = 0,
) -> list[TrainingRow]:
    """Each row as prompt → reply, and some again: prompt, bad reply, feedback → reply.

    The turns before a row's prompt come before it here too; what a system turn among them says
    stands under the agent's own system prompt.

    The bad reply is the base's rollout to a harmful prompt, and to a harmless one a refusal
    written from its words.

    Args:
        rows: With a prompt and a reply. Those whose reply deserves feedback (it complies with
            harm, or declines without need) are left out. Those without a label give no revision.
        rollouts: The base's own reply by prompt.
        prompt_version: Of the conversation agent's system prompt.
        revisions: Share of the harmful rows, and of the harmless ones, that also give a revision
            (the first ones that can).
        refusals_within: Refusals that are not announced in so many words are left out (0: none
            is). "Making a bomb is something I won't explain" begins as an answer does, and a
            small model that learns it slides from answers into refusals.
    """
    rows = [row for row in rows if worth_learning(row) and _announced(row, refusals_within)]
    rendered = [
        TrainingRow(
            (
                *_asked(prompt_version, row),
                {"role": "assistant", "content": row.reply},
            ),
            case=own_case(row) or "",
        )
        for row in rows
    ]
    left = {
        harm: round(number * revisions)
        for harm, number in Counter(row.harm for row in rows).items()
    }
    for row in rows:
        if left[row.harm] and (revision := _revision(row, rollouts, prompt_version)):
            left[row.harm] -= 1
            rendered.append(revision)
    return rendered


def _asked(prompt_version: str, row: Row, *more: Message) -> list[Message]:
    """The agent's system prompt, the row's turns up to its prompt, and `more`."""
    turns = [*row.history, {"role": "user", "content": row.prompt}, *more]
    said = [turn["content"] for turn in turns if turn["role"] == "system"]
    system, *rest = conversation_messages(
        prompt_version, [turn for turn in turns if turn["role"] != "system"]
    )
    return [system | {"content": "\n\n".join([system["content"], *said])}, *rest]


def _announced(row: Row, words: int) -> bool:
    if not words or own_case(row) != "harmful/refuses":
        return True
    return is_refusal(" ".join(row.reply.split()[:words]))


def _revision(row: Row, rollouts: Mapping[str, str], prompt_version: str) -> TrainingRow | None:
    if not row.harm:
        return None  # Nobody knows whether it should have been declined.
    bad = rollouts.get(row.prompt, "") if row.harm == "harmful" else overrefusal(row.prompt)
    verdict = verdict_for(case_of(row.harm, bad), prompt=row.prompt, category=row.category)
    if not bad or not verdict.triggers:
        return None
    judged = {"role": "assistant", "content": bad}
    return TrainingRow(
        (
            *_asked(prompt_version, row, judged, revision_turn(verdict.feedback)),
            {"role": "assistant", "content": row.reply},
        ),
        source="revision",
    )


def feedback_rows(
    rows: Sequence[Row],
    rollouts: Mapping[str, str],
    prompt_version: str,
    *,
    judged: int = 2,
) -> list[TrainingRow]:
    """Each prompt with a reply that helps, one that refuses, or both, each with its verdict.

    Whether a prompt is harmful must be told from the prompt, so both sides get replies of the
    same hands: refusals are mostly written from the prompt's words whatever its label, and
    answers are the base's rollouts to harmful prompts and to about half of the harmless ones.

    Args:
        judged: Replies of a prompt that are judged: 2, or 1 for twice the prompts in the same
            time. All four cases come about equally often either way.
    """
    rendered: list[TrainingRow] = []
    for row in rows:
        for reply, source in _judged_replies(row, rollouts.get(row.prompt, ""), judged):
            case = own_case(row) if source == "dataset" else case_of(row.harm, reply)
            if case is None:
                continue
            own = told_verdict(row, case) if source == "dataset" else None
            verdict = own or verdict_for(case, prompt=row.prompt, category=row.category)
            rendered.append(
                TrainingRow(
                    (
                        *feedback_messages(prompt_version, row.prompt, reply),
                        {"role": "assistant", "content": verdict.to_json()},
                    ),
                    case=case,
                    source=source,
                    decisions=decision_spans(verdict.to_json()),
                    feedback_by="dataset" if own else "template",
                )
            )
    return rendered


def told_verdict(row: Row, case: Case) -> Verdict | None:
    """The verdict on its reply that a row brings itself, in the fields of a verdict.

    None where it brings none, or one whose flags say another case than its labels do.
    """
    try:
        told = Verdict.model_validate({"reasoning": "", **row.extra})
    except ValidationError:
        return None
    wanted = verdict_for(case, prompt=row.prompt, category=row.category)
    return told if told.flags == wanted.flags else None


def wants_rollout(row: Row, judged: int) -> bool:
    """Whether `feedback_rows` takes the base's own reply to this row's prompt."""
    if not row.harm:
        return False
    chance = _chance(row.prompt)
    return (judged == 2 or _complies(chance)) and (row.harm == "harmful" or _rolled_out(chance))


def decision_spans(verdict: str) -> tuple[tuple[int, int], ...]:
    """Where a templated verdict decides: what it says of prompt and reply, the flags, and
    whether the feedback is empty."""
    return tuple(match.span() for match in _DECISIONS.finditer(verdict))


def _judged_replies(row: Row, rollout: str, judged: int) -> list[tuple[str, Source]]:
    """A reply to `row` that complies and one that refuses, or one of them.

    A reply that its dataset labels is always among them: somebody has judged it already. To a
    prompt without a label there is no other reply whose verdict is known.
    """
    known = bool(row.reply) and own_case(row) is not None
    if not row.harm:
        return [(row.reply, "dataset")] if known else []
    told = told_refusal(row.extra) if known else None
    complying: list[tuple[str, Source]] = []
    refusing: list[tuple[str, Source]] = []
    if known:
        refuses = is_refusal(row.reply) if told is None else told
        if row.reply_label in ("safe", "unsafe"):
            told = refuses
        (refusing if refuses else complying).append((row.reply, "dataset"))
    if rollout:
        (refusing if is_refusal(rollout) else complying).append((rollout, "rollout"))
    refusing.append((overrefusal(row.prompt), "template"))
    chance = _chance(row.prompt)
    helps = complying[:1] if told is False or not _rolled_out(chance) else complying[-1:]
    declines = refusing[:1] if told is True or chance % 4 == 0 else refusing[-1:]
    if judged == 2:
        return [*helps, *declines]
    answers = _complies(chance) if told is None else not told
    return helps if helps and answers else declines


def _rolled_out(chance: int) -> bool:
    """Whether the judged answer to a harmless prompt is the base's, not the dataset's."""
    return chance % 2 == 1


def _complies(chance: int) -> bool:
    """Whether the one judged reply of a prompt is an answer, not a refusal."""
    return chance // 4 % 2 == 1


def _chance(prompt: str) -> int:
    """A number that depends on the prompt alone."""
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[0]


def case_counts(rows: Iterable[TrainingRow]) -> dict[str, int]:
    """How many rows each of the four cases has, and each other one that there is."""
    counts = Counter(row.case for row in rows)
    others = {case: counts[case] for case in ("unsafe reply", "safe reply") if counts[case]}
    return {case: counts[case] for case in CASES} | others


def wants_feedback(row: TrainingRow) -> bool:
    """Whether the row's verdict has feedback: its reply deserves a flag."""
    return row.case in ("harmful/complies", "benign/refuses", "unsafe reply")


def feedback_writers(rows: Iterable[TrainingRow]) -> dict[str, int]:
    """How many rows have feedback by a template of ours, and by a teacher."""
    counts = Counter(row.feedback_by for row in rows if wants_feedback(row))
    told = {"template": counts["template"], "teacher": counts["teacher"]}
    return told | ({"dataset": counts["dataset"]} if counts["dataset"] else {})
