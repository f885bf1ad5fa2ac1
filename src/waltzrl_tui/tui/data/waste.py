"""Rows that cost money and teach nothing: in rows, tokens and dollars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from textual.app import App
from textual.content import Content

from waltzrl_tui.datasets.profiling.figures import Profile, Waste
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.waltz.prompts import agents_named
from waltzrl_tui.words import money, short_count

if TYPE_CHECKING:
    from waltzrl_tui.plans.model import PlanSettings
    from waltzrl_tui.plans.waste import PricedWaste

REASONS: Final = {
    "exact": ("exact duplicates", "duplicates", "copies"),
    "near": ("near duplicates", "near ones"),
    "contaminated": ("in an evaluation suite", "in evaluation", "in a suite"),
}
"""Labels of the reasons why rows are not worth paying for, longest first."""

_IN_ALL: Final = "in all"
_WITH_TOKENS: Final = 54
_PLAN: Final = press("show('plan')", "data")


def chosen_settings(app: App[Any]) -> PlanSettings | None:
    """The run and provider chosen on the Plan screen; None before it was opened."""
    try:
        screen = app.get_screen_stack("plan")[0]
    except (KeyError, IndexError):
        return None
    settings: PlanSettings | None = getattr(screen, "waste_settings", None)
    return settings


def named_line(names: tuple[str, ...], value: str, width: int, style: str = "") -> Content:
    """The longest of `names` that fits on the left, `value` on the right."""
    room = max(1, width - len(value) - 1)
    name = next((each for each in names if len(each) <= room), names[-1])
    return Content.assemble((f"{fit(name, room)} ", style or "$text-muted"), (value, style))


def waste_lines(profile: Profile, width: int, priced: PricedWaste | None) -> list[Content]:
    """A line per reason, for a narrow pane, and the provider whose prices apply."""
    wasted, rows, tokens = _wasted(profile)
    if not wasted:
        return []
    lines = []
    if len(wasted) > 1:
        value = f"{rows:,}{_cost(priced, _IN_ALL)}"
        lines.append(named_line(("wasted",), value, width, "bold $text-warning"))
    lead = "  " if len(wasted) > 1 else ""
    for reason, waste in wasted.items():
        names = tuple(f"{lead}{name}" for name in REASONS[reason])
        value = f"{waste.rows:,}{_cost(priced, reason)}"
        lines.append(named_line(names, value, width, "$text-warning"))
    caption = f"≈ {short_count(tokens)} tokens"
    if priced is not None:
        caption = f"at {one_line(priced.title, 20)}, {_epochs(priced)}"
    lines.append(Content.styled(fit(caption.rjust(width), width), "$faint"))
    return lines


def waste_table(profile: Profile, width: int, priced: PricedWaste | None) -> list[Content]:
    """The same as a table, with a sentence on what the prices apply to."""
    wasted, all_rows, all_tokens = _wasted(profile)
    if not wasted:
        return [Content.styled("✓ no duplicates", "$text-success")]
    figures = [
        (REASONS[reason][0], waste.rows, waste.tokens, reason) for reason, waste in wasted.items()
    ]
    if len(wasted) > 1:
        figures.append(("total", all_rows, all_tokens, _IN_ALL))
    with_tokens = width >= _WITH_TOKENS
    heads = f"{'not worth paying for':<24}{'rows':>9}"
    heads += f"{'tokens':>11}" if with_tokens else ""
    lines = [Content.styled(f"{heads}{'USD':>10}" if priced else heads, "$faint")]
    for name, rows, tokens, reason in figures:
        text = f"{name:<24}{rows:>9,}"
        text += f"{'≈ ' + short_count(tokens):>11}" if with_tokens else ""
        text += f"{money(priced.usd[reason]):>10}" if priced else ""
        lines.append(Content.styled(text, "bold $text-warning" if reason == _IN_ALL else ""))
    for sentence in _price_basis(priced):
        lines += Content.styled(sentence, "$text-muted").wrap(max(8, width))
    return lines


def _price_basis(priced: PricedWaste | None) -> list[str]:
    """Whose prices these are, for which run, and how to change that."""
    if priced is None:
        return []
    who = one_line(priced.title, 40)
    who += f", as chosen on {_PLAN} Plan" if priced.chosen else ", the cheapest hosted provider"
    settings = priced.settings
    run = f"{agents_named(settings.roles)}, {settings.method.upper()}, {_epochs(priced)}"
    other = [] if priced.chosen else [f"Choose another on {_PLAN} Plan."]
    return [f"at {who}: {run}", *other]


def _epochs(priced: PricedWaste) -> str:
    epochs = priced.settings.epochs
    return f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}"


def _wasted(profile: Profile) -> tuple[dict[str, Waste], int, int]:
    """What is wasted by reason, and the rows and tokens of all of it."""
    reasons = (reason for reason in REASONS if reason in profile.waste)
    wasted = {reason: profile.waste[reason] for reason in reasons if profile.waste[reason].rows}
    rows = sum(waste.rows for waste in wasted.values())
    return wasted, rows, sum(waste.tokens for waste in wasted.values())


def _cost(priced: PricedWaste | None, reason: str) -> str:
    if priced is None or reason not in priced.usd:
        return ""
    amount = money(priced.usd[reason])
    return f" {amount}" if amount.startswith("<") else f" = {amount}"
