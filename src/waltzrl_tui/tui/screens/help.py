"""The help overlay: every key of this screen and of the app, read from the key table."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.tui.keys import Key, section


class HelpScreen(ModalScreen[None]):
    """All keys, those of the current screen first."""

    BINDINGS = [Binding("escape,question_mark,f1,q,enter", "dismiss", "close")]

    def __init__(self, name: str) -> None:
        super().__init__()
        self._section = name

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as box:
            box.border_title = "Keys"
            box.border_subtitle = "esc close"
            if self._section != "app":
                yield Static(_listing(self._section.capitalize(), section(self._section)))
            yield Static(_listing("Everywhere", section("app")))
            yield Static(
                Content.styled(
                    "\ntab and shift+tab go from pane to pane. The mouse works too; hold shift to"
                    " select text as the terminal does.",
                    "$faint",
                )
            )


def _listing(title: str, keys: tuple[Key, ...]) -> Content:
    width = max((len(key.name) for key in keys), default=0)
    lines = [Content.styled(title, "bold $primary")]
    lines += [
        Content.assemble((f"  {key.name:<{width}}  ", "bold $accent"), key.help) for key in keys
    ]
    return Content("\n").join(lines)
