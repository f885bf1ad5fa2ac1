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
        title: In the bar of screens.
        class_name: Of the screen in the package's module `screen`.
        help: One sentence, for the help screen and the command palette.
    """

    name: str
    title: str
    class_name: str
    help: str

    @property
    def module(self) -> str:
        """Where the screen is imported from when it is first shown."""
        return f"waltzrl_tui.tui.{self.name}.screen"


SCREENS: Final = (
    ScreenEntry(
        name="data",
        title="Data",
        class_name="DataScreen",
        help="Show the datasets and draw samples.",
    ),
    ScreenEntry(
        name="plan",
        title="Plan",
        class_name="PlanScreen",
        help="Compare what every provider costs.",
    ),
    ScreenEntry(
        name="jobs",
        title="Jobs",
        class_name="JobsScreen",
        help="Show training and other jobs.",
    ),
    ScreenEntry(
        name="chat",
        title="Chat",
        class_name="ChatScreen",
        help="Chat with a pair of agents.",
    ),
    ScreenEntry(
        name="evaluate",
        title="Evaluate",
        class_name="EvaluateScreen",
        help="Measure pairs on prompts.",
    ),
)
