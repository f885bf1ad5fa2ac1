"""The table of commands. A new command is an entry here and a module of its name.

The module has `build(parser)`, which adds its arguments and names its work. It is imported only
when its command is used, and imports what is slow to import only where it works.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast


class _CommandModule(Protocol):
    def build(self, parser: argparse.ArgumentParser) -> None: ...


@dataclass(frozen=True)
class CommandEntry:
    """One command: its name, which is also its module's, and a line of help."""

    name: str
    help: str

    def build(self, parser: argparse.ArgumentParser) -> None:
        """Import the command and let it add its arguments."""
        module = import_module(f"waltzrl_tui.cli.{self.name}")
        cast("_CommandModule", module).build(parser)


COMMANDS: Final = (
    CommandEntry("run", "sample, train both agents here, and evaluate before and after"),
    CommandEntry("data", "profile, download and sample datasets"),
    CommandEntry("plan", "estimate what training both agents costs at every provider"),
    CommandEntry("train", "train agents on a dataset"),
    CommandEntry("jobs", "list and control training jobs"),
    CommandEntry("deployments", "models that are deployed for chat and billed by the hour"),
    CommandEntry("agents", "models in a role"),
    CommandEntry("pairs", "a conversation agent with a feedback agent"),
    CommandEntry("chat", "ask a pair; on a terminal the app's chat opens"),
    CommandEntry("serve", "serve pairs at an OpenAI-compatible endpoint"),
    CommandEntry("chats", "saved chats and votes"),
    CommandEntry("evaluate", "measure unsafe replies and over-refusals"),
    CommandEntry("evaluations", "list, show, export, stop and label evaluation runs"),
    CommandEntry("judges", "check judges against human labels"),
    CommandEntry("doctor", "check this machine, workspace and accounts"),
)
