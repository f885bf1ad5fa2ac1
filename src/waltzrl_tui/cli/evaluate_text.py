"""The figures of evaluations as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from waltzrl_tui.cli.layout import table
from waltzrl_tui.evaluation.caveats import notes, tests_words
from waltzrl_tui.evaluation.paired import Paired, p_words
from waltzrl_tui.evaluation.paper import paper_row
from waltzrl_tui.evaluation.report import Report
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.words import NONE, duration, money, percent, plural, points, rate

FIGURES = (
    ("attack success (ASR)", "asr"),
    ("over-refusal (ORR)", "orr"),
    ("· prompts that sound alike", "orr_sounds_alike"),
    ("feedback triggered (FTR)", "ftr"),
    ("labels right", "label_accuracy"),
)
"""The rows of a report: name, and key in the document."""


def rate_text(document: Mapping[str, Any] | None) -> str:
    """A rate of a report with its 95 % interval: `12 % (7–20)`; a dash if it is not known."""
    if document is None:
        return NONE
    return rate(document["rate"], document["low"], document["high"])


def report_text(document: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """The figures of one evaluation as a table.

    Args:
        notes: What has to be known to read them.
    """
    rows = []
    for name, key in FIGURES:
        figure = document[key]
        if figure is not None and (figure["first"]["n"] or key != "orr_sounds_alike"):
            final = figure.get("final")
            n = str(figure["first"]["n"])
            if final and final["n"] != figure["first"]["n"]:
                n += f", {final['n']}"
            rows.append((name, rate_text(figure["first"]), rate_text(final), n))
    accuracy = document["label_accuracy"]
    if accuracy is not None:
        baseline = accuracy["baseline_always_false"]
        rows.append(("· by never raising a flag", rate_text(baseline), "", str(baseline["n"])))
    lines = [
        f"pair {document['pair']}, {document['n']} prompts, judge {document['judge']}, "
        f"{duration(document['seconds'])}",
        "",
        table(("", "first reply", "final reply", "n"), rows, right={1, 2, 3}),
        "",
        "In brackets: 95 % Wilson intervals.",
    ]
    if document["verdict_errors"]:
        lines.append(f"Unreadable verdicts: {document['verdict_errors']}.")
    if unread := document["judge_errors"]["final"]["rate"]:
        lines.append(f"Replies without a readable opinion of the judge: {percent(unread)}.")
    latency = document["latency"]
    lines.append(
        f"Seconds a prompt, median: {latency['first']['median']:.2f} to the first reply, "
        f"{latency['final']['median']:.2f} to the final one."
    )
    lines += notes
    return "\n".join([*lines, f"Every item: {document['items_path']}"])


def results_text(results: RunResults, *, categories: bool = False) -> str:
    """All figures of a run: a table a judge and suite, differences, agreement, the paper.

    Args:
        categories: Whether the rates of each category are included.
    """
    spec = results.spec
    parts: list[str] = []
    for judge in results.judges:
        for suite, ref in enumerate(spec.suites):
            reports = [results.report(n, suite, judge) for n in range(len(spec.subjects))]
            parts.append(f"{ref.name} · {ref.n} prompts · judge {judge}\n\n" + _table(reports))
            if categories:
                parts.append(_categories(reports))
        if len(spec.subjects) > 1:
            parts.append(_differences(results, judge))
        if caveats := notes(results, judge):
            parts.append("\n".join(caveats))
    if len(spec.judges) > 1 or results.labelled_here:
        parts.append(_agreement(results))
    parts.append(_paper(results))
    parts.append(
        "In brackets: 95 % intervals (Wilson; Newcombe for differences). Bad JSON, unjudged: "
        "unreadable\nverdicts and opinions, on the draft + on the last reply.\n"
        "No reply: without text, as the draft + in the end.\n"
        f"Run {results.run.id}, {duration(results.run.seconds)}. Open it in "
        "the app with 5, or: waltzrl-tui evaluations show " + str(results.run.id)
    )
    if results.run.error:
        parts.append(results.run.error)
    return "\n\n".join(parts)


def _table(reports: list[Report]) -> str:
    rows = []
    for report in reports:
        errors, unread, none = report.parse_errors, report.judge_errors, report.no_reply
        rows.append(
            (
                report.pair,
                f"{report.asr.final.n}+{report.orr.final.n}",
                rate_text(report.asr.first.to_json()),
                rate_text(report.asr.final.to_json()),
                rate_text(report.orr.first.to_json()),
                rate_text(report.orr.final.to_json()),
                rate_text(report.ftr.to_json()),
                rate_text(report.label_accuracy.first.to_json()),
                f"{errors.first.hits}+{errors.final.hits}" if errors.first.n else "–",
                f"{unread.first.hits}+{unread.final.hits}",
                f"{none.first.hits}+{none.final.hits}",
                f"{report.latency.median:.2f}",
                money(report.usd, unknown="?"),
            )
        )
    return table(
        (
            "",
            "n",
            "ASR first",
            "ASR final",
            "ORR first",
            "ORR final",
            "FTR",
            "labels right",
            "bad JSON",
            "unjudged",
            "no reply",
            "s",
            "$",
        ),
        rows,
        right=set(range(1, 13)),
    )


def _categories(reports: list[Report]) -> str:
    rates_by_pair = [
        {(each.harm, each.name): each.rate.final for each in r.categories} for r in reports
    ]
    names = list(dict.fromkeys(key for rates in rates_by_pair for key in rates))
    rows = [
        (
            name,
            "ASR" if harm == "harmful" else "ORR",
            *(
                f"{rate_text(of.to_json())} of {of.n}" if (of := rates.get((harm, name))) else "–"
                for rates in rates_by_pair
            ),
        )
        for harm, name in names
    ]
    heads = ("category, final replies", "", *(report.pair for report in reports))
    return table(heads, rows, right=set(range(2, 2 + len(reports))))


def _differences(results: RunResults, judge: str) -> str:
    last = results.spec.subjects[-1].name
    differences = results.differences(judge)
    rows = [
        (
            each.first,
            *_paired(each.unsafe, each.unsafe_holm),
            *_paired(each.overrefused, each.overrefused_holm),
        )
        for each in differences
    ]
    heads = ("vs", "ASR", "p", "Holm", "n", "ORR", "p", "Holm", "n")
    return (
        f"{last} vs the others, final replies, all suites, judge {judge}\n\n"
        + table(heads, rows, right=set(range(1, len(heads))))
        + f"\n{tests_words(differences[0].tests)}"
    )


def _paired(paired: Paired, holm: float) -> tuple[str, str, str, str]:
    gap = paired.difference
    if gap is None:
        return "–", "–", "–", "0"
    shown = points(gap, *paired.interval(), decimals=0)
    return shown, p_words(paired.p), p_words(holm), str(paired.n)


def _agreement(results: RunResults) -> str:
    rows = []
    by_hand = [each for judge in results.spec.judges if (each := results.by_hand(judge))]
    for each in [*results.agreements(), *by_hand]:
        for question, agreement in (("harmful?", each.harmful), ("refusal?", each.refusal)):
            kappa = "–" if agreement.kappa is None else f"{agreement.kappa:.2f}"
            pair = f"{each.first} / {each.second}"
            rows.append(
                (
                    pair,
                    question,
                    rate_text(agreement.rate.to_json()),
                    kappa,
                    str(agreement.paired.n),
                )
            )
    disputes = results.disputes()
    left = sum(each.label is None for each in disputes)
    return (
        "Agreement of the judges\n\n"
        + table(("judges", "", "same", "kappa", "n"), rows, right={2, 3, 4})
        + f"\n{plural(len(disputes), 'disputed reply', 'disputed replies')}, {left} not labelled: "
        f"in the app 5, then d, or: waltzrl-tui evaluations disputes {results.run.id}"
    )


def _paper(results: RunResults) -> str:
    rows = []
    for subject in results.spec.subjects:
        row = paper_row(subject)
        if row is not None:
            rows.append((subject.name, row.method, *(f"{x:.1f}" for x in (*row.asr, *row.orr))))
    return "The paper's table 1 (Llama-3.1-8B-Instruct, WildGuard), percent\n\n" + table(
        ("here", "there", "ASR WJB", "FORTRESS", "SR", "mean", "ORR ORB", "FORTRESS", "mean"),
        rows,
        right=set(range(2, 9)),
    )
