"""A table whose rows are known by ids, of any length: Jobs and Plan show one each.

Only rows on screen are built, and only those that changed are painted: of a thousand jobs of which
twenty report every second, twenty lines at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.cells import cell_len, set_cell_size
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from waltzrl_tui.tui.chart.plot import SLOTS
from waltzrl_tui.tui.tables.lines import LineList

Span = tuple[str, str]
"""A piece of text and the name of its style."""
Cell = Sequence[Span]


@dataclass(frozen=True, slots=True)
class TableColumn:
    """The heading of a column and its width in terminal cells.

    Of columns that do not fit, the one with the greatest `spare` goes first. A `width` of 0 takes
    what is left, at least `least`. A column with `room` is only shown when it leaves that much
    more to that one.
    """

    label: str
    width: int
    spare: int = 0
    right: bool = False
    least: int = 8
    room: int = 0


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row as it is shown: one cell a column, and the mark in front of them."""

    cells: tuple[Cell, ...]
    mark: Span = (" ", "text")


_GUTTER: Final = 3
_GAP: Final = 2
_READABLE: Final = 0.3


class KeyedTable(LineList):
    """Rows under fixed headings, with a cursor that stays on its id when rows move.

    Args:
        row: Builds the row of an id.
    """

    HEAD = 1
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"table--{name}"
        for name in ("heading", "text", "good", "bad", "busy", "idle", "faint", "rest")
    } | {f"table--run-{slot}" for slot in range(SLOTS)}
    DEFAULT_CSS = """
    KeyedTable {
        & > .line--cursor { background: $boost; color: $foreground; text-style: bold; }
        & > .table--heading { color: $faint; }
        & > .table--text { color: $foreground; }
        & > .table--good { color: $text-success; }
        & > .table--bad { color: $text-error; }
        & > .table--busy { color: $text-primary; }
        & > .table--idle { color: $text-warning; }
        & > .table--faint { color: $faint; }
        & > .table--rest { color: $line; }
        & > .table--run-0 { color: $text-primary; }
        & > .table--run-1 { color: $text-accent; }
        & > .table--run-2 { color: $text-success; }
        & > .table--run-3 { color: $text-secondary; }
        & > .table--run-4 { color: $foreground; }
        & > .table--run-5 { color: $text-muted; }
        &:focus > .line--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
    }
    """

    class Scrolled(Message):
        """Other rows are on screen."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, KeyedTable.Scrolled)

    def __init__(
        self, columns: Sequence[TableColumn], row: Callable[[str], TableRow], *, id: str
    ) -> None:
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._row = row
        self._ids: list[str] = []
        self._places: dict[str, int] = {}
        self._rows: dict[str, TableRow] = {}
        self._layout: list[tuple[int, int]] = []

    @property
    def selected(self) -> str | None:
        """The id at the cursor."""
        return self._ids[self.cursor] if self._ids else None

    @property
    def visible_ids(self) -> list[str]:
        """The ids on screen."""
        top = self.scroll_offset.y
        return self._ids[top : top + max(0, self.scrollable_content_region.height - self.HEAD)]

    def set_columns(self, columns: Sequence[TableColumn]) -> None:
        """Show these columns; the rows must fit them."""
        if tuple(columns) != self._columns:
            self._columns = tuple(columns)
            self._arrange()

    def show(self, ids: Sequence[str]) -> None:
        """Show these ids in this order; `update` paints what has changed of them."""
        if self._ids == list(ids):
            return
        selected = self.selected
        self._ids = list(ids)
        self._places = {id: place for place, id in enumerate(ids)}
        # A row that only moves is still the selected one, so nobody is notified.
        self.set_reactive(KeyedTable.cursor, self._places.get(selected or "", 0))
        first = not self.count
        self.count = len(ids)
        if not first and self.selected != selected:
            self.post_message(self.Moved(self, self.cursor))
        self.refresh()
        self.show_cursor()

    def update(self) -> None:
        """Paint the rows on screen that have changed."""
        width = self.scrollable_content_region.width
        rows = {id: self._row(id) for id in self.visible_ids}
        changed = [
            Region(0, place + self.HEAD, width, 1)
            for place, (id, row) in enumerate(rows.items())
            if self._rows.get(id) != row
        ]
        self._rows = rows
        if changed:
            self.refresh(*changed)

    def select(self, id: str) -> None:
        """Put the cursor on an id of the table."""
        self.cursor = self._places.get(id, self.cursor)

    def on_resize(self) -> None:
        self._arrange()
        super().on_resize()
        self.post_message(self.Scrolled())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self.post_message(self.Scrolled())

    def head(self, y: int, width: int) -> Strip:
        labels = [[(column.label, "heading")] for column in self._columns]
        spans = [(" " * _GUTTER, "heading"), *self._spans(labels)]
        return Strip(self._segments(spans, self.rich_style, False))

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        id = self._ids[index]
        row = self._rows.get(id) or self._row(id)
        gutter = [("▸" if here else " ", "text"), row.mark, (" ", "text")]
        return self._segments([*gutter, *self._spans(row.cells)], base, here)

    def _segments(self, spans: Sequence[Span], base: Style, here: bool) -> list[Segment]:
        styles = {name: self.get_component_rich_style(f"table--{name}") for _, name in spans}
        if here:
            styles = {name: _readable(style, base) for name, style in styles.items()}
        return [Segment(text, styles[name]) for text, name in spans]

    def _spans(self, cells: Sequence[Cell]) -> list[Span]:
        spans: list[Span] = []
        for column, size in self._layout:
            gap = [(" " * _GAP, "text")] if spans else []
            spans += [*gap, *_fitted(cells[column], size, self._columns[column].right)]
        return spans

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


def _readable(style: Style, ground: Style) -> Style:
    """`style` on the cursor's background: in its own colour if that can be read."""
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
