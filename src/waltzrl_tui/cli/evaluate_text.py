"""The figures of evaluations as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from waltzrl_tui.cli.layout import duration, rate, table
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.evaluation.paper import paper_row
from waltzrl_tui.evaluation.report import Report
from waltzrl_tui.evaluation.results import Results

FIGURES = (
    ("attack success (ASR)", "asr"),
    ("over-refusal (ORR)", "orr"),
    ("· prompts that sound alike", "orr_sounds_alike"),
    ("feedback triggered (FTR)", "ftr"),
    ("labels right", "label_accuracy"),
)
"""The rows of a report: name, and key in the document."""


def report_text(document: Mapping[str, Any]) -> str:
    """The figures of one evaluation as a table."""
    rows = []
    for name, key in FIGURES:
        figure = document[key]
        if figure is not None and (figure["first"]["n"] or key != "orr_sounds_alike"):
            final = figure.get("final")
            rows.append((name, rate(figure["first"]), rate(final), str(figure["first"]["n"])))
    accuracy = document["label_accuracy"]
    if accuracy is not None:
        baseline = accuracy["baseline_always_false"]
        rows.append(("· by never raising a flag", rate(baseline), "", str(baseline["n"])))
    lines = [
        f"pair {document['pair']}, {document['n']} prompts, judge {document['judge']}, "
        f"{duration(document['seconds'])}",
        "",
        table(("", "first reply", "final reply", "n"), rows, right={1, 2, 3}),
        "",
        "In brackets: 95 % Wilson intervals.",
    ]
    if document["verdict_errors"]:
        lines.append(f"Verdicts that could not be read: {document['verdict_errors']}.")
    if unread := document["judge_errors"]["final"]["rate"]:
        lines.append(f"Replies about which the judge could not be read: {100 * unread:.0f} %.")
    latency = document["latency"]
    lines.append(
        f"Seconds a prompt, median: {latency['first']['median']:.2f} to the first reply, "
        f"{latency['final']['median']:.2f} to the final one."
    )
    return "\n".join([*lines, f"Every item: {document['items_path']}"])


def results_text(results: Results) -> str:
    """All figures of a run: a table a judge and suite, differences, agreement, the paper."""
    spec = results.spec
    parts: list[str] = []
    for judge in results.judges:
        for suite, ref in enumerate(spec.suites):
            reports = [results.report(n, suite, judge) for n in range(len(spec.subjects))]
            parts.append(f"{ref.name} · {ref.n} prompts · judge {judge}\n\n" + _table(reports))
        if len(spec.subjects) > 1:
            parts.append(_differences(results, judge))
    if len(spec.judges) > 1:
        parts.append(_agreement(results))
    parts.append(_paper(results))
    parts.append(
        "In brackets: 95 % intervals (Wilson; of differences Newcombe). p: McNemar's exact test on "
        f"the same prompts.\nRun {results.run.id}, {duration(results.run.seconds)}. Open it in "
        "the app with 5, or: waltzrl-tui evaluations show " + str(results.run.id)
    )
    if results.run.error:
        parts.append(results.run.error)
    return "\n\n".join(parts)


def _table(reports: list[Report]) -> str:
    rows = []
    for report in reports:
        errors, unread = report.parse_errors, report.judge_errors
        rows.append(
            (
                report.pair,
                rate(report.asr.first.to_json()),
                rate(report.asr.final.to_json()),
                rate(report.orr.first.to_json()),
                rate(report.orr.final.to_json()),
                rate(report.ftr.to_json()),
                rate(report.label_accuracy.first.to_json()),
                f"{errors.first.hits}+{errors.final.hits}" if errors.first.n else "–",
                str(unread.final.hits),
                f"{report.latency.median:.2f}",
                _usd(report.usd),
            )
        )
    return table(
        (
            "",
            "ASR first",
            "ASR final",
            "ORR first",
            "ORR final",
            "FTR",
            "labels right",
            "unread",
            "judge?",
            "s",
            "$",
        ),
        rows,
        right=set(range(1, 11)),
    )


def _differences(results: Results, judge: str) -> str:
    last = results.spec.subjects[-1].name
    rows = [
        (each.first, *_paired(each.unsafe), *_paired(each.overrefused))
        for each in results.differences(judge)
    ]
    return f"{last} against the others, final replies, judge {judge}\n\n" + table(
        ("against", "ASR", "p", "ORR", "p"), rows, right={1, 2, 3, 4}
    )


def _paired(paired: Paired) -> tuple[str, str]:
    gap = paired.difference
    if gap is None:
        return "–", "–"
    low, high = paired.interval()
    return f"{100 * gap:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})", p_value(paired.p)


def p_value(p: float) -> str:
    """A p as it is printed."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _agreement(results: Results) -> str:
    rows = []
    for each in results.agreements():
        for question, found in (("harmful?", each.harmful), ("refusal?", each.refusal)):
            kappa = "–" if found.kappa is None else f"{found.kappa:.2f}"
            pair = f"{each.first} / {each.second}"
            rows.append((pair, question, rate(found.rate.to_json()), kappa, str(found.paired.n)))
    disputed = len(results.disputes(settled=False))
    return (
        "Agreement of the judges\n\n"
        + table(("judges", "", "same", "kappa", "n"), rows, right={2, 3, 4})
        + f"\n{disputed} replies to be settled by hand: in the app, 5 and then d."
    )


def _paper(results: Results) -> str:
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


def _usd(value: float | None) -> str:
    if value is None:
        return "?"
    return "0" if value == 0 else f"{value:.5f}"
