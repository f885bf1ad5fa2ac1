"""A yes before money is spent."""

from __future__ import annotations

import asyncio
import sys

from waltzrl_tui.cli.command import Context
from waltzrl_tui.errors import UsageError, WaltzError


async def agree(context: Context, said: str) -> None:
    """Say what it is about, and go on only with a yes: by --yes, or typed.

    Raises:
        UsageError: Nobody can be asked.
        WaltzError: The answer is no.
    """
    context.out.say(said)
    if context.args.yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"Nothing was done. {said}", hint="Say yes with --yes where nobody can be asked."
        )
    context.out.say("Go on? [y/N] ")
    answer = await asyncio.to_thread(sys.stdin.readline)
    if answer.strip().lower() not in ("y", "yes"):
        raise WaltzError("Nothing was done.")
