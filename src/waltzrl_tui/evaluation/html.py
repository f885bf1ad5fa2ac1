"""A run as one HTML page that opens offline: nothing is loaded, no script runs, text is text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from waltzrl_tui.evaluation.items import EvalItem
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Paired
from waltzrl_tui.evaluation.paper import ASR_SUITES, ORR_SUITES, PAPER, paper_row
from waltzrl_tui.evaluation.report import Report
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.evaluation.svg import Bar, bars, forest, plane
from waltzrl_tui.text import printable

# A page that is mailed around must not fetch or run anything, whatever a reply in it says.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_LONGEST: Final = 6000

_STYLE: Final = """
:root{--ink:#23272e;--soft:#5b626b;--line:#d5d1c9;--paper:#fbfaf7;--panel:#f1efeb;--first:#9db7d1;
--final:#2f6499;--bad:#b3352b;--good:#2c6e36;--mark:#9a5b00;color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#d5d9e0;--soft:#a4adba;--line:#3b4047;
--paper:#121417;--panel:#1b1f24;--first:#4d6885;--final:#7fa8d1;--bad:#e0796f;--good:#8cc08f;
--mark:#e9b872}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:1080px;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.2rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:.25rem .5rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:var(--soft);font-weight:500}
.wide{overflow-x:auto}.soft{color:var(--soft)}
svg{width:100%;max-width:820px;height:auto;display:block;margin:.8rem 0;font:12px system-ui}
svg text{fill:var(--ink)}svg .title{font-weight:600;font-size:14px}svg .tick{fill:var(--soft)}
svg .grid{stroke:var(--line)}svg .zero{stroke:var(--ink)}svg .whisker{stroke:var(--ink);
stroke-width:1.4}svg rect.first{fill:var(--first)}svg .final{fill:var(--final)}
svg .paper{stroke:var(--mark);stroke-width:3}svg .number{fill:var(--paper);font-weight:600}
details{margin:.25rem 0}summary{cursor:pointer}details details{border-left:3px solid var(--line);
padding-left:.8rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--panel);padding:.5rem .7rem;
margin:.2rem 0 .6rem;border-radius:4px;font:13px/1.45 ui-monospace,monospace}
.bad{color:var(--bad)}.good{color:var(--good)}
"""


def report_html(results: Results) -> Iterator[str]:
    """The page, in pieces."""
    spec, run = results.spec, results.run
    title = f"Evaluation {run.id}: {', '.join(subject.name for subject in spec.subjects)}"
    yield "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{_safe(title)}</h1>"
    suites = ", ".join(f"{suite.name} ({suite.n})" for suite in spec.suites)
    state = "" if run.state == "done" else f" · {run.state}: {len(results.items)} of {run.total}"
    yield (
        f"<p class='soft'>{_safe(run.created_at[:16].replace('T', ' '))} UTC · suites: "
        f"{_safe(suites)} · judges: {_safe(', '.join(results.judges))}{_safe(state)}</p>"
    )
    yield (
        "<p>Bars: the draft above (light), the reply that stands below. Lines: 95 % Wilson "
        "intervals. The upright mark is the paper's figure for the method on its own suites and "
        "model. An unreadable judge's answer is in no rate.</p>"
    )
    if run.error:
        yield f"<p class='bad'>{_safe(run.error)}</p>"
    for judge in results.judges:
        for suite, ref in enumerate(spec.suites):
            yield f"<h2>{_safe(ref.name)} · judge {_safe(judge)}</h2>"
            yield from _suite(results, suite, judge)
        if len(spec.subjects) > 1:
            yield from _differences(results, judge)
    yield from _agreement(results)
    yield from _paper()
    yield "<h2>Every item</h2>"
    for number in range(len(spec.subjects)):
        yield from _items(results, number)
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
        yield bars(
            title,
            [
                Bar(
                    report.pair, rate.first, rate.final, getattr(row, figure)[mean] if row else None
                )
                for report, rate, row in zip(reports, rates, papers, strict=True)
                if rate.final.n
            ],
        )
    yield plane(
        "Safe and not timid is the corner below on the left",
        [(report.pair, report.asr.final, report.orr.final) for report in reports],
    )
    yield _table(
        (
            "",
            "ASR first",
            "ASR final",
            "ORR first",
            "ORR final",
            "FTR",
            "labels right",
            "verdicts unread",
            "judge unread",
            "s first",
            "s final",
            "$ a reply",
        ),
        (_figures(report) for report in reports),
    )
    yield "<details><summary>By category</summary>"
    names = list(dict.fromkeys((each.harm, each.name) for r in reports for each in r.categories))
    found = [{(each.harm, each.name): each.rate for each in r.categories} for r in reports]
    yield _table(
        ("category", *(report.pair for report in reports)),
        (
            (
                f"{name} ({'ASR' if harm == 'harmful' else 'ORR'})",
                *(_rate(each[harm, name].final) if (harm, name) in each else "–" for each in found),
            )
            for harm, name in names
        ),
    )
    yield "</details>"


def _figures(report: Report) -> tuple[str, ...]:
    errors = report.parse_errors
    return (
        report.pair,
        _rate(report.asr.first),
        _rate(report.asr.final),
        _rate(report.orr.first),
        _rate(report.orr.final),
        _rate(report.ftr),
        _rate(report.label_accuracy.first),
        f"{errors.first.hits} + {errors.final.hits}" if errors.first.n else "–",
        str(report.judge_errors.final.hits),
        f"{report.latency_first.median:.2f}",
        f"{report.latency.median:.2f}",
        "?" if report.usd is None else f"{report.usd:.5f}",
    )


def _differences(results: Results, judge: str) -> Iterator[str]:
    found = results.differences(judge)
    last = results.spec.subjects[-1].name
    yield f"<h2>{_safe(last)} against the others · judge {_safe(judge)}</h2>"
    yield (
        "<p>On the same prompts, by the replies that stand; p by McNemar's exact test, intervals "
        "by Newcombe's method 10. Left of zero is better.</p>"
    )
    yield forest("ASR, percentage points", [(each.first, each.unsafe) for each in found])
    yield forest("ORR, percentage points", [(each.first, each.overrefused) for each in found])
    yield _table(
        ("against", "ASR", "p", "n", "ORR", "p", "n"),
        ((each.first, *_paired(each.unsafe), *_paired(each.overrefused)) for each in found),
    )


def _agreement(results: Results) -> Iterator[str]:
    found = results.agreements()
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
    disputed = len(results.disputes(settled=False))
    yield f"<p>{disputed} replies are not settled by hand yet.</p>"


def _paper() -> Iterator[str]:
    yield "<h2>The paper's figures</h2><p class='soft'>arXiv 2510.08240, tables 1 and 2, percent; "
    yield "Llama-3.1-8B-Instruct, judged by WildGuard: compare the shape, not the level.</p>"
    heads = [*(f"ASR {name}" for name in ASR_SUITES), *(f"ORR {name}" for name in ORR_SUITES)]
    yield _table(
        ("method", *heads),
        ((row.method, *(f"{value:.1f}" for value in (*row.asr, *row.orr))) for row in PAPER),
    )


def _items(results: Results, subject: int) -> Iterator[str]:
    judge = results.judges[-1] if results.judges[-1].startswith(results.spec.judges[0]) else ""
    items = results.evaluated(subject, None, judge)
    name = results.spec.subjects[subject].name
    yield f"<details><summary>{_safe(name)} · {len(items)} items</summary>"
    for title, chosen in _groups(list(items.values())):
        if not chosen:
            continue
        yield f"<details><summary>{_safe(title)} · {len(chosen)}</summary>"
        for item in chosen:
            yield from _item(item)
        yield "</details>"
    yield "</details>"


def _groups(items: Sequence[EvalItem]) -> list[tuple[str, list[EvalItem]]]:
    """Each item once, under the first of these that it is."""
    groups: dict[str, list[EvalItem]] = {
        name: []
        for name in (
            "unsafe in the end",
            "overrefused in the end",
            "the judge could not be read",
            "mended by feedback",
            "all the others",
        )
    }
    names = list(groups)
    for item in items:
        if item.final_unsafe:
            place = 0
        elif item.final_overrefused:
            place = 1
        elif item.judge_errors:
            place = 2
        elif item.first_unsafe or item.first_overrefused:
            place = 3
        else:
            place = 4
        groups[names[place]].append(item)
    return list(groups.items())


def _item(item: EvalItem) -> Iterator[str]:
    head = " ".join(item.prompt.split())
    yield f"<details><summary>{_safe(head[:110])}</summary>"
    yield f"<p class='soft'>{_safe(item.harm)} · {_safe(item.category)} · {item.seconds:.2f} s · "
    yield f"{item.tokens} tokens</p><pre>{_safe(item.prompt)}</pre>"
    for number, each in enumerate(item.rounds):
        yield f"<p>{'draft' if not number else f'revision {number}'}</p>"
        yield f"<pre>{_safe(each.reply) or '(empty)'}</pre>"
        verdict = each.verdict
        if verdict is not None:
            flags = [name for name in ("unsafe", "overrefuse") if getattr(verdict, name)]
            said = ", ".join(flags) or "satisfactory"
            style = "bad" if flags else "good"
            yield f"<p class='{style}'>verdict: {said}</p>"
            words = f"{verdict.reasoning}\n{verdict.feedback}".strip()
            yield f"<pre>{_safe(words)}</pre>"
        elif each.verdict_error:
            yield f"<p class='bad'>verdict not read: {_safe(each.verdict_error)}</p>"
            yield f"<pre>{_safe(each.raw)}</pre>"
    for stage, error in item.judge_errors.items():
        yield f"<p class='bad'>judge not read about the {stage} reply: {_safe(error)}</p>"
    yield "</details>"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    top = "".join(f"<th>{_safe(head)}</th>" for head in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<div class='wide'><table><tr>{top}</tr>{body}</table></div>"


def _rate(rate: Rate) -> str:
    if rate.value is None:
        return "–"
    return f"{100 * rate.value:.1f} ({100 * rate.low:.0f}–{100 * rate.high:.0f})"


def _paired(paired: Paired) -> tuple[str, str, str]:
    if paired.difference is None:
        return "–", "–", "0"
    low, high = paired.interval()
    p = "<0.0001" if paired.p < 0.0001 else f"{paired.p:.4f}"
    gap = 100 * paired.difference
    return f"{gap:+.1f} ({100 * low:+.0f} to {100 * high:+.0f})", p, str(paired.n)


def _safe(text: str) -> str:
    """Text from outside as text: no markup, no control characters, no bidi overrides."""
    return escape(printable(text[:_LONGEST]))
