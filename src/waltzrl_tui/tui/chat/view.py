"""The conversation on screen: only the lines in view are drawn, only the last turn grows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from waltzrl_tui.chat.transcript import Turn
from waltzrl_tui.tui.chat.lines import STYLES, turn_lines
from waltzrl_tui.tui.chat.side import Look
from waltzrl_tui.tui.chat.wrap import Line, Span, cells, plain

_MARGIN: Final[Span] = (" ", "")
_CACHED_TURNS: Final = 400
_STRIDES: Final = 5
_CHOSEN: Final[Span] = ("▌", "label")


class ConversationView(ScrollView, can_focus=True, inherit_bindings=False):
    """The turns of a chat. It follows the end until the user scrolls away from it.

    Lines are wrapped by this widget, not laid out as widgets: a repaint while a reply streams
    costs the wrapping of that turn and the drawing of the lines that changed.
    """

    # Left and right are the screen's: they vote.
    BINDINGS = [
        Binding("up", "scroll_up", "up", show=False),
        Binding("down", "scroll_down", "down", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
        Binding("home", "scroll_home", "top", show=False),
        Binding("end", "scroll_end", "end", show=False),
    ]
    COMPONENT_CLASSES = {"chat--blank", *(f"chat--{name}" for name in STYLES)}

    class Edge(Message):
        """The user reached the first or the last line; there may be more turns beyond.

        Attributes:
            jump: They want the very first or last turn.
        """

        def __init__(self, view: ConversationView, top: bool, jump: bool = False) -> None:
            super().__init__()
            self.view = view
            self.top = top
            self.jump = jump

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._turns: Sequence[Turn] = ()
        self._look = Look()
        self._preface: tuple[Span, ...] = ()
        self._elapsed: float | None = None
        self._waiting_for = ""
        self._last: Turn | None = None
        self._chosen: Turn | None = None
        self._cached: dict[int, tuple[Turn, list[Line]]] = {}
        self._cached_for: tuple[int, Look] | None = None
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

    @property
    def chosen(self) -> Turn | None:
        """The turn that keys work on: the one that was stepped to, else the last one."""
        if self._chosen is not None and any(turn is self._chosen for turn in self._turns):
            return self._chosen
        return self._turns[-1] if self._turns else None

    def step(self, by: int) -> None:
        """Choose the turn before (-1) or after (1) the chosen one, and go there."""
        if not self._turns:
            return
        now = next(n for n, turn in enumerate(self._turns) if turn is self.chosen)
        to = now + by if self._chosen is not None else now
        if to < 0:
            self.post_message(self.Edge(self, top=True))
        if to >= len(self._turns):
            self.post_message(self.Edge(self, top=False))
            self.unmark()
            self.to_end()
            return
        self.choose(self._turns[max(0, to)])

    def choose(self, turn: Turn) -> None:
        """Choose that turn, which is shown, and bring it into view."""
        place = next((n for n, each in enumerate(self._turns, 1) if each is turn), None)
        if place is None:
            return
        self._chosen = turn
        self._strips.clear()
        self.refresh()
        start, lines = self._starts[place], self._blocks[place]
        height = self.scrollable_content_region.height
        top = start if len(lines) > height else max(0, start - (height - len(lines)) // 2)
        self.scroll_to(y=top, animate=False, immediate=True, force=True)

    def unmark(self) -> None:
        """Choose no turn, so that keys work on the last one."""
        if self._chosen is not None:
            self._chosen = None
            self._strips.clear()
            self.refresh()

    def forget(self) -> None:
        """Wrap all turns again when they are next shown: one of them was corrected."""
        self._cached.clear()

    def show(
        self,
        turns: Sequence[Turn],
        look: Look,
        preface: tuple[Span, ...] = (),
        elapsed: float | None = None,
    ) -> None:
        """Show these turns after a preface; the end stays in view if it was.

        Args:
            elapsed: Seconds that the last turn has been going on, None when it does not.
        """
        self._turns, self._look, self._preface = tuple(turns), look, preface
        self._elapsed = elapsed
        self._build()

    def widen(self, turns: Sequence[Turn], preface: tuple[Span, ...]) -> None:
        """Show more turns of the same chat; what was in view stays in view."""
        top = self.scroll_offset.y
        block = max(1, bisect_right(self._starts, top) - 1)
        anchor = self._turns[block - 1] if block <= len(self._turns) else None
        into = top - self._starts[block] if anchor is not None else 0
        self._following = False
        self._turns, self._preface = tuple(turns), preface
        self._build()
        place = next((n for n, turn in enumerate(turns, 1) if turn is anchor), None)
        if place is not None:
            y = self._starts[place] + into
            self.scroll_to(y=y, animate=False, immediate=True, force=True)
        self._show_caption()

    def action_scroll_home(self) -> None:
        self.post_message(self.Edge(self, top=True, jump=True))

    def action_scroll_end(self) -> None:
        self.post_message(self.Edge(self, top=False, jump=True))

    def to_start(self) -> None:
        """Go to the first line."""
        self._following = False
        self.scroll_home(animate=False, immediate=True, x_axis=False, force=True)
        self._show_caption()

    def grow(self, turns: Sequence[Turn], elapsed: float | None, waiting_for: str = "") -> None:
        """Draw the last turn again; it began `elapsed` seconds ago, or has ended (None).

        Args:
            waiting_for: What it waits for before its first word.
        """
        if not turns:
            return
        if len(turns) != len(self._turns) or turns[-1] is not self._turns[-1]:
            self._turns = tuple(turns)
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
        if same == len(before) == len(after) and elapsed is not None:
            return
        self._blocks[-1] = after
        if len(after) != len(before) or elapsed is None:
            self._resize_content()
        self.refresh_lines(self._starts[-1] + same, max(len(before), len(after)) - same)
        if self._following:
            self.to_end()

    def caption(self, text: Content) -> None:
        """Write a text into the lower border, next to a hint where the end is out of view."""
        self._caption = text
        self._show_caption()

    def to_end(self) -> None:
        """Go to the last line, and follow it."""
        if not self._following:
            self._following = True
            self._show_caption()
        if not self.at_end:
            # Forced, because whether it can scroll is only known after the next layout.
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._following != self.at_end:
            self._following = self.at_end
            self._show_caption()
        if new_value != old_value and self._turns:
            if new_value <= 0:
                self.post_message(self.Edge(self, top=True))
            elif self.at_end:
                self.post_message(self.Edge(self, top=False))

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
            for text, name in (self._margin(number), *line, (" " * gap, ""))
            if text
        ]
        strip = Strip(segments, self._width).simplify()
        if span is not None:
            strip = self._marked(strip, span)
        return strip.apply_offsets(0, number)

    def _margin(self, number: int) -> Span:
        if self._chosen is None:
            return _MARGIN
        block = bisect_right(self._starts, number) - 2
        marked = 0 <= block < len(self._turns) and self._turns[block] is self._chosen
        return _CHOSEN if marked and self._line(number) else _MARGIN

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
        shown = self._turns[turn]
        if turn == len(self._turns) - 1:
            return turn_lines(shown, self._room, self._look, self._elapsed, self._waiting_for)
        cached = self._cached.get(id(shown))
        if cached is None or cached[0] is not shown:
            cached = shown, turn_lines(shown, self._room, self._look)
            self._cached[id(shown)] = cached
        return cached[1]

    def _show_caption(self) -> None:
        more = "" if self._following else "end ↓ · "
        self.border_subtitle = Content.assemble((more, "$accent"), self._caption)

    @property
    def _room(self) -> int:
        return max(24, self._width - 2)

    def _build(self) -> None:
        self._width = self.scrollable_content_region.width
        if self._cached_for != (self._room, self._look) or len(self._cached) > _CACHED_TURNS:
            self._cached_for = self._room, self._look
            self._cached.clear()
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
        height = ends[-1]
        if self._elapsed is not None:
            # While a reply streams it moves up some lines at a time, which is calmer and costs a
            # fraction of drawing everything again for each line.
            height += -height % max(2, self.scrollable_content_region.height // _STRIDES)
        size = Size(self._width, height)
        window = self.scrollable_content_region.height
        scrolls = max(size.height, self.virtual_size.height) > window
        # Set without the layout of the whole screen that goes with it: the scroll bar is always
        # there, so nothing moves when the text grows. While all fits in, it stays empty, too.
        self.set_reactive(ConversationView.virtual_size, size)
        if scrolls:
            self._scroll_update(size)
