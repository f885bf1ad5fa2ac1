"""A list to choose from, and the pairs in one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.words import plural

if TYPE_CHECKING:
    from waltzrl_tui.local.pairs import PairChoice


class Picker(Dialog[str]):
    """A list; gives the id of what was chosen, or None."""

    BINDINGS = [Binding("escape,q", "leave", "close")]

    def __init__(
        self, title: str, options: Sequence[Option], chosen: str = "", empty: str = ""
    ) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._chosen = chosen
        self._empty = empty

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog chat-picker") as box:
            box.border_title = f"{self._title} · {len(self._options)}"
            box.border_subtitle = "enter choose · esc close" if self._options else "esc close"
            if not self._options:
                yield Static(Content(self._empty))
            else:
                yield OptionList(*self._options, markup=False, compact=True)

    def on_mount(self) -> None:
        if self._options:
            ids = [option.id for option in self._options]
            self.query_one(OptionList).highlighted = (
                ids.index(self._chosen) if self._chosen in ids else 0
            )

    @on(OptionList.OptionSelected)
    def _select(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.is_current:
            self.dismiss(event.option_id)


def pair_picker(choices: Sequence[PairChoice], chosen: str) -> Picker:
    """A list of pairs with what each is made of."""
    return Picker("Pairs", [Option(_pair_line(choice), choice.name) for choice in choices], chosen)


def _pair_line(choice: PairChoice) -> Content:
    names = " + ".join(one_line(agent.name, 60) for agent in choice.agents)
    judged = "" if choice.feedback else ", not judged"
    revisions = f", {plural(choice.row.rounds, 'revision')}" if choice.feedback else ""
    base = one_line(choice.conversation.base, 60)
    return Content.assemble(
        (f"{one_line(choice.name, 40):<18} ", "bold"),
        (choice.kind, "$safe" if choice.trained else "$text-muted"),
        (f"{revisions}{judged}\n", "$text-muted"),
        (f"  {names} · {base}", "$faint"),
    )


def when(stamp: str, now: datetime) -> str:
    """A time of the store as a person near it would say it, in the local time zone."""
    try:
        at = datetime.fromisoformat(stamp)
    except ValueError:
        return one_line(stamp, 24)
    seconds = (now - at).total_seconds()
    if 0 <= seconds < 60:
        return "just now"
    if 0 <= seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    local, today = at.astimezone(), now.astimezone()
    if local.date() == today.date():
        return f"today {local:%H:%M}"
    return f"{local:%d %b %H:%M}" if local.year == today.year else f"{local:%d %b %Y}"
