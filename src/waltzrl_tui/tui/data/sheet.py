"""The full profile of a dataset, for which the Data screen has no room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.label_values import format_label_values
from waltzrl_tui.datasets.profiling.figures import TOKEN_BUCKETS, Profile
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.data.figures import bar
from waltzrl_tui.tui.data.profile import harm_style
from waltzrl_tui.tui.data.waste import waste_table
from waltzrl_tui.tui.plan.sheet import Layout, Sheet, hanging
from waltzrl_tui.tui.shell.keys import press
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.words import percent, plural, short_count

if TYPE_CHECKING:
    from waltzrl_tui.plans.waste import PricedWaste

_LABEL: Final = 24
_CATEGORIES: Final = 40
_BUCKET: Final = 12


class ProfileDialog(ModalScreen[bool]):
    """Shows all figures of a profile; returns whether to open its findings."""

    BINDINGS = [
        Binding("d", "dismiss(True)", "duplicates"),
        Binding("escape,q,p", "dismiss(False)", "close"),
    ]
    DEFAULT_CSS = "ProfileDialog Sheet { min-height: 0; }"

    def __init__(self, profile: Profile, priced: PricedWaste | None) -> None:
        super().__init__()
        self._profile = profile
        self._sheet = Sheet()
        self._sheet.show(profile_layout(profile, priced))

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = Content(f"Profile of {one_line(self._profile.path.name, 50)}")
            box.border_subtitle = "↑↓ scroll · d open these rows · esc close"
            yield self._sheet


def profile_layout(profile: Profile, priced: PricedWaste | None) -> Layout:
    """Rows, waste in dollars, tokens by role, refusals, labels, contamination, personal data."""

    def lines(width: int) -> list[Content]:
        parts = [
            list(_rows(profile, width)),
            waste_table(profile, width, priced),
            list(_tokens(profile, width)),
            list(_shares("harm label", profile.labels["harm"], profile.rows, width)),
            list(_shares("category", profile.labels["category"], profile.rows, width)),
        ]
        shown = [part for part in parts if part]
        return [line for part in shown for line in (*part, Content(""))][:-1]

    return lines


def _rows(profile: Profile, width: int) -> Iterable[Content]:
    yield from _fact("rows", f"{profile.rows:,}", width)
    if profile.bad_row_count:
        bad = f"{profile.bad_row_count:,}, left out and not paid for; {press('bad_rows', 'data')}"
        yield from _fact("✗ bad rows", f"{bad} shows them", width, "$text-error")
    for name, different in (
        ("prompts", profile.prompts),
        ("replies", profile.replies),
        ("pairs", profile.pairs),
    ):
        near = profile.near.get(name, different)
        fewer = f", {near:,} counting near duplicates once" if near != different else ""
        if different:
            yield from _fact(name, f"{different:,} different{fewer}", width)
    if profile.refusals.rows:
        yield from _fact("refusals", _refusals(profile), width)
    for label, values in profile.label_values.items():
        if values:
            style = "" if all(each.meaning for each in values) else "$text-warning"
            yield from _fact(f"{label} label", format_label_values(values, 12), width, style)
    if profile.contradicting.prompts:
        words = contradiction_warning(profile.contradicting.prompts)
        yield from _fact("✗ both labels", words, width, "$text-warning")
    suites = ", ".join(
        f"{one_line(name, 40)} {rows:,}" for name, rows in profile.contaminated.suites.items()
    )
    if profile.contaminated.rows:
        text = f"{plural(profile.contaminated.rows, 'row')}: {suites}"
        yield from _fact("✗ in evaluation", text, width, "$text-warning")
    else:
        yield from _fact("in evaluation", "no overlap with evaluation suites", width)
    if profile.personal.rows:
        kinds = ", ".join(f"{kind} {rows:,}" for kind, rows in profile.personal.kinds.items())
        text = f"{plural(profile.personal.rows, 'row')}: {kinds}"
        yield from _fact("✗ personal data", text, width, "$text-warning")
    else:
        yield from _fact("personal data", "none, and no secrets", width)


def _refusals(profile: Profile) -> str:
    refusals = profile.refusals
    about = "" if refusals.looked_at == refusals.rows else "about "
    total = f"{about}{percent(refusals.share)} of {plural(refusals.rows, 'reply', 'replies')}"
    by_harm = ", ".join(
        f"{refused:,} of {rows:,} to {harm} prompts"
        for harm, (refused, rows) in refusals.by_harm.items()
        if harm and rows
    )
    return f"{total}: {by_harm}" if by_harm else total


def _fact(name: str, text: str, width: int, style: str = "") -> list[Content]:
    return hanging(f"{name:<17}", text, width, style or "$faint", style)


def _tokens(profile: Profile, width: int) -> Iterable[Content]:
    """Rows by tokens: of the prompts, of the replies, and of both together."""
    sides = [(name, each) for name, each in profile.sides.items() if each.total]
    columns = [(f"{name} ≈ {short_count(each.total)}", each.histogram) for name, each in sides]
    if len(columns) != 1:
        columns.append((f"rows ≈ {short_count(profile.tokens)}", profile.histogram))
    if not any(any(counts) for _, counts in columns):
        return
    cell = max(12, (width - _BUCKET) // len(columns))
    heads = "".join(fit(name, cell) for name, _ in columns)
    yield Content.styled(f"{'tokens':<{_BUCKET}}{heads}".rstrip(), "$faint")
    bounds = [f"≤ {bound:,}" for bound in TOKEN_BUCKETS] + ["more"]
    filled = [place for place, _ in enumerate(bounds) if any(each[place] for _, each in columns)]
    for place in range(filled[0], filled[-1] + 1):
        parts: list[Content | str | tuple[str, str]] = [
            (f"{bounds[place]:<{_BUCKET}}", "$text-muted")
        ]
        for _, counts in columns:
            parts += _bar(counts, place, cell)
        yield Content.assemble(*parts)
    yield Content.styled(f"longest row ≈ {profile.longest:,} tokens, estimated", "$text-muted")


def _bar(counts: Sequence[int], place: int, cell: int) -> list[tuple[str, str]]:
    """One bucket of one histogram, `cell` cells wide: the bar and the count."""
    digits = len(f"{max(counts):,}")
    room = max(1, cell - digits - 3)
    drawn = bar(counts[place] / max(1, *counts), room)
    shown = f"{counts[place]:>{digits},}" if counts[place] else " " * digits
    return [(drawn.ljust(room), "$primary"), (f" {shown}  ", "")]


def _shares(title: str, counts: dict[str, int], rows: int, width: int) -> Iterable[Content]:
    """A bar per value, with its rows and their share."""
    if not any(counts):
        return
    digits = len(f"{max(counts.values()):,}")
    room = max(1, width - _LABEL - digits - 7)
    top = max(counts.values())
    yield Content.styled(f"{title}, {plural(len(counts), 'value')}", "$faint")
    for name, count in list(counts.items())[:_CATEGORIES]:
        style = harm_style(name) if title == "harm label" else "$primary"
        yield Content.assemble(
            (fit(one_line(name, 60) or "(none)", _LABEL - 1) + " ", "$text-muted"),
            (bar(count / top, room).ljust(room), style),
            f" {count:>{digits},}",
            (f"{percent(count / max(1, rows)):>6}", "$text-muted"),
        )
    if len(counts) > _CATEGORIES:
        yield Content.styled(f"… and {len(counts) - _CATEGORIES:,} more", "$faint")
