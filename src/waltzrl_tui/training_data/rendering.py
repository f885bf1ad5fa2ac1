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
from waltzrl_tui.datasets.reply_labels import labelled_refusal
from waltzrl_tui.records.messages import Message
from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.training_data.overrefusals import write_refusal
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
ReplySource = Literal["dataset", "rollout", "template", "revision"]
CASES: tuple[Case, ...] = (
    "harmful/complies",
    "harmful/refuses",
    "benign/complies",
    "benign/refuses",
)
"""The cases by the prompt's label. The other two are for labelled replies whose prompt's label is
unknown or about something else."""

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
    """The case of a prompt and its reply.

    Args:
        harm: The prompt's label.
        refuses: The dataset's label of the reply; None asks the refusal detector.
    """
    if refuses is None:
        refuses = is_refusal(reply)
    if harm == "harmful":
        return "harmful/refuses" if refuses else "harmful/complies"
    return "benign/refuses" if refuses else "benign/complies"


def own_case(row: Row) -> Case | None:
    """The case of the row's own reply, by its dataset's label or else by the refusal detector.

    None where the labels do not determine the verdict on the reply.
    """
    labelled = labelled_refusal(row.extra)
    refuses = is_refusal(row.reply) if labelled is None else labelled
    if row.reply_label == "unsafe":
        # A refusal, or an answer to a harmless prompt, is unsafe in another sense than ours.
        if refuses or row.harm == "benign":
            return None
        return "harmful/complies" if row.harm else "unsafe reply"
    if row.reply_label == "safe" and not refuses and row.harm != "benign":
        return "safe reply"
    if not row.harm:
        return None
    case = case_of(row.harm, row.reply, refuses)
    # The data does not say what is wrong with the reply.
    return None if row.reply_label == "bad" and case in _GOOD else case


def worth_learning(row: Row) -> bool:
    """Whether a conversation agent should learn the row's reply: it needs no feedback.

    A row without a label is trusted.
    """
    if row.reply_label in ("unsafe", "bad"):
        return False
    return not row.harm or own_case(row) in _GOOD


def teaches_feedback(row: Row) -> bool:
    """Whether a feedback agent can learn from the row: a verdict on some reply to it is known."""
    return bool(row.harm or (row.reply and own_case(row)))


def verdict_for(case: Case, *, prompt: str, category: str) -> Verdict:
    """The templated verdict of a case. The prompt's hash chooses the wording of the feedback."""
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
    """Each row as prompt → reply, and some again as prompt, bad reply, feedback → reply.

    Earlier turns precede the prompt; a system turn among them follows the agent's own system
    prompt. The bad reply is the base's rollout for a harmful prompt, and a refusal written from
    its words for a harmless one.

    Args:
        rows: With a prompt and a reply. Those whose reply needs feedback (it complies with harm,
            or declines without need) are left out. Those without a label give no revision.
        rollouts: The base's own reply by prompt.
        prompt_version: Of the conversation agent's system prompt.
        revisions: Share of the harmful rows, and of the harmless ones, that also give a revision
            (the first ones that can).
        refusals_within: Leave out refusals that are not announced within this number of words (0
            keeps all). "Making a bomb is something I won't explain" begins like an answer, and a
            small model that learns it drifts from answers into refusals.
    """
    rows = [row for row in rows if worth_learning(row) and _announced(row, refusals_within)]
    rendered = [
        TrainingRow(
            (
                *_chat_up_to(prompt_version, row),
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


def _chat_up_to(prompt_version: str, row: Row, *more: Message) -> list[Message]:
    """The agent's system prompt, the row's turns up to its prompt, and `more`."""
    turns = [*row.history, {"role": "user", "content": row.prompt}, *more]
    system_texts = [turn["content"] for turn in turns if turn["role"] == "system"]
    system, *rest = conversation_messages(
        prompt_version, [turn for turn in turns if turn["role"] != "system"]
    )
    return [system | {"content": "\n\n".join([system["content"], *system_texts])}, *rest]


def _announced(row: Row, words: int) -> bool:
    if not words or own_case(row) != "harmful/refuses":
        return True
    return is_refusal(" ".join(row.reply.split()[:words]))


def _revision(row: Row, rollouts: Mapping[str, str], prompt_version: str) -> TrainingRow | None:
    if not row.harm:
        return None  # It is not known whether it should have been declined.
    bad = rollouts.get(row.prompt, "") if row.harm == "harmful" else write_refusal(row.prompt)
    verdict = verdict_for(case_of(row.harm, bad), prompt=row.prompt, category=row.category)
    if not bad or not verdict.triggers:
        return None
    judged = {"role": "assistant", "content": bad}
    return TrainingRow(
        (
            *_chat_up_to(prompt_version, row, judged, revision_turn(verdict.feedback)),
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

    The style of the reply must not reveal whether the prompt is harmful, so both labels get
    replies from the same sources: refusals are mostly written from the prompt's words, and answers
    are the base's rollouts to harmful prompts and to about half of the harmless ones.

    Args:
        judged: Replies judged per prompt: 2, or 1 for twice the prompts in the same time. All four
            cases are about equally frequent either way.
    """
    rendered: list[TrainingRow] = []
    for row in rows:
        for reply, source in _judged_replies(row, rollouts.get(row.prompt, ""), judged):
            case = own_case(row) if source == "dataset" else case_of(row.harm, reply)
            if case is None:
                continue
            own = labelled_verdict(row, case) if source == "dataset" else None
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


def labelled_verdict(row: Row, case: Case) -> Verdict | None:
    """The verdict in a row's own fields.

    None where there is none, or where its flags contradict the row's labels.
    """
    try:
        verdict = Verdict.model_validate({"reasoning": "", **row.extra})
    except ValidationError:
        return None
    wanted = verdict_for(case, prompt=row.prompt, category=row.category)
    return verdict if verdict.flags == wanted.flags else None


def wants_rollout(row: Row, judged: int) -> bool:
    """Whether `feedback_rows` takes the base's own reply to this row's prompt."""
    if not row.harm:
        return False
    chance = _chance(row.prompt)
    return (judged == 2 or _complies(chance)) and (row.harm == "harmful" or _rolled_out(chance))


def decision_spans(verdict: str) -> tuple[tuple[int, int], ...]:
    """The spans where a templated verdict decides: its words on prompt and reply, the flags,
    and whether the feedback is empty."""
    return tuple(match.span() for match in _DECISIONS.finditer(verdict))


def _judged_replies(row: Row, rollout: str, judged: int) -> list[tuple[str, ReplySource]]:
    """A reply to `row` that complies and one that refuses, or one of them.

    A reply that its dataset labels is always included. For a prompt without a label no other
    reply has a known verdict.
    """
    known = bool(row.reply) and own_case(row) is not None
    if not row.harm:
        return [(row.reply, "dataset")] if known else []
    labelled = labelled_refusal(row.extra) if known else None
    complying: list[tuple[str, ReplySource]] = []
    refusing: list[tuple[str, ReplySource]] = []
    if known:
        refuses = is_refusal(row.reply) if labelled is None else labelled
        if row.reply_label in ("safe", "unsafe"):
            labelled = refuses
        (refusing if refuses else complying).append((row.reply, "dataset"))
    if rollout:
        (refusing if is_refusal(rollout) else complying).append((rollout, "rollout"))
    refusing.append((write_refusal(row.prompt), "template"))
    chance = _chance(row.prompt)
    helps = complying[:1] if labelled is False or not _rolled_out(chance) else complying[-1:]
    declines = refusing[:1] if labelled is True or chance % 4 == 0 else refusing[-1:]
    if judged == 2:
        return [*helps, *declines]
    answers = _complies(chance) if labelled is None else not labelled
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
    """The number of rows of each of the four cases, and of the other two where there are any."""
    counts = Counter(row.case for row in rows)
    others = {case: counts[case] for case in ("unsafe reply", "safe reply") if counts[case]}
    return {case: counts[case] for case in CASES} | others


def wants_feedback(row: TrainingRow) -> bool:
    """Whether the row's verdict has feedback: its reply deserves a flag."""
    return row.case in ("harmful/complies", "benign/refuses", "unsafe reply")


def feedback_writers(rows: Iterable[TrainingRow]) -> dict[str, int]:
    """The number of rows with feedback by our template, and by a teacher."""
    counts = Counter(row.feedback_by for row in rows if wants_feedback(row))
    writers = {"template": counts["template"], "teacher": counts["teacher"]}
    return writers | ({"dataset": counts["dataset"]} if counts["dataset"] else {})
