"""The columns of the open dataset: to sort by, and to see how the rows are spread over them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.datasets.query.columns import QueryColumn
from waltzrl_tui.datasets.query.query import column_values
from waltzrl_tui.datasets.query.values import Histogram, HistogramBar
from waltzrl_tui.datasets.reading.rows import Mapping
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.data.figures import bar
from waltzrl_tui.tui.shell.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.tables.columns import fit
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import OpenDataset
from waltzrl_tui.words import percent, plural, short_count

_PAUSE: Final = 0.12


@dataclass(frozen=True, slots=True)
class ColumnChoice:
    """A column that is offered: its name for the user, and the expression behind it."""

    name: str
    value: str


def choices(columns: Sequence[QueryColumn], mapping: Mapping) -> list[ColumnChoice]:
    """The columns to offer: those that the mapping makes, then fields that none is made of."""
    offered = [ColumnChoice(name, name) for name in ("harm", "category") if mapping.text(name)]
    texts = [name for name in ("prompt", "reply") if mapping.text(name)]
    if any(column.name == "tokens" and not column.field for column in columns):
        offered.append(ColumnChoice("tokens", "tokens"))
    offered += [ColumnChoice(f"length of {name}", f"length({name})") for name in texts]
    offered += [ColumnChoice(name, name) for name in texts]
    fields = [one for one in columns if one.field and one.name not in mapping.fields]
    return offered + [ColumnChoice(one_line(field.name, 40), field.quoted) for field in fields]


class ColumnList(LineList):
    """The names of columns; `mark` stands beside the one that is in use."""

    DEFAULT_CSS = "ColumnList { height: auto; width: 22; background: $surface; }"

    def __init__(
        self, columns: Sequence[ColumnChoice], mark: Callable[[ColumnChoice], str]
    ) -> None:
        super().__init__(id="columns")
        self._columns = columns
        self._mark = mark

    def on_mount(self) -> None:
        self.count = len(self._columns)

    @property
    def chosen(self) -> ColumnChoice:
        return self._columns[self.cursor]

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        column = self._columns[index]
        mark = self._mark(column)
        name = fit(column.name, max(1, width - 3 - len(mark)))
        return [Segment("▸ " if here else "  ", base), Segment(name, base), Segment(mark, base)]


@dataclass(frozen=True, slots=True)
class Sorting:
    """What to sort by; the order of the file when `value` is empty."""

    value: str
    descending: bool


class SortDialog(ModalScreen[Sorting | None]):
    """Asks what to sort by. A column that is sorted by already turns round, then off."""

    BINDINGS = [
        Binding("enter,o", "choose", "sort"),
        Binding("a", "choose('up')", "up"),
        Binding("d", "choose('down')", "down"),
        Binding("u", "choose('off')", "unsorted"),
        Binding("escape,q", "dismiss", "cancel"),
    ]
    DEFAULT_CSS = """
    SortDialog ColumnList { width: 1fr; max-height: 14; }
    """

    def __init__(self, columns: Sequence[ColumnChoice], now: Sorting) -> None:
        super().__init__()
        self._columns, self._now = columns, now
        self._list = ColumnList(columns, self._mark)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Sort the rows by"
            box.border_subtitle = "esc cancel"
            yield self._list
            keys = (("enter", "up, down, off"), ("a", "up"), ("d", "down"), ("u", "not sorted"))
            yield Static(_keys(keys))

    def on_mount(self) -> None:
        values = [column.value for column in self._columns]
        self._list.focus()
        if self._now.value in values:
            self.call_after_refresh(self._list.__setattr__, "cursor", values.index(self._now.value))

    def _mark(self, column: ColumnChoice) -> str:
        if column.value != self._now.value:
            return ""
        return " ▼" if self._now.descending else " ▲"

    @on(LineList.Chosen)
    def _clicked(self) -> None:
        self.action_choose()

    def action_choose(self, way: str = "") -> None:
        value = self._list.chosen.value
        if not way:
            known = self._now.value == value
            way = "up" if not known else "off" if self._now.descending else "down"
        self.dismiss(Sorting("" if way == "off" else value, way == "down"))


class BarList(LineList):
    """Values and how many rows have them, as bars."""

    DEFAULT_CSS = "BarList { height: 1fr; width: 1fr; background: $surface; }"

    def __init__(self) -> None:
        super().__init__(id="bars")
        self._bars: tuple[HistogramBar, ...] = ()
        self._rows = self._top = 0

    def show(self, histogram: Histogram | None) -> None:
        self._bars = histogram.bars if histogram else ()
        self._rows = histogram.rows if histogram else 0
        self._top = max((one.rows for one in self._bars), default=0)
        self.cursor = 0
        self.count = len(self._bars)
        self.refresh()

    @property
    def chosen(self) -> HistogramBar | None:
        return self._bars[self.cursor] if self.count else None

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        one = self._bars[index]
        label = max(8, min(28, width * 2 // 5))
        count = f" {one.rows:>{len(f'{self._top:,}')},}"
        share = f"{one.rows * 100 / max(1, self._rows):5.1f}%"
        room = max(1, width - 3 - label - len(count) - len(share))
        drawn = bar(one.rows / self._top if self._top else 0, room)
        faint = self.part("line--faint", base)
        return [
            Segment("▸ " if here else "  ", base),
            Segment(fit(one_line(one.label, 80), label) + " ", base),
            Segment(drawn.ljust(room), self.part("bar--bar", base)),
            Segment(count, base),
            Segment(share, faint),
        ]

    COMPONENT_CLASSES = {"bar--bar"}


class HistogramDialog(ModalScreen[str | None]):
    """How the rows are spread over each column; the answer finds the rows of one bar."""

    BINDINGS = [
        Binding("enter", "choose", "show rows"),
        Binding("right,l", "bars", "bars", show=False),
        Binding("left", "columns", "columns", show=False),
        Binding("escape", "back", "back"),
        Binding("q,h", "dismiss", "close"),
    ]
    DEFAULT_CSS = """
    HistogramDialog Horizontal { height: 1fr; }
    HistogramDialog ColumnList { height: 1fr; margin-right: 1; }
    HistogramDialog BarList > .bar--bar { color: $primary; }
    HistogramDialog #histogram-status { height: 1; color: $text-muted; }
    HistogramDialog #histogram-keys { height: 1; }
    """

    def __init__(self, source: OpenDataset, columns: Sequence[ColumnChoice]) -> None:
        super().__init__()
        self._source = source
        self._list = ColumnList(columns, lambda _: "")
        self._bars = BarList()
        self._status = Static(id="histogram-status", markup=False)
        self._known: dict[str, Histogram] = {}

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"Columns of {one_line(self._source.path.name, 40)}")
            box.border_subtitle = "esc close"
            with Horizontal():
                yield self._list
                yield self._bars
            yield self._status
            keys = (("↑↓", "column"), ("→", "bars"), ("enter", "show these rows"))
            yield Static(_keys(keys), id="histogram-keys")

    def on_mount(self) -> None:
        self._list.focus()

    @on(LineList.Moved, "#columns")
    def _moved(self) -> None:
        run_exclusive(self, "histogram", partial(self._load, self._list.chosen))

    @on(LineList.Chosen, "#bars")
    def action_choose(self) -> None:
        if self.focused is self._list:
            self.action_bars()
        elif (chosen := self._bars.chosen) and chosen.where:
            self.dismiss(chosen.where)

    def action_bars(self) -> None:
        if self._bars.count:
            self._bars.focus()

    def action_columns(self) -> None:
        self._list.focus()

    def action_back(self) -> None:
        if self.focused is self._bars:
            self._list.focus()
        else:
            self.dismiss(None)

    async def _load(self, column: ColumnChoice) -> None:
        histogram = self._known.get(column.value)
        if histogram is None:
            # Who only passes by does not have the file read.
            await asyncio.sleep(_PAUSE)
            self._bars.show(None)
            self._status.update("counting…")
            try:
                histogram = await self._count(column)
            except WaltzError as error:
                self._status.update(f"✗ {printable(str(error))}")
                return
            if histogram is None:
                return
            self._known[column.value] = histogram
        self._bars.show(histogram)
        self._status.update(_summary(histogram))

    async def _count(self, column: ColumnChoice) -> Histogram | None:
        source = self._source

        def so_far(read: int) -> None:
            if self._list.chosen is column and column.value not in self._known:
                self._status.update(f"counting, {percent(read / max(1, source.size))}")

        on_progress = from_thread(so_far)

        def work(stop: Callable[[], bool]) -> Histogram | None:
            values = column_values(
                source.path, source.mapping, column.value, on_progress=on_progress, stop=stop
            )
            if values is None:
                return None
            try:
                return values.histogram()
            finally:
                values.close()

        return await in_thread(work)


def _summary(histogram: Histogram) -> str:
    parts = [plural(histogram.rows, "row"), f"{histogram.different:,} different"]
    if histogram.summary:
        low, middle, high, total = histogram.summary
        parts.append(f"{_figure(low)} to {_figure(high)}, median {_figure(middle)}")
        parts.append(f"sum {short_count(round(total))}")
    return " · ".join(parts)


def _figure(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:.4g}"


def _keys(keys: Sequence[tuple[str, str]]) -> Content:
    parts: list[Content | str | tuple[str, str]] = []
    for cap, what in keys:
        parts += [(f"{cap} ", "bold $accent"), (f"{what}   ", "$text-muted")]
    return Content.assemble(*parts)
