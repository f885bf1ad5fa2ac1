"""Text that is laid out for the width it has: aligned amounts, wrapped notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from waltzrl_tui.tui.chat.wrap import breaks

Layout = Callable[[int], list[Content]]
"""The lines for a width in cells."""

_NOTHING: Final[list[Content]] = []


class Sheet(Widget):
    """Shows what a `Layout` makes of its width."""

    ALLOW_SELECT = True
    DEFAULT_CSS = "Sheet { height: auto; min-height: 100%; width: 1fr; padding-right: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._arrange: Layout = lambda _: _NOTHING
        self._made: tuple[int, list[Content]] = (0, [])

    def show(self, layout: Layout) -> None:
        """Show this instead."""
        room = self.size
        before = len(self._lines(room.width))
        self._arrange = layout
        self._made = (0, [])
        # Most texts change with every key: as long as the height is the same, only paint.
        after = len(self._lines(room.width))
        pane = self.parent.size.height if isinstance(self.parent, Widget) else 0
        self.refresh(layout=after != before and not after <= room.height <= pane)

    def render(self) -> Content:
        return Content("\n").join(self._lines(self.content_size.width))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def _lines(self, width: int) -> list[Content]:
        if self._made[0] != width:
            self._made = (width, self._arrange(max(1, width)))
        return self._made[1]


class SheetPane(VerticalScroll):
    """A pane with a sheet that can be scrolled."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self.sheet = Sheet()

    def on_mount(self) -> None:
        self.mount(self.sheet)

    def show(self, layout: Layout, *, title: str, top: bool) -> None:
        """Show this under that title; from the top, or scrolled as it is."""
        if self.border_title != title:
            self.border_title = Content(title)
        self.sheet.show(layout)
        if top:
            self.scroll_home(animate=False)


def hanging(lead: str, text: str, width: int, lead_style: str, style: str = "") -> list[Content]:
    """`text` wrapped to `width` behind `lead`, its further lines indented to the first."""
    indent = len(lead)
    lines: list[Content] = []
    for start, end in breaks(text, max(8, width - indent)):
        head = (lead, lead_style) if not lines else " " * indent
        lines.append(Content.assemble(head, (text[start:end], style)))
    return lines
