"""The events of a job: wrapped, newest last, followed unless the user scrolled away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import ClassVar, Final

from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from waltzrl_tui.store import EventRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.chat.wrap import Line, plain
from waltzrl_tui.tui.jobs.lines import current_time

_MARKS: Final = {"info": "", "warning": "! ", "error": "✗ "}
_TIME_CELLS: Final = 9
# With less room for the text than this, the time gets a line of its own.
_LEAST_TEXT: Final = 12
_LONGEST: Final = 2000


class EventLog(ScrollView, can_focus=True):
    """The events of one job. Levels have a glyph as well as a colour."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"event-log--{name}" for name in ("time", "info", "warning", "error")
    }

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._job: str | None = None
        self._events: list[EventRow] = []
        self._lines: list[Line] = []
        self._width = 0

    def show(self, job: str | None, events: Sequence[EventRow]) -> None:
        """Show the events of a job; when it is the same job, only the new ones are laid out."""
        known = len(self._events) if job == self._job else 0
        if job == self._job and known == len(events):
            return
        follow = job != self._job or self.is_vertical_scroll_end
        self._job = job
        if not known:
            self._events, self._lines = [], []
        self._append(events[known:])
        self._resized(follow)

    def on_resize(self) -> None:
        width = self.scrollable_content_region.width
        if width != self._width:
            follow = self.is_vertical_scroll_end
            events, self._events, self._lines = self._events, [], []
            self._append(events)
            self._resized(follow)

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        place = y + round(self.scroll_y)
        line = self._lines[place] if place < len(self._lines) else ()
        segments = [
            Segment(text, self.get_component_rich_style(f"event-log--{name}"))
            for text, name in line
        ]
        return Strip(segments).adjust_cell_length(width, self.rich_style)

    def _append(self, events: Sequence[EventRow]) -> None:
        self._width = self.scrollable_content_region.width
        zone = current_time().tzinfo
        for event in events:
            moment = datetime.fromisoformat(event.at).astimezone(zone)
            if moment.date() != self._last_day():
                self._lines.append(((f"{moment.day} {moment:%B}", "time"),))
            self._events.append(event)
            self._lines += self._wrapped(event, f"{moment:%H:%M:%S}")

    def _last_day(self) -> date:
        if not self._events:
            return current_time().date()
        last = datetime.fromisoformat(self._events[-1].at)
        return last.astimezone(current_time().tzinfo).date()

    def _wrapped(self, event: EventRow, time: str) -> list[Line]:
        text = _MARKS[event.level] + one_line(event.text, _LONGEST)
        room = self._width - _TIME_CELLS
        if room < _LEAST_TEXT:
            return [((time, "time"),), *plain(text, max(1, self._width), event.level)]
        return [
            ((("" if number else time).ljust(_TIME_CELLS), "time"), *line)
            for number, line in enumerate(plain(text, room, event.level))
        ]

    def _resized(self, follow: bool) -> None:
        self.virtual_size = Size(0, len(self._lines))
        self.refresh()
        if follow:
            self.scroll_end(animate=False)
