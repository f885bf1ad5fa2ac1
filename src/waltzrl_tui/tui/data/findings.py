"""Rows that nobody should pay for, by reason, as a list that opens them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen

from waltzrl_tui.datasets.profiling.figures import Profile
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.data.waste import waste_table
from waltzrl_tui.tui.plan.sheet import Sheet
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import Filter, OpenDataset
from waltzrl_tui.words import plural

if TYPE_CHECKING:
    from waltzrl_tui.plans.waste import PricedWaste

_ONE: Final = {"pairs": "pair", "prompts": "prompt", "replies": "reply"}
"""What clusters are made of, most expensive kind first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows that share a problem.

    Attributes:
        name: The reason. `detail`: more about it.
        rows: Their number; `lines` (from 0) are the first of them.
    """

    name: str
    detail: str
    rows: int
    lines: list[int]

    def filter(self) -> Filter:
        more = "" if len(self.lines) >= self.rows else f" (of {self.rows:,})"
        return Filter(f"{self.name}{more}", array("Q", sorted(set(self.lines))), kind="lines")


def findings(profile: Profile) -> list[Finding]:
    """All groups of rows in the profile that can be opened, most expensive kind first."""
    groups: list[Finding] = []

    def add(name: str, detail: str, rows: int, numbers: Iterable[int]) -> None:
        lines = [number - 1 for number in numbers]
        groups.append(Finding(name=name, detail=detail, rows=rows, lines=lines))

    if rows := profile.contaminated.rows:
        suites = ", ".join(one_line(name, 30) for name in profile.contaminated.suites)
        lines = (one.line for one in profile.contaminated.examples)
        add("in an evaluation suite", suites, rows, lines)
    if rows := profile.contradicting.rows:
        prompts = plural(profile.contradicting.prompts, "prompt")
        add("both harmful and benign", prompts, rows, profile.contradicting.lines)
    if rows := profile.personal.rows:
        kinds = ", ".join(f"{name} {count:,}" for name, count in profile.personal.kinds.items())
        add(
            "personal data or secrets", kinds, rows, (one.line for one in profile.personal.examples)
        )
    order = list(_ONE)
    for cluster in sorted(profile.clusters, key=lambda one: (order.index(one.what), -one.rows)):
        name, detail = f"the same {_ONE[cluster.what]}", ""
        if cluster.texts > 1:
            name = f"nearly {name}"
            detail = f"{plural(cluster.texts, 'wording')}, similarity ≥ {cluster.similarity:.2f}"
        add(name, detail, cluster.rows, cluster.lines)
    return groups


def first_texts(source: OpenDataset, groups: Sequence[Finding]) -> list[str]:
    """The prompt, or the reply, of the first row of each finding. Blocks."""
    lines = [source.lines(one.lines[0], 1) if one.lines else [] for one in groups]
    return [
        (line[0].reply if one.name.endswith("reply") else line[0].prompt) if line else ""
        for one, line in zip(groups, lines, strict=True)
    ]


class FindingList(LineList):
    """Findings, one per line: rows, reason, and the start of the first row."""

    DEFAULT_CSS = "FindingList { height: auto; max-height: 20; background: $surface; }"

    def __init__(self, groups: Sequence[Finding], first: Sequence[str]) -> None:
        super().__init__(id="findings")
        self._findings, self._first = groups, first

    def on_mount(self) -> None:
        self.count = len(self._findings)

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        one = self._findings[index]
        digits = max(len(f"{each.rows:,}") for each in self._findings)
        name = max(len(each.name) for each in self._findings)
        faint = self.part("line--faint", base)
        head = f"{'▸ ' if here else '  '}{one.rows:>{digits},} × {fit(one.name, name)}  "
        rest = max(1, width - len(head))
        text = self._first[index] if index < len(self._first) else ""
        detail = f"{one.detail}  " if one.detail else ""
        if len(detail) + 12 > rest:
            detail = ""
        return [
            Segment(head, base),
            Segment(detail, faint),
            Segment(fit(text, max(0, rest - len(detail))), base),
        ]


class FindingsDialog(ModalScreen[Finding | None]):
    """Asks which finding to open.

    Args:
        first: The start of the first row of each finding.
    """

    BINDINGS = [
        Binding("enter", "choose", "show rows"),
        Binding("escape,q,d", "dismiss", "close"),
    ]
    DEFAULT_CSS = "FindingsDialog Sheet { min-height: 0; }"

    def __init__(
        self,
        profile: Profile,
        groups: Sequence[Finding],
        first: Sequence[str],
        priced: PricedWaste | None = None,
    ) -> None:
        super().__init__()
        self._list = FindingList(groups, first)
        self._findings = groups
        self._waste = Sheet()
        self._waste.show(lambda width: [*waste_table(profile, width, priced), Content("")])

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Check these rows before paying"
            box.border_subtitle = "enter show these rows · esc close"
            yield self._waste
            yield self._list

    def on_mount(self) -> None:
        self._list.focus()

    @on(LineList.Chosen)
    def action_choose(self) -> None:
        if self._findings:
            self.dismiss(self._findings[self._list.cursor])
