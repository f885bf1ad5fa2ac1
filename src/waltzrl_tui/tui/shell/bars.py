"""The two lines that every screen has: the screens on top, the keys that work now below."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widget import Widget

from waltzrl_tui.text import one_line
from waltzrl_tui.tui.shell.keys import Key, shown
from waltzrl_tui.tui.shell.screens import SCREENS, ScreenEntry

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp


def click(action: str) -> Style:
    """A style that runs `action` when what has it is clicked."""
    return Style.from_meta({"@click": action})


class TopBar(Widget):
    """` waltzrl  1 Data  2 Plan  3 Jobs ●2  …      ~/align`, the current screen marked."""

    ALLOW_SELECT = False

    def __init__(self, current: str) -> None:
        super().__init__(id="top-bar")
        # Else what can be clicked would get the colours of a link.
        self.auto_links = False
        self._current = current

    def on_mount(self) -> None:
        self.watch(self.app, "unfinished", self._changed, init=False)

    def _changed(self) -> None:
        self.refresh()

    def render(self) -> Content:
        app = cast("WaltzApp", self.app)
        width = self.content_size.width
        parts: list[Content] = []
        if width >= 44:
            parts.append(Content.styled("waltzrl  ", "bold $primary"))
        for number, entry in enumerate(SCREENS, 1):
            parts.append(self._entry(number, entry, app.unfinished))
        left = Content("").join(parts)
        home = _short(app.workspace.home)
        room = width - left.cell_length - 2
        if room < 8:
            return left
        if len(home) > room:
            home = "…" + home[-(room - 1) :]
        gap = width - left.cell_length - Content(home).cell_length
        return Content.assemble(left, " " * max(1, gap), (home, "$faint"))

    def _entry(self, number: int, entry: ScreenEntry, unfinished: int) -> Content:
        name, here = entry.name, entry.name == self._current
        label = Content.assemble(
            (f" {number} ", "$accent" if here else "$faint"),
            (entry.title, "bold $foreground" if here else "$text-muted"),
        )
        if name == "jobs" and unfinished:
            label = label.append(Content.styled(f" ●{unfinished}", "$success"))
        label = label.append(" ").stylize(click(f"app.show({name!r})"))
        return label.stylize("on $panel") if here else label


class KeyBar(Widget):
    """The keys that work now, in the order of the table, as many as fit; they can be clicked."""

    ALLOW_SELECT = False

    def __init__(self, name: str) -> None:
        super().__init__(id="key-bar")
        self.auto_links = False
        self._section = name

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._changed)

    def _changed(self, _screen: Screen[object]) -> None:
        self.refresh()

    def render(self) -> Content:
        working = self._working()
        width = self.content_size.width
        # Help is never what falls off the end.
        last = [key for key in working if key.action == "help"]
        line = Content("")
        end = Content("").join([_entry(key) for key in last])
        for key in working:
            if key in last:
                continue
            entry = _entry(key)
            if line.cell_length + entry.cell_length + end.cell_length > width:
                break
            line = line.append(entry)
        return line.append(end)

    def _working(self) -> list[Key]:
        active = self.screen.active_bindings
        keys = []
        for key in shown(self._section):
            bound = active.get(key.first)
            if bound is None or bound.binding.action != key.action or not bound.enabled:
                continue
            keys.append(key)
        return keys


def _entry(key: Key) -> Content:
    bright = key.action == "train"
    return Content.assemble(
        (f" {key.name} ", "bold $accent" if bright else "bold $primary"),
        (f"{key.label} ", "bold $foreground" if bright else "$text-muted"),
    ).stylize(click(key.action if key.screen != "app" else f"app.{key.action}"))


def _short(home: Path) -> str:
    try:
        inside = home.relative_to(Path.home())
    except (ValueError, RuntimeError):
        return one_line(str(home), 400)
    return one_line(str(Path("~") / inside), 400)
