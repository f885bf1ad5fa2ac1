"""The cost of one plan line by line, how it was computed, and what blocks it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Final

from textual.content import Content

from waltzrl_tui.plans.model import PlanRow, Probe, Workload
from waltzrl_tui.records.roles import Role
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.data.figures import sample_size
from waltzrl_tui.tui.plan.lines import (
    age,
    enough_decimals,
    spread,
    state,
)
from waltzrl_tui.tui.plan.sheet import Layout, hanging
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import duration_range, money, percent, plural, short_count

STYLES: Final = {
    "good": "$text-success",
    "idle": "$text-warning",
    "bad": "$text-error",
    "faint": "$text-muted",
}
"""The colours of the states outside of the table."""

_LAUNCH: Final = press("train", "plan")
_REFRESH: Final = press("refresh_prices", "plan")
_UNTAUGHT: Final[dict[Role, str]] = {
    "conversation": "no reply is worth learning",
    "feedback": "no reply has a label",
}
_SUM_CELLS: Final = 76
_RANGE_CELLS: Final = 16
_WITH_RANGES: Final = 60
_NOTE: Final = 600


def sum_layout(
    row: PlanRow,
    workload: Workload,
    today: date,
    *,
    launches: bool = False,
    account: Probe | str | None = None,
) -> Layout:
    """The lines of the breakdown pane.

    Args:
        launches: Whether this app can launch at the provider.
        account: What the provider reports about the account, or a progress text.
    """

    def lines(width: int) -> list[Content]:
        content = _headline(row, width)
        for text in _next(row, launches):
            content += hanging("→ ", text, width, "$accent")
        # The next step comes before the cost.
        for text in row.blockers:
            content += hanging("✗ ", one_line(text, _NOTE), width, "$text-error")
        if account is not None:
            content += _account(account, width)
        content += [Content(""), *_sum(row, min(width, _SUM_CELLS)), Content("")]
        content += _facts(row, workload, width, today)
        for text in row.warnings:
            content += hanging("! ", one_line(text, _NOTE), width, "$text-warning")
        for text in row.notes:
            content += hanging("· ", one_line(text, _NOTE), width, "$faint", "$text-muted")
        return content

    return lines


def _headline(row: PlanRow, width: int) -> list[Content]:
    # Blockers are listed below the headline and not repeated in it.
    text, style = state(row, short=row.reason in row.blockers)
    return hanging("", text, width, "", STYLES[style])


def _next(row: PlanRow, launches: bool) -> Iterator[str]:
    """The next step towards this plan, unless its blockers name it."""
    if row.state == "needs_key":
        key = row.reason.removeprefix("needs ").removeprefix("another ")
        key = key.split(" or ")[0].partition(";")[0]
        yield f"export it, or store it with waltzrl-tui doctor --set-key {key}"
    elif row.state == "needs_gpu":
        yield "run waltzrl-tui on a machine that has one, over ssh for example"
    elif row.state == "ready" and launches:
        yield f"{_LAUNCH} launches it (asks first)"
    elif row.state == "ready":
        yield (
            "the app does not launch there: write the files with waltzrl-tui data sample "
            f"--for {row.provider}"
        )


def _account(account: Probe | str, width: int) -> list[Content]:
    """What the provider reports about the account, and when."""
    if isinstance(account, str):
        return _fact("account", account, width)
    key = {True: "✓ key works", False: "✗ key refused", None: ""}[account.key_ok]
    tune = {True: "✓ account can fine-tune", False: "✗ account cannot fine-tune", None: ""}[
        account.allowed
    ]
    words = f"“{one_line(account.words, 200)}”" if account.words else ""
    at = f"checked {account.at[:16].replace('T', ' ')} UTC"
    bad = account.key_ok is False or account.allowed is False
    text = " · ".join(filter(None, (key, tune, words, at)))
    return _fact("account", text, width, "$text-warning" if bad else "")


def _sum(row: PlanRow, width: int) -> list[Content]:
    """The parts, a rule and the total, with the amounts under each other."""
    if row.total is None:
        return [Content.styled("No price; see the reason above.", "$text-muted")]
    decimals = enough_decimals(row.total, row.parts)
    amounts = [*(part.usd for part in row.parts), row.total]
    ranges = width >= _WITH_RANGES and any(map(spread, amounts))
    lines = []
    for part in row.parts:
        amount = money(part.usd.expected, decimals=decimals)
        span = spread(part.usd)
        lines += _entry(one_line(part.what, 200), amount, span if ranges else "", width, ranges)
    rule = width - (_RANGE_CELLS if ranges else 0)
    lines.append(Content.styled("─" * max(0, rule), "$line"))
    total = money(row.total.expected, decimals=decimals)
    span = spread(row.total)
    what = f"total, {agents_named(row.roles)}"
    lines += _entry(what, total, span if ranges else "", width, ranges, "bold $foreground")
    if span and not ranges:
        lines.append(Content.styled(f"between {span}", "$text-muted"))
    return lines


def _entry(
    what: str, amount: str, span: str, width: int, ranges: bool, style: str = ""
) -> list[Content]:
    end = width - (_RANGE_CELLS if ranges else 0)
    lines = hanging("", what, max(8, end - len(amount) - 2), "", style)
    gap = " " * max(1, end - lines[0].cell_length - len(amount))
    lines[0] = Content.assemble(
        lines[0], gap, (amount, style or "$foreground"), (f"{span:>{_RANGE_CELLS}}", "$faint")
    )
    return lines


def _facts(row: PlanRow, workload: Workload, width: int, today: date) -> list[Content]:
    lines = []
    if row.seconds is not None:
        lines += _fact(
            "time", f"{duration_range(*row.seconds)} for {agents_named(row.roles)}", width
        )
    if row.training_tokens:
        lines += _fact("tokens", _tokens(row, workload), width)
    if row.price_as_of is not None:
        how_old = age(row.price_as_of, row.price_stale, today)
        old = (
            f" — older than 90 days; {_REFRESH} fetches published prices" if row.price_stale else ""
        )
        text = f"{row.price_as_of.isoformat()} ({how_old}){old}"
        lines += _fact("price of", text, width, "$text-warning" if row.price_stale else "")
    if row.price_source:
        lines += _fact("source", one_line(row.price_source, _NOTE), width)
    return lines


def _tokens(row: PlanRow, workload: Workload) -> str:
    counted = f"{row.training_tokens:,} trained"
    if row.exact:
        return f"{counted}, counted with the model's own tokenizer"
    error = max((role.error for role in workload.roles.values()), default=0.0)
    return f"≈ {counted}, {_estimate(error)}"


def _fact(name: str, text: str, width: int, style: str = "") -> list[Content]:
    return hanging(f"{name:<10}", text, width, "$faint", style)


def load_layout(workload: Workload, roles: Sequence[Role]) -> Layout:
    """Rows and tokens of each role's file, and which agents cannot be trained."""

    def lines(width: int) -> list[Content]:
        content: list[Content] = []
        for name, role in workload.only(roles).roles.items():
            mark = "" if role.exact else "≈ "
            content += [
                _pair(name, plural(role.rows, "row"), width, "$foreground"),
                _pair("  tokens/epoch", f"{mark}{short_count(role.tokens)}", width),
                _pair("  longest row", f"{mark}{role.longest:,}", width),
            ]
            how = one_line(role.tokenizer, 60) if role.exact else _estimate(role.error)
            content.append(Content.styled(f"  {how}"[:width], "$faint"))
        for name, why in _UNTAUGHT.items():
            if name not in workload.roles:
                content += hanging("! ", f"no {name} agent: {why}", width, "$text-warning")
        return content

    return lines


def row_counts(workload: Workload) -> Content:
    """Rows to train and validate on, for the form."""
    first = next(iter(workload.roles.values()), None)
    if first is None:
        return Content.styled("✗ no usable row", "$text-error")
    return sample_size(first.rows, first.valid_rows)


def _estimate(error: float) -> str:
    return f"estimated ± {percent(error)}" if error else "estimated"


def _pair(name: str, value: str, width: int, style: str = "$text-muted") -> Content:
    gap = " " * max(1, width - len(name) - len(value))
    return Content.assemble((name, style), gap, (value, style))
