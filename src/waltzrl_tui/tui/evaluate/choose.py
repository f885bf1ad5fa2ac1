"""A short list from which any number is chosen: suites, pairs, judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from waltzrl_tui.text import one_line


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be chosen.

    Attributes:
        id: What it is known by. name: what is shown. note: what it is, in a few words.
    """

    id: str
    name: str
    note: str = ""


class ChooseList(OptionList, inherit_bindings=False):
    """Choices with a mark each. They keep the order in which they are listed."""

    BINDINGS = [
        Binding("up,k", "cursor_up", "up", show=False),
        Binding("down,j", "cursor_down", "down", show=False),
        Binding("home", "first", "first", show=False),
        Binding("end", "last", "last", show=False),
        Binding("pageup", "page_up", "page up", show=False),
        Binding("pagedown", "page_down", "page down", show=False),
    ]

    class Changed(Message):
        """Something was chosen, or is no longer."""

    def __init__(self, title: str, *, id: str) -> None:
        super().__init__(id=id, classes="pane", markup=False, compact=True)
        self._title = title
        self._choices: list[Choice] = []
        self._picked: set[str] = set()

    @property
    def chosen(self) -> list[str]:
        """The ids that are chosen, in the order of the list."""
        return [each.id for each in self._choices if each.id in self._picked]

    @property
    def here(self) -> str:
        """The id at the cursor, or ""."""
        at = self.highlighted
        return self._choices[at].id if at is not None and at < len(self._choices) else ""

    def show(self, choices: Sequence[Choice]) -> None:
        """Show these choices; what was chosen stays so as far as it is there."""
        if list(choices) == self._choices:
            return
        here = self.here
        self._choices = list(choices)
        self._picked &= {each.id for each in choices}
        self.clear_options()
        self.add_options([Option(self._line(each), each.id) for each in choices])
        ids = [each.id for each in choices]
        if ids:
            self.highlighted = ids.index(here) if here in ids else 0
        self._entitle()

    def choose(self, ids: Sequence[str]) -> None:
        """Choose these and no others."""
        self._picked = set(ids) & {each.id for each in self._choices}
        self._mark()

    def toggle(self) -> None:
        """Choose what the cursor is on, or no longer."""
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
        for place, each in enumerate(self._choices):
            self.replace_option_prompt_at_index(place, self._line(each))
        self._entitle()

    def _line(self, choice: Choice) -> Content:
        picked = choice.id in self._picked
        mark = ("● ", "$success") if picked else ("○ ", "$faint")
        width = max(8, self.size.width - 3)
        name = one_line(choice.name, width)
        note = one_line(choice.note, max(0, width - len(name) - 2)) if choice.note else ""
        return Content.assemble(
            mark, (name, "bold" if picked else ""), (f"  {note}" if note else "", "$faint")
        )

    def _entitle(self) -> None:
        title = f"{self._title} · {len(self.chosen)} of {len(self._choices)}"
        if self.border_title != title:
            self.border_title = title
