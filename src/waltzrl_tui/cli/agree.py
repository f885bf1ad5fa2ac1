"""A yes before money is spent, and before a key goes to a server that is new to this user."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

from waltzrl_tui.approvals import approve, unencrypted
from waltzrl_tui.cli.command import Context
from waltzrl_tui.endpoints.key_gate import may_send, unapproved
from waltzrl_tui.errors import EndpointError, UsageError, WaltzError
from waltzrl_tui.store import AgentRow, Store


async def agree(context: Context, proposal: str, *, yes: bool) -> None:
    """Show a proposal, and return only after a yes, typed or by --yes.

    Args:
        yes: Whether --yes was given.

    Raises:
        UsageError: There is no terminal to ask at.
        WaltzError: The answer is no.
    """
    context.out.say(proposal)
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"Nothing was done. {proposal}", hint="Without a terminal, agree with --yes."
        )
    if not await _yes(context, "Go on?"):
        raise WaltzError("Nothing was done.")


async def agree_to_keys(context: Context, store: Store, agents: Iterable[AgentRow]) -> None:
    """Have the user approve every server to which asking `agents` sends a key.

    --yes is a yes to money only: a script must not approve a server that it has never seen.

    Raises:
        EndpointError: One is not approved, and the answer is no or there is no terminal.
    """
    up = await store.deployments.list(up=True)
    for use in await asyncio.to_thread(unapproved, agents, up):
        if sys.stdin is None or not sys.stdin.isatty():
            raise EndpointError(use.words, hint=use.hint)
        context.out.say(use.words)
        if not await _yes(context, "Send it there, now and from now on?"):
            raise EndpointError(f"No key was sent. {use.words}", hint=use.hint)
        await asyncio.to_thread(approve, use.variable, use.url)


async def approve_typed(option: str, key: str, url: str, how: str) -> None:
    """Approve `key` for the server whose address the user has typed.

    Args:
        key: A variable, or a provider's name.
        how: The command that approves a server to which keys go unencrypted.

    Raises:
        UsageError: `url` is not the address of a server, or others could read the key.
    """
    if await asyncio.to_thread(may_send, key, url):
        return
    if unencrypted(url):
        raise UsageError(
            f"{option}: keys would go to {url} unencrypted.",
            hint=f"Give an address with https. If you accept that others can read them: {how}",
        )
    await asyncio.to_thread(approve, key, url)


async def _yes(context: Context, question: str) -> bool:
    context.out.say(f"{question} [y/N] ")
    answer = await asyncio.to_thread(sys.stdin.readline)
    return answer.strip().lower() in ("y", "yes")
