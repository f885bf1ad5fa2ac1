"""The results of a run as lines: rates with bars and intervals, differences, agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rich.cells import set_cell_size
from textual.content import Content

from waltzrl_tui import words
from waltzrl_tui.evaluation.caveats import notes
from waltzrl_tui.evaluation.metrics import Rate
from waltzrl_tui.evaluation.paired import Agreement, Paired
from waltzrl_tui.evaluation.paper import PAPER, PaperRow, paper_row
from waltzrl_tui.evaluation.report import FirstFinal, Report
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.evaluate.model import View
from waltzrl_tui.tui.shell.keys import press

_NARROW_NAME: Final = 16
_LONGEST_NAME: Final = 46
_FIGURE: Final = 25
_WIDE: Final = 90
_PAPER: Final = 64
_COUNT: Final = 6
_CELL: Final = 17


def head_lines(results: RunResults, state: str, seconds_left: float | None, width: int) -> Content:
    """The progress of the run on one line with a bar, and the key that stops or resumes it."""
    run, done = results.run, len(results.items)
    marks = {
        "running": ("● running", "$success"),
        "queued": ("◌ starting", "$text-warning"),
        "done": ("✓ done", "$success"),
        "stopped": ("■ stopped", "$text-warning"),
        "left": ("■ left", "$text-warning"),
        "failed": ("✗ failed", "$text-error"),
    }
    size = max(6, min(30, width - 50))
    filled = size * done // run.total if run.total else 0
    bar = [("█" * filled, "$primary"), ("░" * (size - filled), "$line")]
    stopping = run.stop and state in ("running", "queued")
    mark = ("■ stopping", "$text-warning") if stopping else marks.get(state, (state, ""))
    parts: list[tuple[str, str]] = [mark, ("  ", ""), *bar]
    parts.append((f"  {done:,} of {run.total:,}", "$foreground"))
    if seconds_left is not None and state == "running":
        parts.append((f"  {words.duration(seconds_left, rough=True)} left", "$text-muted"))
    action, label = {
        "running": ("stop", "stop"),
        "queued": ("stop", "stop"),
        "done": ("edit", "new run"),
    }.get(state, ("go_on", "resume"))
    if not stopping:
        parts.append((f"  {press(action, 'evaluate')} {label}", "$text-muted"))
    return Content.assemble(*parts)


def result_lines(results: RunResults, view: View, width: int) -> Content:
    """All results, for a pane `width` cells wide."""
    spec = results.spec
    reports = [results.report(n, view.suite, view.judge) for n in range(len(spec.subjects))]
    papers = [paper_row(subject) for subject in spec.subjects]
    lines: list[Content] = []
    if view.categories:
        lines += [*_categories(reports, width), Content("")]
    for title, figure in (
        ("ASR  unsafe replies to harmful prompts, first → final", "asr"),
        ("ORR  refusals of benign prompts, first → final", "orr"),
    ):
        counts = sorted({getattr(report, figure).final.n for report in reports})
        if reports[0].n and counts == [0]:
            continue  # A suite of harmful prompts only has nothing to refuse.
        n = f"{counts[0]}–{counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
        lines.append(_heading(f"{title} · n {n}"))
        for report, paper in zip(reports, papers, strict=True):
            lines.append(_bar_line(report.pair, getattr(report, figure), figure, paper, width))
        lines.append(Content(""))
    lines.append(_heading("Feedback quality, unreadable verdicts, time and cost"))
    lines += _figures(reports, width)
    if len(reports) > 1:
        lines += [Content(""), *_differences(results, view, width)]
    if len(spec.judges) > 1 or results.labelled_here:
        lines += [Content(""), *_agreement(results, width)]
    if results.run.error:
        lines += [Content(""), Content.styled(printable(results.run.error), "$text-error")]
    lines += [Content(""), *_paper(width), Content(""), *_notes(results, view)]
    return Content("\n").join(lines)


def _label(width: int) -> int:
    """Cells for names in a pane `width` cells wide."""
    return _NARROW_NAME if width < _WIDE else min(_LONGEST_NAME, 24 + (width - _WIDE) // 3)


def _heading(text: str) -> Content:
    return Content.styled(text, "bold $text-muted")


def _bar_line(
    name: str, rates: FirstFinal, figure: str, paper: PaperRow | None, width: int
) -> Content:
    label = _label(width)
    beside = ""
    if paper is not None and width >= _PAPER:
        mean = paper.asr[-1] if figure == "asr" else paper.orr[-1]
        beside = f"  paper {mean:.1f}"
    size = max(4, min(50, width - label - _FIGURE - len("  paper 26.5") - 2))
    rate = rates.final
    style = "$unsafe" if figure == "asr" else "$refusal"
    first = words.NONE if rates.first.value is None else f"{100 * rates.first.value:.0f}"
    final = _percent(rate)
    return Content.assemble(
        (_fitted(name, label), "$foreground"),
        *interval_bar(rate, size, style),
        (f" {first:>4} → ", "$faint"),
        (final, "bold"),
        (beside, "$faint"),
    )


def interval_bar(rate: Rate, size: int, style: str) -> list[tuple[str, str]]:
    """A bar: full up to the low end of the interval, shaded to the rate, light to the high end."""
    if rate.value is None:
        return [("·" * size, "$line")]
    low, value, high = (round(x * size) for x in (rate.low, rate.value, rate.high))
    return [
        ("█" * low, style),
        ("▓" * (value - low), style),
        ("░" * (high - value), style),
        ("·" * (size - high), "$line"),
    ]


def _figures(reports: Sequence[Report], width: int) -> Iterator[Content]:
    """The figures beside the rates, as many as fit, the less important ones last."""
    label = _label(width)
    columns = []
    room = width - label
    for head, text in _FIGURES:
        cells = [head, *map(text, reports)]
        size = max(map(len, cells)) + 2
        room -= size
        if room < 0:
            break
        columns.append([f"{cell:>{size}}" for cell in cells])
    first, *rows = ("".join(row) for row in zip(*columns, strict=True))
    yield Content.styled(" " * label + first, "$faint")
    for report, row in zip(reports, rows, strict=True):
        yield Content.assemble((_fitted(report.pair, label), "$foreground"), row)


def _label_accuracy(report: Report) -> str:
    accuracy = report.label_accuracy
    if not accuracy.first.n:
        return words.NONE
    return f"{_share(accuracy.first)} → {_share(accuracy.final)}"


def _hits(both: FirstFinal) -> str:
    """A count on the draft and one on the final reply."""
    return f"{both.first.hits}+{both.final.hits}"


_FIGURES: Final[tuple[tuple[str, Callable[[Report], str]], ...]] = (
    ("FTR %", lambda report: _share(report.ftr)),
    ("labels ok %", _label_accuracy),
    (
        "bad verdicts",
        lambda report: _hits(report.parse_errors) if report.parse_errors.first.n else words.NONE,
    ),
    ("no opinion", lambda report: _hits(report.judge_errors)),
    ("no reply", lambda report: _hits(report.no_reply)),
    ("s final", lambda report: f"{report.latency.median:.2f}"),
    ("s draft", lambda report: f"{report.latency_first.median:.2f}"),
    ("cost a reply", lambda report: words.money(report.usd, unknown="?")),
)


def _differences(results: RunResults, view: View, width: int) -> Iterator[Content]:
    label = _label(width)
    name = one_line(results.spec.subjects[-1].name, 30)
    differences = results.differences(view.judge, view.suite)
    yield _heading(f"{name} vs others (percentage points, final replies, same prompts)")
    for each in differences:
        yield Content.assemble(
            (_fitted(each.first, label), "$foreground"),
            ("ASR ", "$faint"),
            *_gap(each.unsafe, each.unsafe_holm),
            ("  ORR ", "$faint"),
            *_gap(each.overrefused, each.overrefused_holm),
        )
    tests = differences[0].tests
    corrected = f", corrected for {tests} tests (Holm)" if tests > 1 else ""
    yield Content.styled(f"p: McNemar's exact test{corrected}.", "$faint")


def _gap(paired: Paired, corrected: float) -> list[tuple[str, str]]:
    gap = paired.difference
    if gap is None:
        return [(f"{words.NONE:>25}", "$faint")]
    low, high = paired.interval()
    sure = corrected < 0.05
    style = "" if not sure else "$success" if gap < 0 else "$text-error"
    p = "p<.001" if corrected < 0.001 else f"p={corrected:.3f}"[:7].replace("0.", ".")
    interval = f"({100 * low:+.0f} to {100 * high:+.0f})"
    return [(f"{100 * gap:+4.0f} ", f"bold {style}".strip()), (f"{interval:<12} {p:<7}", style)]


def _categories(reports: Sequence[Report], width: int) -> Iterator[Content]:
    label = _label(width)
    fitting = max(1, (width - label - _COUNT) // _CELL)
    begun = [report for report in reports if report.n]
    shown = begun[-fitting:]
    title = "By category, final replies: ASR of harmful ✗, ORR of benign ⊘ prompts"
    yield _heading(title)
    if len(shown) < len(begun):
        left = f"{words.plural(len(begun) - len(shown), 'more pair')} only in the exported report."
        yield Content.styled(left, "$text-warning")
    heads = "".join(f"{_fitted(report.pair, _CELL - 1):>{_CELL}}" for report in shown)
    yield Content.styled(f"{' ' * label}{'n':>{_COUNT}}{heads}", "$faint")
    names = list(dict.fromkeys((each.harm, each.name) for r in shown for each in r.categories))
    rates = [{(each.harm, each.name): each.rate.final for each in r.categories} for r in shown]
    for harm, name in names:
        mark = ("✗ ", "$unsafe") if harm == "harmful" else ("⊘ ", "$refusal")
        most = max(by_name[harm, name].n for by_name in rates if (harm, name) in by_name)
        cells = "".join(
            f"{_percent(by_name[harm, name]) if (harm, name) in by_name else words.NONE:>{_CELL}}"
            for by_name in rates
        )
        yield Content.assemble(
            mark, (_fitted(name, label - 2), ""), (f"{most:>{_COUNT}}", "$faint"), cells
        )


def _agreement(results: RunResults, width: int) -> Iterator[Content]:
    yield from agreement_lines(results, width)
    disputes = results.disputes()
    left = sum(each.label is None for each in disputes)
    count = words.plural(len(disputes), "disputed reply", "disputed replies")
    text = f"{count}, {left} not settled by hand"
    if left:
        text += f": {press('disputes', 'evaluate')} settles them"
    yield Content.styled(text, "$text-warning" if left else "$text-muted")


def agreement_lines(results: RunResults, width: int) -> Iterator[Content]:
    """Agreement of every two judges, then of each judge with people: share, kappa, replies."""
    by_hand = [each for judge in results.spec.judges if (each := results.by_hand(judge))]
    agreements = [*results.agreements(), *by_hand]
    if not agreements:
        return
    label = max(24, min(width - 40, 70))
    yield _heading(f"{_fitted('Do the judges agree?', label)}{'harmful? κ':>15}{'refusal? κ':>15}")
    for each in agreements:
        part = (label - 5) // 2
        second = one_line(each.second, part)
        first = one_line(each.first, label - 5 - len(second))
        yield Content.assemble(
            (_fitted(f"{first} / {second}", label), "$foreground"),
            f"{kappa_words(each.harmful):>15}{kappa_words(each.refusal):>15}",
            (f"{f'n {each.harmful.paired.n}':>9}", "$faint"),
        )


def kappa_words(agreement: Agreement) -> str:
    """ "94 % κ 0.87"."""
    same = agreement.rate.value
    if same is None:
        return words.NONE
    kappa = words.NONE if agreement.kappa is None else f"{agreement.kappa:.2f}"
    return f"{words.percent(same)} κ {kappa:>4}"


def _paper(width: int) -> Iterator[Content]:
    label = _label(width)
    yield _heading("The paper: Llama-3.1-8B-Instruct judged by WildGuard, final replies, %")
    heads = ("ASR WJB", "FORTR", "StrRej", "mean", "ORR ORB", "FORTR", "mean")
    yield Content.styled(" " * label + "".join(f"{head:>8}" for head in heads), "$faint")
    for row in PAPER:
        figures = "".join(f"{value:>8.1f}" for value in (*row.asr, *row.orr))
        yield Content.assemble((_fitted(row.method, label), "$text-muted"), (figures, "$faint"))


def _notes(results: RunResults, view: View) -> Iterator[Content]:
    yield Content.styled(
        "Bars: █ at least, ▓ measured, ░ at most (95 % interval, in brackets).", "$faint"
    )
    for note in notes(results, view.judge):
        yield Content.styled(printable(note), "$faint")


def _percent(rate: Rate) -> str:
    """The rate with its interval, its numbers in line under each other."""
    if rate.value is None:
        return f"{words.NONE:<15}"
    text = words.rate(rate.value, rate.low, rate.high)
    return f"{' ' * (3 - text.index(' ')) + text:<15}"


def _share(rate: Rate) -> str:
    return words.NONE if rate.value is None else f"{100 * rate.value:.0f}"


def _fitted(text: str, size: int) -> str:
    return set_cell_size(one_line(text, size - 1), size)
