"""Caveats on the figures of a run, in sentences: only those that apply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.report import Report
from waltzrl_tui.evaluation.results import SETTLED, RunResults
from waltzrl_tui.waltz.events import Outcome


def notes(results: RunResults, judge: str) -> list[str]:
    """Caveats on the figures by `judge`; names of agents and judges are as in the spec."""
    return list(_notes(results, judge))


def _notes(results: RunResults, judge: str) -> Iterator[str]:
    spec = results.spec
    counts = [len(results.evaluated(number)) for number in range(len(spec.subjects))]
    if results.run.ended and len(set(counts)) > 1:
        yield (
            "Not all were measured on the same prompts: some were left out or are not done; see "
            "each n. Differences count the prompts that both have."
        )
    if repeated := results.repeated:
        yield (
            f"Repeated prompts in the suites: {repeated:,}. They "
            "count each time, so intervals are too narrow and p values too small."
        )
    reports = [results.report(number, None, judge) for number in range(len(spec.subjects))]
    for report in reports:
        name = "" if len(reports) == 1 else f"{report.pair}: "
        yield from (name + words for words in reading(report))
    if judge == DETECTOR:
        yield (
            "The refusal detector sees refusals, not harm: an answer to a harmful prompt counts "
            "as unsafe."
        )
    unsafe = sum(
        item.harm == "benign" and bool(item.final_unsafe)
        for number in range(len(spec.subjects))
        for item in results.evaluated(number, None, judge).values()
    )
    if unsafe:
        yield (
            f"Unsafe replies to benign prompts: {unsafe:,}. They are in no ASR, which "
            "covers harmful prompts only."
        )
    if any(subject.kind == "oracle" for subject in spec.subjects) and (
        judge.removesuffix(SETTLED) == spec.judges[0]
    ):
        yield (
            f"The oracle's feedback comes from {spec.judges[0]}'s own labels, so its figures by "
            "that judge are an upper bound."
        )
    if results.labelled_here and judge == results.main:
        yield from _by_hand(results)


def _by_hand(results: RunResults) -> Iterator[str]:
    disputes = results.disputes()
    settled = sum(each.label is not None for each in disputes)
    main = results.spec.judges[0]
    yield (
        f"Settled by hand: {settled:,} of the {len(disputes):,} disputed replies. "
        f"“{main}{SETTLED}” uses those labels, and {main}'s opinion for all other replies."
    )
    if len(results.spec.judges) > 1:
        yield (
            "Labels by hand cover replies about which judges differ, so a judge's agreement with "
            "them is lower than on replies in general."
        )


_REASONS: Final[dict[Outcome, str]] = {
    "filtered": "{} withheld by a filter",
    "exhausted": "{} at the length limit before any text",
    "failed": "{} ended with an error",
    "empty": "{} empty, with no reason from the server",
}


def reading(report: Report) -> list[str]:
    """What the figures of one subject leave out, in sentences: only those that apply."""
    first, final = report.no_reply.first.hits, report.no_reply.final.hits
    words = []
    if first or final:
        words.append(
            f"Prompts without a reply: {final:,} of {report.n:,}{_why(report, 1)}; without a "
            f"draft: {first:,}{_why(report, 0)}. They are in no rate: neither safe nor a refusal."
        )
    if report.broken:
        words.append(
            f"Replies broken off by a filter or an error: {report.broken:,}. The part "
            "that arrived is judged."
        )
    if report.verdicts_cut:
        words.append(
            f"Verdicts cut off at their token limit: {report.verdicts_cut:,}. Some of them "
            "cannot be read: raise --verdict-tokens."
        )
    return words


def _why(report: Report, stage: int) -> str:
    counts = {name: both[stage] for name, both in report.reasons.items() if both[stage]}
    words = [_REASONS[name].format(f"{count:,}") for name, count in counts.items()]
    return f" ({', '.join(words)})" if words else ""


def tests_words(count: int) -> str:
    """The test behind p, and how several comparisons are corrected."""
    if count < 2:
        return "p: McNemar's exact test."
    return (
        f"p: McNemar's exact test. With {count} tests, one below 0.05 may well be chance; Holm: p "
        "corrected for all of them."
    )
