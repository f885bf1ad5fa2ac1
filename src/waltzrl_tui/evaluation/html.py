"""A run as one HTML page that opens offline: it loads nothing and runs no script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

from waltzrl_tui import words
from waltzrl_tui.evaluation.caveats import notes, tests_words
from waltzrl_tui.evaluation.html_items import items_html
from waltzrl_tui.evaluation.markup import Markup, element
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Paired, p_words
from waltzrl_tui.evaluation.paper import ASR_SUITES, ORR_SUITES, PAPER, paper_row
from waltzrl_tui.evaluation.report import FirstFinal, Report
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.svg import Bar, bars, forest, plane
from waltzrl_tui.words import NONE, duration, money, points

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


def report_html(results: RunResults) -> Iterator[Markup]:
    """The page, in pieces."""
    spec, run = results.spec, results.run
    title = f"Evaluation {run.id}: {', '.join(subject.name for subject in spec.subjects)}"
    yield Markup("<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>")
    yield Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">')
    yield Markup('<meta name="viewport" content="width=device-width,initial-scale=1">')
    yield element("title", title)
    yield Markup(f"<style>{_STYLE}</style></head><body>")
    yield element("h1", title)
    suites = ", ".join(f"{suite.name} ({suite.n:,})" for suite in spec.suites)
    state = "" if run.state == "done" else f" · {run.state}: {len(results.items)} of {run.total}"
    yield element(
        "p",
        f"{run.created_at[:16].replace('T', ' ')} UTC · suites: {suites} · judges: "
        f"{', '.join(results.judges)}{state}",
        style="soft",
    )
    yield element(
        "p",
        "Bars: the draft above (light), the final reply below. Lines: 95 % Wilson intervals. The "
        "upright mark is the paper's figure for the method, on its own suites and model. Replies "
        "without a readable opinion are in no rate.",
    )
    if run.error:
        yield element("p", run.error, style="bad")
    for judge in results.judges:
        for suite, ref in enumerate(spec.suites):
            yield element("h2", f"{ref.name} · judge {judge}")
            yield from _suite(results, suite, judge)
        if len(spec.subjects) > 1:
            yield from _differences(results, judge)
        yield from (element("p", note, style="soft") for note in notes(results, judge))
    yield from _agreement(results)
    yield from _paper()
    yield element("h2", "Every item")
    for number in range(len(spec.subjects)):
        yield from items_html(results, number)
    yield Markup("</body></html>\n")


def _suite(results: RunResults, suite: int, judge: str) -> Iterator[Markup]:
    subjects = results.spec.subjects
    reports = [results.report(number, suite, judge) for number in range(len(subjects))]
    papers = [
        (report, paper_row(subject)) for report, subject in zip(reports, subjects, strict=True)
    ]
    yield _plot(
        bars,
        "ASR: unsafe replies to harmful prompts",
        [
            _bar(report.pair, report.asr, paper.asr[-1] if paper else None)
            for report, paper in papers
            if report.asr.final.n
        ],
    )
    yield _plot(
        bars,
        "ORR: refusals of benign prompts",
        [
            _bar(report.pair, report.orr, paper.orr[-1] if paper else None)
            for report, paper in papers
            if report.orr.final.n
        ],
    )
    yield _plot(
        plane,
        "Bottom left is best: safe and not timid",
        [(report.pair, report.asr.final, report.orr.final) for report in reports],
    )
    heads = ("", "n harmful", "ASR first", "ASR final", "n benign", "ORR first", "ORR final")
    yield _table(heads, (_rates(report) for report in reports))
    labels = ("labels ok, draft", "labels ok, last reply")
    counts = ("bad verdicts", "no opinion", "no reply", "time first", "time final", "cost")
    yield _table(("", "FTR", *labels, *counts), (_figures(report) for report in reports))
    yield element(
        "p",
        "First: the draft; final: the final reply. Rates with their 95 % intervals in brackets. "
        "Bad verdicts, no opinion: verdicts and opinions that could not be read, on the draft + on "
        "the last reply. No reply: prompts without text, as the draft + as the final "
        "reply. Time and cost: of one reply.",
        style="soft",
    )
    yield element("details", element("summary", "By category"), _categories(reports), style="print")


def _bar(name: str, rates: FirstFinal, paper: float | None) -> Bar:
    return Bar(name=name, first=rates.first, final=rates.final, paper=paper)


def _categories(reports: Sequence[Report]) -> Markup:
    rates = [{(each.harm, each.name): each.rate.final for each in r.categories} for r in reports]
    rows = []
    for harm, name in dict.fromkeys(key for by_category in rates for key in by_category):
        cells = [by_category.get((harm, name)) for by_category in rates]
        figure = "ASR" if harm == "harmful" else "ORR"
        n = _span(rate.n for rate in cells if rate is not None)
        rows.append((f"{name} ({figure}, n {n})", *map(_rate, cells)))
    return _table(("category", *(report.pair for report in reports)), rows)


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
    errors = report.parse_errors
    return (
        report.pair,
        _rate(report.ftr),
        _rate(report.label_accuracy.first),
        _rate(report.label_accuracy.final),
        _hits(errors) if errors.first.n else NONE,
        _hits(report.judge_errors),
        _hits(report.no_reply),
        duration(report.latency_first.median),
        duration(report.latency.median),
        money(report.usd, unknown="?"),
    )


def _differences(results: RunResults, judge: str) -> Iterator[Markup]:
    differences = results.differences(judge)
    last = results.spec.subjects[-1].name
    yield element("h2", f"{last} vs the others · judge {judge}")
    yield element(
        "p",
        "On the same prompts of all suites, final replies; each with a 95 % interval by Newcombe's "
        f"method 10. Left of zero is better. {tests_words(differences[0].tests)}",
    )
    asr = [(each.first, each.unsafe) for each in differences]
    orr = [(each.first, each.overrefused) for each in differences]
    yield _plot(forest, "ASR, percentage points", asr)
    yield _plot(forest, "ORR, percentage points", orr)
    yield _table(
        ("vs", "ASR", "p", "Holm", "n", "ORR", "p", "Holm", "n"),
        (
            (
                each.first,
                *_paired(each.unsafe, each.unsafe_holm),
                *_paired(each.overrefused, each.overrefused_holm),
            )
            for each in differences
        ),
    )


def _agreement(results: RunResults) -> Iterator[Markup]:
    by_hand = [each for judge in results.spec.judges if (each := results.by_hand(judge))]
    agreements = [*results.agreements(), *by_hand]
    if not agreements:
        return
    yield element("h2", "Do the judges agree?")
    rows = []
    for each in agreements:
        for question, answer in (("harmful?", each.harmful), ("refusal?", each.refusal)):
            kappa = NONE if answer.kappa is None else f"{answer.kappa:.2f}"
            names = f"{each.first} / {each.second}: {question}"
            rows.append((names, _rate(answer.rate), kappa, f"{answer.paired.n:,}"))
    yield _table(("judges", "same answer", "Cohen's kappa", "replies"), rows)
    disputes = results.disputes()
    open_count = sum(each.label is None for each in disputes)
    yield element(
        "p",
        f"Disputed replies (judges differ, or one has no opinion): {len(disputes):,}; not yet "
        f"settled by hand: {open_count:,}.",
    )


def _paper() -> Iterator[Markup]:
    yield element("h2", "The paper's figures")
    yield element(
        "p",
        "arXiv 2510.08240, tables 1 and 2, percent; Llama-3.1-8B-Instruct, judged by WildGuard: "
        "compare the shape, not the level.",
        style="soft",
    )
    heads = [*(f"ASR {name}" for name in ASR_SUITES), *(f"ORR {name}" for name in ORR_SUITES)]
    yield _table(
        ("method", *heads),
        ((row.method, *(f"{value:.1f}" for value in (*row.asr, *row.orr))) for row in PAPER),
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    top = element("tr", *(element("th", head) for head in heads))
    body = [element("tr", *(element("td", cell) for cell in row)) for row in rows]
    return element("div", element("table", top, *body), style="wide")


def _rate(rate: Rate | None) -> str:
    return NONE if rate is None else words.rate(rate.value, rate.low, rate.high, decimals=1)


def _paired(paired: Paired, holm: float) -> tuple[str, str, str, str]:
    if paired.difference is None:
        return NONE, NONE, NONE, "0"
    gap = points(paired.difference, *paired.interval())
    return gap, p_words(paired.p), p_words(holm), f"{paired.n:,}"


def _plot(draw: Callable[[str, list[Row]], str], title: str, rows: list[Row]) -> Markup:
    # A narrow screen scrolls a plot, whose words would be too small to read otherwise.
    drawn = draw(title, rows)
    return element("div", Markup(drawn), style="wide") if drawn else Markup()


def _hits(rates: FirstFinal) -> str:
    return f"{rates.first.hits:,} + {rates.final.hits:,}"


def _n(rates: FirstFinal) -> str:
    return _span((rates.first.n, rates.final.n))


def _span(counts: Iterable[int]) -> str:
    ordered = sorted(set(counts))
    if len(ordered) == 1:
        return f"{ordered[0]:,}"
    return f"{ordered[0]:,}–{ordered[-1]:,}"
