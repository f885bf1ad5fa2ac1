"""Asking the providers what they charge today: after the user's yes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen

if TYPE_CHECKING:
    from waltzrl_tui.plans.refresh import RefreshResult
    from waltzrl_tui.tui.shell.app import WaltzApp


async def refresh_prices(
    app: WaltzApp, titles: Mapping[str, str], on_progress: Callable[[str], None]
) -> bool:
    """Ask the user, then the providers; say what came of it. Whether anybody was asked.

    Args:
        titles: How providers are called on the screen.
        on_progress: Gets how far it is, "" at the end.

    Raises:
        StoreError: The prices cannot be written.
    """
    # Their imports take a moment, and nobody needs them before.
    prices = await asyncio.to_thread(import_module, "waltzrl_tui.plans.refresh")
    hosts = {
        name: urlsplit(os.environ.get(variable) or usual).netloc
        for name, (variable, usual) in prices.BASES.items()
    }
    listing = "\n".join(f"  {titles.get(name, name)}  {host}" for name, host in hosts.items())
    text = (
        f"These are asked what they charge now, with the keys that are set:\n\n{listing}\n\n"
        "It is free and nothing about your data is sent. What they answer is kept in this"
        " workspace with today's date."
    )
    question = ConfirmScreen("Ask for today's prices?", text, [("y", "ask them")])
    if await app.push_screen_wait(question) != "y":
        return False
    await asyncio.to_thread(import_module, "httpx2")
    through = 0

    def done(_: RefreshResult) -> None:
        nonlocal through
        through += 1
        on_progress(f"asking for prices… {through} of {len(hosts)}")

    on_progress(f"asking for prices… 0 of {len(hosts)}")
    try:
        results: list[RefreshResult] = await prices.refresh(app.workspace, on_done=done)
    finally:
        on_progress("")
    _say(app, results, titles)
    return True


def _say(app: WaltzApp, results: list[RefreshResult], titles: Mapping[str, str]) -> None:
    def title(done: RefreshResult) -> str:
        return one_line(titles.get(done.provider, done.provider))

    good = [f"✓ {title(done)}: {done.prices} prices" for done in results if not done.error]
    bad = [f"✗ {title(done)}: {one_line(done.error)}" for done in results if done.error]
    lines = "\n".join([*good, *bad])
    app.notify(
        f"{lines}\n{'The others stay as they were.' if bad else ''}".strip(),
        title="Prices of today",
        severity="warning" if bad else "information",
        timeout=12,
        markup=False,
    )
