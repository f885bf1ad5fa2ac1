"""The environment of processes that are started here: no key that a process does not need."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Collection, Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from waltzrl_tui.keys import key_variables
from waltzrl_tui.store.rows import AgentRow
from waltzrl_tui.workspace import Workspace

_SECRET: Final = re.compile(
    r"(?:^|_)(?:(?:API|ACCESS|SECRET|ADMIN)?_?KEY|TOKEN|SECRET|PASSWORD|BEARER_TOKEN_\w+)$", re.I
)
"""Names of keys that this project does not know, by how everybody calls such variables."""


def child_environment(workspace: Workspace, needs: Collection[str] = ()) -> dict[str, str]:
    """This process's environment for a child. Reads the store: not on the event loop.

    Of keys only those of `needs` are in it: the keys of providers, those that agents of the
    workspace name, and whatever else is called like one are left out. The folders of PYTHONPATH
    are absolute, for children that run in the workspace.
    """
    keys = key_variables() | _stored(workspace)
    environment = {
        name: value
        for name, value in os.environ.items()
        if name in needs or (name not in keys and not _SECRET.search(name))
    }
    if folders := environment.get("PYTHONPATH"):
        # An empty one means the current folder, whose files must not be taken for modules.
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(folder).absolute()) for folder in folders.split(os.pathsep) if folder
        )
    return environment


def keys_of(agents: Iterable[AgentRow]) -> set[str]:
    """The variables with the keys that a process needs to ask these agents."""
    needs: set[str] = set()
    for agent in agents:
        needs.add(agent.key_env)
        if "bedrock" in (agent.kind, *agent.url.split(":")) or agent.key_env.startswith("AWS_"):
            needs.update(name for name in os.environ if name.startswith("AWS_"))
    return needs - {""}


def _stored(workspace: Workspace) -> set[str]:
    """The variables that agents of the workspace name; none where the store cannot be read."""
    path = workspace.store_path
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
            return {name for (name,) in connection.execute("SELECT DISTINCT key_env FROM agents")}
    except sqlite3.Error:
        return set()
