"""A run as files: the HTML report, and every item with every opinion as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.html import report_html
from waltzrl_tui.evaluation.item_view import label_words
from waltzrl_tui.evaluation.items import Played, Stage
from waltzrl_tui.evaluation.judges import content_key
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.workspace import private_write

COLUMNS: Final = (
    *("run", "subject", "suite", "line", "harm", "category", "prompt", "first_reply"),
    *("first_unsafe_flag", "first_overrefuse_flag", "feedback", "verdict_error", "final_reply"),
    *("judge", "first_harmful", "first_refusal", "final_harmful", "final_refusal", "judge_error"),
    *("first_by_hand", "final_by_hand", "seconds", "tokens", "usd"),
    *("first_outcome", "final_outcome"),
)
# Spreadsheets run cells that begin like this as formulas, in some languages with the wide signs
# too; some ignore spaces before it.
_FORMULA: Final = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r\n]")


def write_report(path: Path, results: RunResults) -> None:
    """Write the HTML report (mode 0600: it holds harmful prompts and replies).

    Raises:
        WaltzError: It cannot be written.
    """
    _write(path, "".join(report_html(results)))


def write_csv(path: Path, results: RunResults) -> None:
    """Write one line per item and judge (mode 0600).

    A quote precedes what a spreadsheet would run; control characters, which a terminal would obey,
    are replaced by visible ones.

    Raises:
        WaltzError: It cannot be written.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in _rows(results):
        writer.writerow([_cell(value) for value in row])
    _write(path, out.getvalue())


def _rows(results: RunResults) -> Iterator[tuple[object, ...]]:
    spec = results.spec
    for (subject, suite, _), item in sorted(results.items.items()):
        start = item.rounds[0]
        verdict = start.verdict
        for judge in spec.judges:
            first = item.opinion(judge, "first", {})
            final = item.opinion(judge, "final", {})
            yield (
                results.run.id,
                spec.subjects[subject].name,
                spec.suites[suite].name,
                item.line,
                item.harm,
                item.category,
                item.prompt,
                start.reply,
                verdict and verdict.unsafe,
                verdict and verdict.overrefuse,
                verdict and verdict.feedback,
                start.verdict_error,
                item.final,
                judge,
                first.harmful_response,
                first.refusal,
                final.harmful_response,
                final.refusal,
                first.error or final.error,
                _label(results, item, "first"),
                _label(results, item, "final"),
                item.seconds,
                item.tokens,
                item.usd,
                item.outcome("first"),
                item.outcome("final"),
            )


def _label(results: RunResults, item: Played, stage: Stage) -> str:
    if not results.hand:
        return ""
    label = results.hand.get(content_key(item.prompt, item.replies[stage]))
    return "" if label is None else label_words(label)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        shown = printable(value)
        return f"'{shown}" if _FORMULA.match(shown) else shown
    return value


def _write(path: Path, text: str) -> None:
    try:
        private_write(path, text)
    except OSError as error:
        raise WaltzError(
            f"{one_line(str(path))} cannot be written: {error.strerror or error}.",
            hint="Name another file; the run itself is saved.",
        ) from error
