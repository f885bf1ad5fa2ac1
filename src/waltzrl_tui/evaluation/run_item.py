"""One subject on one prompt: its waltz through the cache, then the judges' opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.evaluation.answers import AgentClient, Answers, Call, KeptEndpoint
from waltzrl_tui.evaluation.items import EvalRound, Played, Stage, clean, storable
from waltzrl_tui.evaluation.judges import DETECTOR, EndpointJudge, Judge, LabelJudge
from waltzrl_tui.evaluation.opinions import Opinion
from waltzrl_tui.evaluation.subjects import REFUSAL, OracleFeedback, Subject
from waltzrl_tui.waltz.events import ReplyEnded, VerdictEnded, WaltzEnded
from waltzrl_tui.waltz.prompts import DEFAULT_FEEDBACK
from waltzrl_tui.waltz.waltz import LivePair, waltz


@dataclass(frozen=True)
class RunContext:
    """What all items of a run share.

    Attributes:
        sources: By agent.
        prompts: Versions of system prompts, by agent.
        judges: Names; the first one is the oracle.
        max_tokens, verdict_tokens: Limits of one reply and of one verdict.
        salt: See `KeptEndpoint`.
    """

    sources: Mapping[str, AgentClient]
    prompts: Mapping[str, str]
    judges: Sequence[str]
    max_tokens: int
    verdict_tokens: int
    salt: str
    answers: Answers

    def endpoint(self, agent: str, calls: list[Call]) -> KeptEndpoint:
        return KeptEndpoint(self.sources[agent], self.answers, self.salt, calls)

    def judge(self, name: str, calls: list[Call]) -> Judge:
        if name == DETECTOR:
            return LabelJudge()
        return EndpointJudge(name, self.endpoint(name, calls))


async def run_item(context: RunContext, subject: Subject, row: Row) -> Played:
    """Let `subject` reply to `row`, and the judges judge it.

    Raises:
        EndpointError: An agent or a judge failed.
        StoreError: An answer cannot be stored.
    """
    calls: list[Call] = []
    pair, oracle = _live(context, subject, row, calls)
    rounds: list[EvalRound] = []
    raws: list[str] = []
    marks: list[int] = []
    stream = waltz(
        pair,
        # The system message is the conversation agent's own.
        [
            *(turn for turn in row.history if turn["role"] != "system"),
            {"role": "user", "content": row.prompt},
        ],
        max_tokens=context.max_tokens,
        verdict_tokens=context.verdict_tokens,
    )
    final = ""
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, ReplyEnded):
                marks.append(len(calls))
                if oracle is not None:
                    oracle.reply = event.reply
            elif isinstance(event, VerdictEnded):
                raws.append(event.raw if event.verdict is None else "")
            elif isinstance(event, WaltzEnded):
                final = storable(event.final)
                for number, each in enumerate(event.rounds):
                    mine = calls[marks[number] - 1 : _end(marks, number, len(calls))]
                    rounds.append(
                        EvalRound(
                            reply=storable(each.reply),
                            verdict=each.verdict and clean(each.verdict),
                            verdict_error=storable(each.verdict_error),
                            # A cached answer counts with the time it took when it was asked.
                            seconds=round(sum(call.answer.seconds for call in mine), 3),
                            tokens=each.tokens,
                            reply_seconds=round(mine[0].answer.seconds, 3),
                            raw=storable(raws[number][:4000]) if number < len(raws) else "",
                            finish=storable(each.origin.finish),
                            verdict_finish=storable(
                                each.verdict_origin.finish if each.verdict_origin else ""
                            ),
                        )
                    )
    if subject.kind == "safeguard" and rounds[0].verdict is not None:
        rounds, final = _guarded(rounds, final)
    judging: list[Call] = []
    opinions = await _judged(context, row, rounds, final, judging)
    return Played(
        prompt=storable(row.prompt),
        harm="harmful" if row.harm == "harmful" else "benign",
        category=storable(row.category),
        line=row.line,
        rounds=tuple(rounds),
        final=final,
        seconds=round(sum(each.seconds for each in rounds), 3),
        tokens=sum(each.tokens for each in rounds),
        prompt_tokens=sum(call.answer.prompt_tokens or 0 for call in calls),
        usd=_sum(calls),
        first_usd=calls[0].usd,
        opinions=opinions,
        judge_usd=_sum(judging),
    )


def _live(
    context: RunContext, subject: Subject, row: Row, calls: list[Call]
) -> tuple[LivePair, OracleFeedback | None]:
    oracle = None
    feedback: KeptEndpoint | OracleFeedback | None = None
    version = ""
    if subject.kind == "oracle":
        # The labels are paid for as the judge's, not the subject's.
        feedback = oracle = OracleFeedback(row, context.judge(context.judges[0], []))
        version = DEFAULT_FEEDBACK
    elif subject.feedback:
        feedback = context.endpoint(subject.feedback, calls)
        version = context.prompts[subject.feedback]
    conversation = context.endpoint(subject.conversation, calls)
    pair = LivePair(
        name=subject.name,
        conversation=conversation,
        conversation_prompt=context.prompts[subject.conversation],
        feedback=feedback,
        feedback_prompt=version,
        rounds=subject.rounds,
    )
    return pair, oracle


def _guarded(rounds: list[EvalRound], final: str) -> tuple[list[EvalRound], str]:
    """A safeguard only looks for unsafe replies, and replaces them by a refusal."""
    original = rounds[0].verdict
    assert original is not None
    verdict = original.model_copy(update={"overrefuse": False})
    rounds = [rounds[0].model_copy(update={"verdict": verdict})]
    if not verdict.unsafe:
        return rounds, final
    refusal = EvalRound(reply=REFUSAL, verdict=None, verdict_error="", seconds=0.0, tokens=0)
    return [*rounds, refusal], REFUSAL


async def _judged(
    context: RunContext, row: Row, rounds: Sequence[EvalRound], final: str, calls: list[Call]
) -> dict[str, dict[Stage, Opinion]]:
    replies: dict[Stage, str] = {
        "first": rounds[0].reply,
        "last": rounds[-1].reply,
        "final": final,
    }
    opinions: dict[str, dict[Stage, Opinion]] = {}
    for name in context.judges:
        judge = context.judge(name, calls)
        by_reply = {
            reply: await judge.opinion(row, reply) for reply in dict.fromkeys(replies.values())
        }
        opinions[name] = {stage: clean(by_reply[reply]) for stage, reply in replies.items()}
    return opinions


def _end(marks: Sequence[int], number: int, last: int) -> int:
    return marks[number + 1] - 1 if number + 1 < len(marks) else last


def _sum(calls: Sequence[Call]) -> float | None:
    costs = [call.usd for call in calls]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
