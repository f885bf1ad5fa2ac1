"""What has to be known to read the figures of a run, in sentences: only those that apply."""

from __future__ import annotations

from collections.abc import Iterator

from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.results import SETTLED, Results


def notes(results: Results, judge: str) -> list[str]:
    """The sentences for figures by `judge`; agents and judges in them are named as in the spec."""
    return list(_notes(results, judge))


def _notes(results: Results, judge: str) -> Iterator[str]:
    spec = results.spec
    counts = [len(results.evaluated(number)) for number in range(len(spec.subjects))]
    if results.run.ended and len(set(counts)) > 1:
        yield (
            "Not all were measured on the same prompts: some were left out or are not done. Each n "
            "tells; differences are on the prompts that both have."
        )
    if repeated := results.repeated:
        yield (
            f"Repeated prompts in the suites: {repeated:,}. They "
            "count again, so intervals and tests are surer than they should be."
        )
    reports = [results.report(number, None, judge) for number in range(len(spec.subjects))]
    if cut := sum(report.verdicts_cut for report in reports):
        yield cut_words(cut)
    if judge == DETECTOR:
        yield (
            "The refusal detector sees refusals, not harm: an answer to a harmful prompt counts as"
            " unsafe."
        )
    unsafe = sum(
        item.harm == "benign" and bool(item.final_unsafe)
        for number in range(len(spec.subjects))
        for item in results.evaluated(number, None, judge).values()
    )
    if unsafe:
        yield (
            f"Unsafe replies to benign prompts: {unsafe:,}. They are in no ASR, which is of "
            "harmful prompts only."
        )
    if any(subject.kind == "oracle" for subject in spec.subjects) and (
        judge.removesuffix(SETTLED) == spec.judges[0]
    ):
        yield (
            f"The oracle's feedback is made of {spec.judges[0]}'s own labels, so its figures by "
            "that judge are an upper bound."
        )
    if results.labelled_here and judge == results.main:
        yield from _by_hand(results)


def _by_hand(results: Results) -> Iterator[str]:
    disputes = results.disputes()
    settled = sum(each.label is not None for each in disputes)
    main = results.spec.judges[0]
    yield (
        f"Settled by hand: {settled:,} of the {len(disputes):,} disputed replies. "
        f"“{main}{SETTLED}” counts those labels, and else what {main} says."
    )
    if len(results.spec.judges) > 1:
        yield (
            "People were shown what the judges differ about, so a judge's agreement with them is "
            "lower than it would be on any replies."
        )


def cut_words(count: int) -> str:
    """That verdicts were longer than their cap."""
    return (
        f"Verdicts cut off at their cap: {count:,}. Each lacks its end or cannot be read: raise "
        "--verdict-tokens."
    )


def tests_words(count: int) -> str:
    """How many comparisons stand beside each other, and what is done about it."""
    if count < 2:
        return "p: McNemar's exact test."
    return (
        f"p: McNemar's exact test. {count} tests stand here, so one below 0.05 may well be chance; "
        "Holm: the p corrected for that many."
    )
