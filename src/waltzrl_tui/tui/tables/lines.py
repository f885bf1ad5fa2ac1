"""A list of any number of one-line entries with a cursor; only visible ones are ever made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

_MESSAGE_WIDTH = 64


@dataclass
class _EntryMessage(Message):
    lines: LineList
    index: int

    @property
    def control(self) -> LineList:
        return self.lines


class LineList(ScrollView, can_focus=True):
    """Entries by number, from 0. A subclass gives the segments of each in `segments`."""

    COMPONENT_CLASSES = {"line--cursor", "line--faint"}
    BINDINGS = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup,ctrl+u", "move_page(-1)", "page up", show=False),
        Binding("pagedown,ctrl+d", "move_page(1)", "page down", show=False),
        Binding("home", "first", "first", show=False),
        Binding("end,G", "last", "last", show=False),
    ]
    DEFAULT_CSS = """
    LineList {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
        background: $background;
        & > .line--cursor { background: $panel; text-style: none; }
        & > .line--faint { color: $faint; }
        &:focus > .line--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
        }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    count: reactive[int] = reactive(0, repaint=False)

    CLICKS: ClassVar[int] = 2
    """Clicks on an entry that choose it."""

    HEAD: ClassVar[int] = 0
    """Lines over the entries that stay in place; `head` draws them."""

    _message: Content | None = None

    class Moved(_EntryMessage):
        """The cursor came to the entry `index`."""

    class Chosen(_EntryMessage):
        """The entry `index` was clicked as often as it takes to choose it."""

    def say(self, message: Content | None) -> None:
        """Show a message in place of the entries, or the entries again."""
        if message is not self._message:
            self._message = message
            self.refresh()

    def segments(self, index: int, width: int, base: Style, here: bool) -> list[Segment]:
        """The segments of one entry, `width` cells together."""
        raise NotImplementedError

    def head(self, y: int, width: int) -> Strip:
        """The line `y` (from 0) of those over the entries."""
        raise NotImplementedError

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, self.count - 1))

    def watch_count(self, old: int, count: int) -> None:
        self.virtual_size = Size(0, count + self.HEAD)
        self.cursor = self.validate_cursor(self.cursor)
        self.refresh(layout=self.styles.auto_dimensions)
        if count and not old:
            self.post_message(self.Moved(self, self.cursor))

    def watch_cursor(self, old: int, new: int) -> None:
        self.refresh_line(old + self.HEAD)
        self.refresh_line(new + self.HEAD)
        self.show_cursor()
        if new != old:
            # Textual also calls this once for the first value.
            self.post_message(self.Moved(self, new))

    def show_cursor(self) -> None:
        """Scroll as little as brings the cursor into sight."""
        height = self._page
        top = self.scroll_offset.y
        # Forced, because whether it can scroll is only known after the next layout.
        if height > 0 and self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif height > 0 and self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True)

    def on_resize(self) -> None:
        self.show_cursor()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if self._message is not None:
            return self._message_line(self._message, y, width)
        if y < self.HEAD:
            return self.head(y, width).adjust_cell_length(width, self.rich_style)
        index = y - self.HEAD + self.scroll_offset.y
        if index >= self.count:
            return Strip.blank(width, self.rich_style)
        here = index == self.cursor
        base = self.get_component_rich_style("line--cursor") if here else self.rich_style
        strip = Strip(self.segments(index, width, base, here))
        return strip.adjust_cell_length(width, base)

    def _message_line(self, message: Content, y: int, width: int) -> Strip:
        lines = message.wrap(max(8, min(width - 4, _MESSAGE_WIDTH)))
        top = max(0, (self.scrollable_content_region.height - len(lines)) // 2)
        if not top <= y < top + len(lines):
            return Strip.blank(width, self.rich_style)
        left = max(0, (width - max(line.cell_length for line in lines)) // 2)
        segments = lines[y - top].render_segments(self.visual_style)
        strip = Strip([Segment(" " * left, self.rich_style), *segments])
        return strip.adjust_cell_length(width, self.rich_style)

    def part(self, name: str, base: Style) -> Style:
        """The colour of the component `name` on the background of `base`."""
        style = self.get_component_rich_style(name)
        return style + Style(bgcolor=base.bgcolor)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or offset.y < self.HEAD:
            return
        index = offset.y - self.HEAD + self.scroll_offset.y
        if index < self.count:
            self.cursor = index
            if event.chain == self.CLICKS:
                self.post_message(self.Chosen(self, index))

    def action_move(self, by: int) -> None:
        self.cursor += by

    def action_move_page(self, by: int) -> None:
        self.cursor += by * max(1, self._page - 1)

    @property
    def _page(self) -> int:
        """Entries that fit on the screen."""
        return self.scrollable_content_region.height - self.HEAD

    def action_first(self) -> None:
        self.cursor = 0

    def action_last(self) -> None:
        self.cursor = self.count - 1
