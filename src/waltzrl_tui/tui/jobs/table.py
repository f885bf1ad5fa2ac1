"""A table of jobs of any length: only the lines on screen are made, only changed ones painted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from waltzrl_tui.tui.chart.plot import HOLLOW, MARKERS, SLOTS

Span = tuple[str, str]
"""A piece of text and the name of its style."""
Cell = Sequence[Span]


@dataclass(frozen=True, slots=True)
class Column:
    """A column; of those that do not fit, the one with the greatest `spare` goes first.

    A `width` of 0 takes what is left, at least `least`. One with `room` is only shown when it
    leaves so much more to that one.
    """

    title: str
    width: int
    spare: int = 0
    right: bool = False
    least: int = 8
    room: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """A job as it is shown: one cell a column, and its slot in the chart if it is there.

    `marked` tells a job that stays in the chart from one that is there for the cursor.
    """

    cells: tuple[Cell, ...]
    slot: int | None = None
    marked: bool = False


_GUTTER: Final = 3
_GAP: Final = 2
_READABLE: Final = 0.3


class JobTable(ScrollView, can_focus=True):
    """Jobs under fixed headings, with a cursor that stays on its job when lines move."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "job-table--cursor",
        "job-table--heading",
        *(f"job-table--{name}" for name in ("text", "good", "bad", "busy", "idle")),
        *(f"job-table--{name}" for name in ("faint", "rest")),
        *(f"job-table--run-{slot}" for slot in range(SLOTS)),
    }
    BINDINGS = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "move(-1000000000)", "first", show=False),
        Binding("end", "move(1000000000)", "last", show=False),
    ]

    class Selected(Message):
        """The cursor is on another job."""

    class Opened(Message):
        """A job was clicked twice."""

    class Scrolled(Message):
        """Other lines are on screen."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, JobTable.Scrolled)

    def __init__(
        self, columns: Sequence[Column], line: Callable[[str], Line], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._line = line
        self._ids: list[str] = []
        self._places: dict[str, int] = {}
        self._lines: dict[str, Line] = {}
        self._layout: list[tuple[int, int]] = []
        self._styles: dict[tuple[str, bool], Style] = {}
        self.selected: str | None = None

    @property
    def visible_ids(self) -> list[str]:
        """The jobs on screen."""
        top = round(self.scroll_y)
        return self._ids[top : top + max(0, self.scrollable_content_region.height - 1)]

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show these columns; the lines have to fit them."""
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self._arrange()

    def show(self, ids: Sequence[str]) -> None:
        """Show these jobs in this order; what has changed of them is painted by `update`."""
        if self._ids != ids:
            self._ids = list(ids)
            self._places = {id: place for place, id in enumerate(ids)}
            if self.selected not in self._places:
                self.selected = ids[0] if ids else None
                self.post_message(self.Selected())
            self.virtual_size = Size(0, len(ids) + 1)
            self.refresh(layout=True)
            self._keep_in_view()

    def update(self) -> None:
        """Paint again the lines on screen that have changed."""
        width = self.scrollable_content_region.width
        lines = {id: self._line(id) for id in self.visible_ids}
        changed = [
            Region(0, place + 1, width, 1)
            for place, (id, line) in enumerate(lines.items())
            if self._lines.get(id) != line
        ]
        self._lines = lines
        if changed:
            self.refresh(*changed)

    def select(self, id: str) -> None:
        """Put the cursor on a job of the table."""
        if id in self._places and id != self.selected:
            self.selected = id
            self._keep_in_view()
            self.refresh()
            self.post_message(self.Selected())

    def action_move(self, by: int) -> None:
        if self._ids:
            place = self._places.get(self.selected or "", 0) + by
            self.select(self._ids[max(0, min(len(self._ids) - 1, place))])

    def action_page(self, by: int) -> None:
        self.action_move(by * max(1, self.scrollable_content_region.height - 2))

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < 1:
            return
        place = offset.y - 1 + round(self.scroll_y)
        if place < len(self._ids):
            self.select(self._ids[place])
            if event.chain == 2:
                self.post_message(self.Opened())

    def on_resize(self) -> None:
        self._arrange()
        self._keep_in_view()
        self.post_message(self.Scrolled())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            cells = [[(column.title, "heading")] for column in self._columns]
            return self._strip(cells, [(" " * _GUTTER, "heading")], False, width)
        place = y - 1 + round(self.scroll_y)
        if place >= len(self._ids):
            return Strip.blank(width, self.rich_style)
        id = self._ids[place]
        line = self._lines.get(id) or self._line(id)
        chosen = id == self.selected
        mark = (" ", "text")
        if line.slot is not None:
            mark = ((MARKERS if line.marked else HOLLOW)[line.slot], f"run-{line.slot}")
        return self._strip(
            line.cells, [("▸" if chosen else " ", "text"), mark, (" ", "text")], chosen, width
        )

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles = {}

    def _strip(
        self, cells: Sequence[Cell], gutter: Sequence[Span], chosen: bool, width: int
    ) -> Strip:
        spans = list(gutter)
        for number, (column, size) in enumerate(self._layout):
            if number:
                spans.append((" " * _GAP, "text"))
            spans += _fitted(cells[column], size, self._columns[column].right)
        segments = [Segment(text, self._span_style(name, chosen)) for text, name in spans]
        return Strip(segments).adjust_cell_length(width, self._span_style("text", chosen))

    def _span_style(self, name: str, chosen: bool) -> Style:
        found = self._styles.get((name, chosen))
        if found is None:
            found = self.get_component_rich_style(f"job-table--{name}")
            if chosen:
                found = _on(found, self.get_component_rich_style("job-table--cursor"))
            self._styles[name, chosen] = found
        return found

    def _arrange(self) -> None:
        """Choose the columns that fit, and give the open one what they leave."""
        width = self.scrollable_content_region.width - _GUTTER
        chosen = list(range(len(self._columns)))

        def needed() -> int:
            sizes = [self._columns[n].width or self._columns[n].least for n in chosen]
            return sum(sizes) + _GAP * (len(chosen) - 1)

        def wanted() -> int:
            return needed() + max(self._columns[n].room for n in chosen)

        while len(chosen) > 1 and wanted() > width:
            chosen.remove(max(chosen, key=lambda n: self._columns[n].spare))
        extra = max(0, width - needed())
        self._layout = [
            (n, self._columns[n].width or self._columns[n].least + extra) for n in chosen
        ]
        self.refresh()

    def _keep_in_view(self) -> None:
        """Scroll as little as the cursor needs."""
        height = max(1, self.scrollable_content_region.height - 1)
        place = self._places.get(self.selected or "", 0)
        top = round(self.scroll_y)
        if not top <= place < top + height:
            wanted = place if place < top else place - height + 1
            self.scroll_to(y=wanted, animate=False, force=True)


def _on(style: Style, ground: Style) -> Style:
    """`style` on the cursor's ground: in its own colour if that can be read."""
    bold = Style(bgcolor=ground.bgcolor, bold=ground.bold)
    apart = abs(_brightness(style.color) - _brightness(ground.bgcolor))
    return style + (bold if apart >= _READABLE else bold + Style(color=ground.color))


def _brightness(color: Color | None) -> float:
    """From 0 (black) to 1 (white), as the eye weighs the colours."""
    if color is None:
        return 0.5
    red, green, blue = color.get_truecolor()
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


def _fitted(cell: Cell, size: int, right: bool) -> list[Span]:
    """The spans of a cell filled up, or cut, to `size` terminal cells."""
    blank = size - sum(cell_len(text) for text, _ in cell)
    if blank < 0:
        cut = set_cell_size("".join(text for text, _ in cell), max(0, size - 1)) + "…"
        return [(cut, cell[0][1])]
    pad = (" " * blank, "text")
    return [pad, *cell] if right else [*cell, pad]
