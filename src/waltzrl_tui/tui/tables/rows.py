"""The table over the rows of one dataset, of any length.

Not Textual's `DataTable` or textual-fastdatatable, which hold all rows in memory: this one shows a
JSONL file of any size, bad rows included, while its lines are still being counted.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual.content import Content
from textual.widget import Widget

from waltzrl_tui.tui.tables.columns import GAP, Column, columns, fit
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import Line, OpenDataset

_PAGE: Final = 64
_PAGES_KEPT: Final = 32


class RowTable(LineList):
    """Rows of the open dataset, all or filtered, in any order.

    Pages are read in a thread when they come into sight, together with their neighbours; until
    then their lines are empty.
    """

    COMPONENT_CLASSES = {"row--harmful", "row--benign", "row--bad", "row--category", "row--match"}
    DEFAULT_CSS = """
    RowTable {
        height: 1fr;
        scrollbar-gutter: stable;
        & > .row--harmful { color: $unsafe; }
        & > .row--benign { color: $safe; }
        & > .row--bad { color: $text-error; }
        & > .row--category { color: $text-muted; }
        & > .row--match { color: $accent; text-style: bold; }
    }
    """

    def __init__(self) -> None:
        super().__init__(id="rows")
        self._source: OpenDataset | None = None
        # The lines that are shown, in this order; all lines of the file when None.
        self._lines: array[int] | None = None
        self._ascending = True
        self._mark = ""
        # A page and how many entries there were when it was read: the last one may be longer now.
        self._pages: OrderedDict[int, tuple[list[Line], int]] = OrderedDict()
        self._loading = False

    def show(
        self,
        source: OpenDataset | None,
        lines: array[int] | None = None,
        *,
        ascending: bool = True,
        mark: str = "",
    ) -> None:
        """Show a dataset, or `lines` of it, with the text `mark` marked in them."""
        moved = source is not self._source
        number = self.line_number()
        self._source, self._lines = source, lines
        self._ascending, self._mark = ascending, mark.casefold()
        self._pages.clear()
        self.grow()
        self.cursor = 0 if moved or lines is not None else (number or 0)
        self.refresh()
        if not moved and source is not None:
            self.post_message(self.Moved(self, self.cursor))

    def grow(self) -> None:
        """Show lines counted or matched since."""
        if self._lines is not None:
            self.count = len(self._lines)
        else:
            self.count = self._source.index.rows if self._source else 0

    def line_number(self) -> int | None:
        """The number in the file of the line under the cursor, from 0."""
        if not self.count:
            return None
        return self.cursor if self._lines is None else int(self._lines[self.cursor])

    def go_to(self, number: int) -> None:
        """Put the cursor on line `number` (from 0) of the file, or the next one that is shown."""
        if self._lines is None:
            self.cursor = number
        elif self._ascending:
            self.cursor = bisect_left(self._lines, number)
        elif number in self._lines:
            self.cursor = self._lines.index(number)

    def layout_columns(self, width: int) -> tuple[Column, ...]:
        if self._source is None:
            return ()
        return columns(self._source.mapping, width, self._source.index.rows)

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        marker = Segment("▸ " if here else "  ", base)
        layout = self.layout_columns(width - 2)
        line = self._line(index)
        if line is None:
            return [marker]
        faint = self.part("line--faint", base)
        digits = f"{line.number + 1:>{layout[0].width}}" + " " * GAP
        parts = [marker, Segment(digits, base if here else faint)]
        rest = width - 2 - len(digits)
        if line.blank:
            return [*parts, Segment("blank line", faint)]
        if line.bad:
            return [*parts, Segment(fit(f"✗ {line.bad}", rest), self.part("row--bad", base))]
        for column in layout[1:]:
            parts += self._cell(line, column, base)
            parts.append(Segment(" " * GAP, base))
        return parts

    def _cell(self, line: Line, column: Column, base: Style) -> list[Segment]:
        if column.name == "harm":
            style = self.part(f"row--{line.harm}", base) if line.harm else base
            return [Segment(fit(line.harm or "–", column.width), style)]
        if column.name == "category":
            text = fit(line.category, column.width)
            return [Segment(text, self.part("row--category", base))]
        text = fit(line.prompt if column.name == "prompt" else line.reply or "–", column.width)
        return self._marked(text, base)

    def _marked(self, text: str, base: Style) -> list[Segment]:
        mark = self._mark
        folded = text.casefold()
        at = folded.find(mark) if mark and len(folded) == len(text) else -1
        if at < 0:
            return [Segment(text, base)]
        end = at + len(mark)
        match = self.part("row--match", base)
        return [Segment(text[:at], base), Segment(text[at:end], match), Segment(text[end:], base)]

    def _line(self, index: int) -> Line | None:
        number, place = divmod(index, _PAGE)
        page = self._pages.get(number)
        if page is None or place >= len(page[0]):
            self._load_soon()
            return None
        self._pages.move_to_end(number)
        return page[0][place]

    def _load_soon(self) -> None:
        if not self._loading:
            self._loading = True
            self.run_worker(self._load(), group="pages", name="pages")

    async def _load(self) -> None:
        try:
            while (number := self._missing()) is not None:
                source, shown, count = self._source, self._lines, self.count
                if source is None:
                    return
                lines = await asyncio.to_thread(_read, source, shown, number * _PAGE)
                if source is self._source and shown is self._lines:
                    self._pages[number] = (lines, count)
                    while len(self._pages) > _PAGES_KEPT:
                        self._pages.popitem(last=False)
                    self.refresh()
        finally:
            self._loading = False

    def _missing(self) -> int | None:
        """A page to read: one in sight, else one next to those."""
        top = self.scroll_offset.y
        first, last = top // _PAGE, (top + max(1, self.size.height) - 1) // _PAGE
        final = max(0, self.count - 1) // _PAGE
        number: int
        for number in (*range(first, last + 1), last + 1, first - 1):
            if not 0 <= number <= final:
                continue
            page = self._pages.get(number)
            full = min(_PAGE, self.count - number * _PAGE)
            if page is None or (len(page[0]) < full and page[1] != self.count):
                return number
        return None


class RowHead(Widget):
    """The names of the columns, over a `RowTable`."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "RowHead { height: 1; color: $faint; }"

    def __init__(self, table: RowTable) -> None:
        super().__init__(id="row-head")
        self._table = table

    def render(self) -> Content:
        width = self._table.scrollable_content_region.width
        words = []
        for column in self._table.layout_columns(width - 2):
            name = "#" if column.name == "number" else column.name
            words.append(name.rjust(column.width) if name == "#" else fit(name, column.width))
        return Content("  " + (" " * GAP).join(words))


def _read(source: OpenDataset, lines: array[int] | None, first: int) -> list[Line]:
    if lines is None:
        return source.lines(first, _PAGE)
    return source.some(lines[first : first + _PAGE])
