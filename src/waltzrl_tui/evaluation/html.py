"""A run as one HTML page that opens offline: nothing is loaded, no script runs, text is text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from waltzrl_tui.evaluation.caveats import notes, tests_words
from waltzrl_tui.evaluation.html_items import items_html, safe
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Paired, p_words
from waltzrl_tui.evaluation.paper import ASR_SUITES, ORR_SUITES, PAPER, paper_row
from waltzrl_tui.evaluation.report import FirstFinal, Report
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.evaluation.svg import Bar, bars, forest, plane

Row = TypeVar("Row")

# A page that is mailed around must not fetch or run anything, whatever a reply in it says.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"

_STYLE: Final = """
:root{--ink:#23272e;--soft:#5b626b;--line:#d5d1c9;--paper:#fbfaf7;--panel:#f1efeb;--first:#9db7d1;
--final:#4a80b8;--bad:#b3352b;--good:#2c6e36;--mark:#9a5b00;color-scheme:light dark}
@media screen and (prefers-color-scheme:dark){:root{--ink:#d5d9e0;--soft:#a4adba;--line:#3b4047;
--paper:#121417;--panel:#1b1f24;--first:#4d6885;--final:#7fa8d1;--bad:#e0796f;--good:#8cc08f;
--mark:#e9b872}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1080px;
margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--paper)}
td,th{overflow-wrap:normal}th{color:var(--soft);font-weight:500}
.wide{overflow-x:auto;margin:.7rem 0}.soft{color:var(--soft)}
svg{width:100%;min-width:640px;max-width:820px;height:auto;display:block;margin:.8rem 0;
font:12px system-ui}
svg text{fill:var(--ink)}svg .title{font-weight:600;font-size:14px}svg .tick{fill:var(--soft)}
svg .grid{stroke:var(--line)}svg .zero{stroke:var(--ink)}svg .whisker{stroke:var(--ink);
stroke-width:1.4}svg rect.first{fill:var(--first)}svg .final{fill:var(--final)}
svg .paper{stroke:var(--mark);stroke-width:3}svg .number{fill:var(--paper);font-weight:600}
details{margin:.25rem 0}summary{cursor:pointer}details details{border-left:3px solid var(--line);
padding-left:.8rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.5rem .7rem;
margin:.2rem 0 .6rem;border-radius:4px;font:13px/1.45 ui-monospace,monospace}
.bad{color:var(--bad)}.good{color:var(--good)}
@media(max-width:600px){body{margin:1rem auto;padding:0 .7rem}
th:first-child,td:first-child{white-space:normal;min-width:7rem;
overflow-wrap:anywhere}details details{padding-left:.4rem}}
@media print{body{max-width:none;margin:0;background:#fff}svg{min-width:0;break-inside:avoid}
.wide{overflow:visible}th,td{white-space:normal;font-size:9.5px;padding:.15rem .2rem}
th:first-child,td:first-child{position:static;background:none;overflow-wrap:anywhere}tr{break-inside:avoid}
h2{break-after:avoid}details.print::details-content{content-visibility:visible;height:auto}}
"""


def report_html(results: Results) -> Iterator[str]:
    """The page, in pieces."""
    spec, run = results.spec, results.run
    title = f"Evaluation {run.id}: {', '.join(subject.name for subject in spec.subjects)}"
    yield "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{safe(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{safe(title)}</h1>"
    suites = ", ".join(f"{suite.name} ({suite.n})" for suite in spec.suites)
    state = "" if run.state == "done" else f" · {run.state}: {len(results.items)} of {run.total}"
    yield (
        f"<p class='soft'>{safe(run.created_at[:16].replace('T', ' '))} UTC · suites: "
        f"{safe(suites)} · judges: {safe(', '.join(results.judges))}{safe(state)}</p>"
    )
    yield (
        "<p>Bars: the draft above (light), the reply that stands below. Lines: 95 % Wilson "
        "intervals. The upright mark is the paper's figure for the method on its own suites and "
        "model. An unreadable judge's answer is in no rate.</p>"
    )
    if run.error:
        yield f"<p class='bad'>{safe(run.error)}</p>"
    for judge in results.judges:
        for suite, ref in enumerate(spec.suites):
            yield f"<h2>{safe(ref.name)} · judge {safe(judge)}</h2>"
            yield from _suite(results, suite, judge)
        if len(spec.subjects) > 1:
            yield from _differences(results, judge)
        yield from (f"<p class='soft'>{safe(note)}</p>" for note in notes(results, judge))
    yield from _agreement(results)
    yield from _paper()
    yield "<h2>Every item</h2>"
    for number in range(len(spec.subjects)):
        yield from items_html(results, number)
    yield "</body></html>\n"


def _suite(results: Results, suite: int, judge: str) -> Iterator[str]:
    subjects = results.spec.subjects
    reports = [results.report(number, suite, judge) for number in range(len(subjects))]
    papers = [paper_row(subject) for subject in subjects]
    for title, figure, mean in (
        ("ASR: unsafe replies to harmful prompts", "asr", 3),
        ("ORR: refusals of benign prompts", "orr", 2),
    ):
        rates = [getattr(report, figure) for report in reports]
        yield _plot(
            bars,
            title,
            [
                Bar(
                    report.pair, rate.first, rate.final, getattr(row, figure)[mean] if row else None
                )
                for report, rate, row in zip(reports, rates, papers, strict=True)
                if rate.final.n
            ],
        )
    yield _plot(
        plane,
        "Safe and not timid is the corner below on the left",
        [(report.pair, report.asr.final, report.orr.final) for report in reports],
    )
    heads = ("", "n harmful", "ASR first", "ASR final", "n benign", "ORR first", "ORR final")
    yield _table(heads, (_rates(report) for report in reports))
    labels = ("labels right, draft", "labels right, last reply")
    counts = ("bad JSON", "unjudged", "no reply", "s first", "s final", "$ a reply")
    yield _table(("", "FTR", *labels, *counts), (_figures(report) for report in reports))
    yield (
        "<p class='soft'>First: the draft; final: the reply that stands. Percent, in brackets 95 % "
        "intervals. Bad JSON, unjudged: verdicts and opinions that could not be read, on the draft "
        "+ on the last reply. No reply: without text, as the draft + in the end.</p>"
        "<details class='print'><summary>By category</summary>"
    )
    names = list(dict.fromkeys((each.harm, each.name) for r in reports for each in r.categories))
    found = [{(each.harm, each.name): each.rate for each in r.categories} for r in reports]
    yield _table(
        ("category", *(report.pair for report in reports)),
        (
            (
                f"{name} ({'ASR' if harm == 'harmful' else 'ORR'}, "
                f"n {_span(each[harm, name].final.n for each in found if (harm, name) in each)})",
                *(_rate(each[harm, name].final) if (harm, name) in each else "–" for each in found),
            )
            for harm, name in names
        ),
    )
    yield "</details>"


def _rates(report: Report) -> tuple[str, ...]:
    return (
        report.pair,
        _n(report.asr),
        _rate(report.asr.first),
        _rate(report.asr.final),
        _n(report.orr),
        _rate(report.orr.first),
        _rate(report.orr.final),
    )


def _figures(report: Report) -> tuple[str, ...]:
    errors, unjudged = report.parse_errors, report.judge_errors
    return (
        report.pair,
        _rate(report.ftr),
        _rate(report.label_accuracy.first),
        _rate(report.label_accuracy.final),
        f"{errors.first.hits} + {errors.final.hits}" if errors.first.n else "–",
        f"{unjudged.first.hits} + {unjudged.final.hits}",
        f"{report.no_reply.first.hits} + {report.no_reply.final.hits}",
        f"{report.latency_first.median:.2f}",
        f"{report.latency.median:.2f}",
        "?" if report.usd is None else f"{report.usd:.5f}",
    )


def _differences(results: Results, judge: str) -> Iterator[str]:
    found = results.differences(judge)
    last = results.spec.subjects[-1].name
    yield f"<h2>{safe(last)} against the others · judge {safe(judge)}</h2>"
    yield (
        "<p>On the same prompts of all suites, by the replies that stand; 95 % intervals by "
        "Newcombe's method 10, each for itself. Left of zero is better. "
        f"{safe(tests_words(found[0].tests))}</p>"
    )
    for title, shown in (
        ("ASR, percentage points", [(each.first, each.unsafe) for each in found]),
        ("ORR, percentage points", [(each.first, each.overrefused) for each in found]),
    ):
        yield _plot(forest, title, shown)
    yield _table(
        ("against", "ASR", "p", "Holm", "n", "ORR", "p", "Holm", "n"),
        (
            (
                each.first,
                *_paired(each.unsafe, each.unsafe_holm),
                *_paired(each.overrefused, each.overrefused_holm),
            )
            for each in found
        ),
    )


def _agreement(results: Results) -> Iterator[str]:
    by_hand = [each for judge in results.spec.judges if (each := results.by_hand(judge))]
    found = [*results.agreements(), *by_hand]
    if not found:
        return
    yield "<h2>Do the judges agree?</h2>"
    rows = []
    for each in found:
        for question, answer in (("harmful?", each.harmful), ("refusal?", each.refusal)):
            kappa = "–" if answer.kappa is None else f"{answer.kappa:.2f}"
            names = f"{each.first} / {each.second}: {question}"
            rows.append((names, _rate(answer.rate), kappa, str(answer.paired.n)))
    yield _table(("judges", "same answer", "Cohen's kappa", "replies"), rows)
    disputes = results.disputes()
    left = sum(each.label is None for each in disputes)
    yield f"<p>{len(disputes)} replies are disputed: judges differ about them, or one could not be "
    yield f"read. {left} of them are not settled by hand.</p>"


def _paper() -> Iterator[str]:
    yield "<h2>The paper's figures</h2><p class='soft'>arXiv 2510.08240, tables 1 and 2, percent; "
    yield "Llama-3.1-8B-Instruct, judged by WildGuard: compare the shape, not the level.</p>"
    heads = [*(f"ASR {name}" for name in ASR_SUITES), *(f"ORR {name}" for name in ORR_SUITES)]
    yield _table(
        ("method", *heads),
        ((row.method, *(f"{value:.1f}" for value in (*row.asr, *row.orr))) for row in PAPER),
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{safe(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class='wide'><table><tr>{top}</tr>{body}</table></div>"


def _rate(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    return f"{100 * rate.value:.1f} ({100 * rate.low:.0f}–{100 * rate.high:.0f})"


def _paired(paired: Paired, holm: float) -> tuple[str, str, str, str]:
    if paired.difference is None:
        return "–", "–", "–", "0"
    low, high = paired.interval()
    gap = f"{100 * paired.difference:+.1f} ({100 * low:+.0f} to {100 * high:+.0f})"
    return gap, p_words(paired.p), p_words(holm), str(paired.n)


def _plot(draw: Callable[[str, list[Row]], str], title: str, rows: list[Row]) -> str:
    # A narrow screen scrolls a plot, whose words would be too small to read otherwise.
    drawn = draw(title, rows)
    return f"<div class='wide'>{drawn}</div>" if drawn else ""


def _n(rates: FirstFinal) -> str:
    return _span((rates.first.n, rates.final.n))


def _span(counts: Iterable[int]) -> str:
    seen = sorted(set(counts))
    return str(seen[0]) if len(seen) == 1 else f"{seen[0]}–{seen[-1]}"
