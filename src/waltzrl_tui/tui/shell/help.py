"""The help overlay: every key of this screen and of the app, read from the key table."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from waltzrl_tui.tui.shell.keys import Key, section


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
            here = section(self._section) if self._section != "app" else ()
            everywhere = section("app")
            width = max(len(key.name) for key in (*here, *everywhere))
            if here:
                yield Static(_listing(self._section.capitalize(), here, width))
            yield Static(_listing("Everywhere", everywhere, width))
            yield Static(
                Content.styled(
                    "tab and shift+tab move between panes. The mouse works too; hold shift to"
                    " select text with the terminal.",
                    "$faint",
                )
            )


def _listing(title: str, keys: tuple[Key, ...], width: int) -> Content:
    lines = [Content.styled(title, "bold $primary")]
    lines += [
        Content.assemble((f"  {key.name:<{width}}  ", "bold $accent"), key.help) for key in keys
    ]
    return Content("\n").join([*lines, Content("")])
