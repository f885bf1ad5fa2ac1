"""Which key may go to which server; checked before any key is read for an agent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from shlex import quote

from waltzrl_tui.approvals import is_approved, origin_of, unencrypted
from waltzrl_tui.endpoints.presets import PRESETS
from waltzrl_tui.errors import EndpointError
from waltzrl_tui.keys import find_key
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.store.rows import AgentRow
from waltzrl_tui.text import one_line


@dataclass(frozen=True, slots=True, order=True)
class KeyUse:
    """A key, by the name of its variable, that an agent would send to a server."""

    agent: str
    variable: str
    url: str

    @property
    def words(self) -> str:
        """What the user must approve."""
        suffix = ", unencrypted" if unencrypted(self.url) else ""
        return (
            f"The agent {one_line(self.agent, 40)} sends the key {one_line(self.variable, 40)} to "
            f"{origin_of(self.url) or one_line(self.url, 80)}{suffix}. "
            "You have not approved that on this machine."
        )

    @property
    def hint(self) -> str:
        """How to approve it on the command line."""
        name = quote(one_line(self.agent, 80))
        return f"If you trust that server: waltzrl-tui agents approve {name}"


def may_send(variable: str, url: str) -> bool:
    """Whether the key may go to that server: its provider's own, or an approved one."""
    origin = origin_of(url)
    own = (
        server
        for preset in PRESETS.values()
        if preset.key == variable and variable
        for server in (preset.url, *preset.others)
    )
    return bool(origin) and (
        origin in {origin_of(server) for server in own} or is_approved(variable, url)
    )


def key_for(use: KeyUse) -> str:
    """The key, or "" where it is not set. Reading a keyring may block.

    Raises:
        EndpointError: The user has not approved sending it there.
    """
    if not may_send(use.variable, use.url):
        raise EndpointError(use.words, hint=use.hint)
    return find_key(use.variable)


def unapproved(agents: Iterable[AgentRow], up: Iterable[DeploymentRow]) -> list[KeyUse]:
    """The keys that requests to `agents` would send to servers without the user's approval.

    Args:
        up: The deployments that are up.
    """
    addresses = {row.agent: row.endpoint for row in up if row.state == "ready"}
    uses = [
        KeyUse(agent.name, agent.key_env, url)
        for agent in agents
        if agent.kind in ("openai", "anthropic", "hosted") and agent.key_env
        # An agent that is not up fails anyway; Bedrock uses AWS credentials.
        if origin_of(url := addresses.get(agent.name, "") if agent.kind == "hosted" else agent.url)
    ]
    return [use for use in dict.fromkeys(uses) if not may_send(use.variable, use.url)]
