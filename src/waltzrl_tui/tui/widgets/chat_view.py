"""The conversation on screen: only the lines in view are drawn, only the last turn grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from waltzrl_tui.agents.transcript import Turn
from waltzrl_tui.tui.widgets.chat_lines import STYLES, Look, turn_lines
from waltzrl_tui.tui.widgets.chat_wrap import Line, Span, cells, plain

_MARGIN: Final[Span] = (" ", "")


class ConversationView(ScrollView, can_focus=True):
    """The turns of a chat. It follows the end until the user scrolls away from it.

    Lines are wrapped by this widget, not laid out as widgets: a repaint while a reply streams
    costs the wrapping of that turn and the drawing of the lines that changed.
    """

    COMPONENT_CLASSES = {"chat--blank", *(f"chat--{name}" for name in STYLES)}

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._turns: Sequence[Turn] = ()
        self._look = Look()
        self._preface: tuple[Span, ...] = ()
        self._elapsed: float | None = None
        self._waiting_for = ""
        self._last: Turn | None = None
        self._following = True
        self._caption = Content("")
        self._blocks: list[list[Line]] = [[]]
        self._starts: list[int] = [0]
        self._width = 0
        self._styles_by_name: dict[str, Style] = {}
        self._strips: LRUCache[tuple[int, Line], Strip] = LRUCache(512)

    @property
    def at_end(self) -> bool:
        """Whether the last line is in view."""
        return self.scroll_offset.y >= self.max_scroll_y

    def show(
        self,
        turns: Sequence[Turn],
        look: Look,
        preface: tuple[Span, ...] = (),
        elapsed: float | None = None,
    ) -> None:
        """Show these turns after a preface; where it was scrolled to stays, or the end does.

        Args:
            elapsed: Seconds that the last turn has been going on, None when it does not.
        """
        self._turns, self._look, self._preface = turns, look, preface
        self._elapsed = elapsed
        self._build()

    def grow(self, elapsed: float | None, waiting_for: str = "") -> None:
        """Draw the last turn anew; it has been going on for `elapsed` seconds, or has ended.

        Args:
            waiting_for: What it waits for before its first word.
        """
        if not self._turns:
            return
        self._elapsed, self._waiting_for = elapsed, waiting_for
        last = self._turns[-1]
        if last is not self._last:
            if len(self._turns) != len(self._blocks):
                # Old turns were let go of.
                self._build()
                return
            self._blocks.append([])
            self._last = last
        before, after = self._blocks[-1], self._lines(len(self._turns) - 1)
        same = 0
        for old, new in zip(before, after, strict=False):
            if old != new:
                break
            same += 1
        if same == len(before) == len(after):
            return
        self._blocks[-1] = after
        if len(after) != len(before):
            self._resize_content()
        self.refresh_lines(self._starts[-1] + same, max(len(before), len(after)) - same)
        if self._following:
            self.to_end()

    def caption(self, text: Content) -> None:
        """What stands in the lower border, beside the way to the end when that is out of view."""
        self._caption = text
        self._show_caption()

    def to_end(self) -> None:
        """Go to the last line, and follow it."""
        self._following = True
        if not self.at_end:
            # Forced, because whether it can scroll is only known after the next layout.
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._following != self.at_end:
            self._following = self.at_end
            self._show_caption()

    def on_resize(self, event: events.Resize) -> None:
        if self.scrollable_content_region.width != self._width:
            self._build()
        if self._following:
            self.call_after_refresh(self.to_end)

    def render_line(self, y: int) -> Strip:
        number = y + self.scroll_offset.y
        line = self._line(number)
        strip = self._strips.get((number, line))
        if strip is None:
            strip = self._strip(number, line)
            self._strips[number, line] = strip
        return strip

    def _strip(self, number: int, line: Line) -> Strip:
        gap = self._width - cells(line) - 1
        chosen = self.text_selection
        span = chosen.get_span(number) if chosen is not None else None
        segments = [
            Segment(text, self._style(name))
            for text, name in (_MARGIN, *line, (" " * gap, ""))
            if text
        ]
        strip = Strip(segments, self._width).simplify()
        if span is not None:
            strip = self._marked(strip, span)
        return strip.apply_offsets(0, number)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        lines = (
            " " + "".join(text for text, _ in line) for block in self._blocks for line in block
        )
        return selection.extract("\n".join(lines)), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self._strips.clear()
        self.refresh()

    @property
    def allow_select(self) -> bool:
        return True

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles_by_name.clear()
        self._strips.clear()
        self.refresh()

    def _style(self, name: str) -> Style:
        style = self._styles_by_name.get(name)
        if style is None:
            style = self.get_component_rich_style(f"chat--{name or 'blank'}")
            self._styles_by_name[name] = style
        return style

    def _marked(self, strip: Strip, span: tuple[int, int]) -> Strip:
        text = strip.text
        start = strip.index_to_cell_position(min(span[0], len(text)))
        last = len(text) if span[1] == -1 else min(span[1], len(text))
        end = strip.index_to_cell_position(last)
        style = self.screen.get_component_rich_style("screen--selection")
        marked = Strip(
            Segment(piece, (old or Style()) + style) for piece, old, _ in strip.crop(start, end)
        )
        return Strip.join([strip.crop(0, start), marked, strip.crop(end, strip.cell_length)])

    def _line(self, number: int) -> Line:
        block = bisect_right(self._starts, number) - 1
        lines = self._blocks[block]
        at = number - self._starts[block]
        return lines[at] if 0 <= at < len(lines) else ()

    def _lines(self, turn: int) -> list[Line]:
        last = turn == len(self._turns) - 1
        elapsed = self._elapsed if last else None
        return turn_lines(self._turns[turn], self._room, self._look, elapsed, self._waiting_for)

    def _show_caption(self) -> None:
        more = "" if self._following else "end ↓ · "
        self.border_subtitle = Content.assemble((more, "$accent"), self._caption)

    @property
    def _room(self) -> int:
        return max(24, self._width - 2)

    def _build(self) -> None:
        self._width = self.scrollable_content_region.width
        preface: list[Line] = []
        for text, style in self._preface:
            preface += plain(text, min(self._room, 92), style)
        self._strips.clear()
        self._blocks = [preface, *(self._lines(number) for number in range(len(self._turns)))]
        self._last = self._turns[-1] if self._turns else None
        self._resize_content()
        self.refresh()
        if self._following:
            self.to_end()

    def _resize_content(self) -> None:
        ends = list(accumulate(len(block) for block in self._blocks))
        self._starts = [0, *ends[:-1]]
        size = Size(self._width, ends[-1])
        window = self.scrollable_content_region.height
        scrolls = max(size.height, self.virtual_size.height) > window
        # Set without the layout of the whole screen that goes with it: the scroll bar is always
        # there, so nothing moves when the text grows. While all fits in, it stays empty, too.
        self.set_reactive(ConversationView.virtual_size, size)
        if scrolls:
            self._scroll_update(size)
