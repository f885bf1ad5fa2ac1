"""The one table of screens: the app, its bars, keys, help and the command line read it.

A new screen is an entry here, its keys in `keys.py`, and a package of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenEntry:
    """One screen of the app; its number key is its place in the table.

    Attributes:
        name: Of its package in `tui/`, and for `--screen`.
        help: One sentence, for the help screen and the command palette.
    """

    name: str
    help: str

    @property
    def title(self) -> str:
        """In the bar of screens."""
        return self.name.capitalize()

    @property
    def module(self) -> str:
        """Where the screen is imported from when it is first shown."""
        return f"waltzrl_tui.tui.{self.name}.screen"

    @property
    def class_name(self) -> str:
        """Of the screen in its module."""
        return f"{self.title}Screen"


SCREENS: Final = (
    ScreenEntry(name="data", help="Show the datasets and draw samples."),
    ScreenEntry(name="plan", help="Compare what every provider costs."),
    ScreenEntry(name="jobs", help="Show training and other jobs."),
    ScreenEntry(name="chat", help="Chat with a pair of agents."),
    ScreenEntry(name="evaluate", help="Measure pairs on prompts."),
)
