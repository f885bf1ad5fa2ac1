"""A short list with a tick each: suites, pairs, judges."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from waltzrl_tui.text import one_line
from waltzrl_tui.tui.evaluate.model import Candidate


class ChooseList(OptionList, inherit_bindings=False):
    """Candidates that can be ticked. The ticked ones keep the order of the list."""

    BINDINGS = [
        Binding("up,k", "cursor_up", "up", show=False),
        Binding("down,j", "cursor_down", "down", show=False),
        Binding("home", "first", "first", show=False),
        Binding("end", "last", "last", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
    ]

    class Changed(Message):
        """A tick was set or removed."""

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id, classes="pane", markup=False, compact=True)
        self._title = title
        self._candidates: list[Candidate] = []
        self._picked: set[str] = set()

    @property
    def chosen(self) -> list[str]:
        """The ids of the ticked ones, in the order of the list."""
        return [each.id for each in self._candidates if each.id in self._picked]

    @property
    def here(self) -> str:
        """The id at the cursor, or ""."""
        at = self.highlighted
        return self._candidates[at].id if at is not None and at < len(self._candidates) else ""

    def show(self, candidates: Sequence[Candidate]) -> None:
        """Show these candidates; ticks stay on those that are still there."""
        if list(candidates) == self._candidates:
            return
        here = self.here
        self._candidates = list(candidates)
        self._picked &= {each.id for each in candidates}
        self.clear_options()
        self.add_options([Option(self._line(each), each.id) for each in candidates])
        ids = [each.id for each in candidates]
        if ids:
            self.highlighted = ids.index(here) if here in ids else 0
        self._entitle()

    def choose(self, ids: Sequence[str]) -> None:
        """Tick these and no others."""
        self._picked = set(ids) & {each.id for each in self._candidates}
        self._mark()

    def toggle(self) -> None:
        """Tick or untick the line at the cursor."""
        if self.here:
            self._picked ^= {self.here}
            self._mark()
            self.post_message(self.Changed())

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.toggle()

    def on_resize(self) -> None:
        self._mark()

    def _mark(self) -> None:
        for place, each in enumerate(self._candidates):
            self.replace_option_prompt_at_index(place, self._line(each))
        self._entitle()

    def _line(self, candidate: Candidate) -> Content:
        picked = candidate.id in self._picked
        mark = ("● ", "$success") if picked else ("○ ", "$faint")
        width = max(8, self.size.width - 3)
        name = one_line(candidate.name, width)
        note = one_line(candidate.note, max(0, width - len(name) - 2)) if candidate.note else ""
        return Content.assemble(
            mark, (name, "bold" if picked else ""), (f"  {note}" if note else "", "$faint")
        )

    def _entitle(self) -> None:
        title = f"{self._title} · {len(self.chosen)} of {len(self._candidates)}"
        if self.border_title != title:
            self.border_title = title
