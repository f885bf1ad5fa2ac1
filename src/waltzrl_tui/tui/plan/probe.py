"""Asking providers, for the Plan screen, whether this account may train there. Free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

_SECONDS: Final = 300.0
"""How long an answer is taken as news."""


class Probing:
    """Asks those providers of which there is a key, each of them once in a while."""

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self.under_way: frozenset[str] = frozenset()

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that were not asked lately."""
        since = time.monotonic() - _SECONDS
        return [name for name in names if self._times.get(name, since) <= since]

    def forget(self) -> None:
        """Ask all of them anew the next time."""
        self._times.clear()

    async def ask(self, app: WaltzApp, names: Sequence[str]) -> None:
        """Ask, and write the answers to the store.

        Raises:
            StoreError: They cannot be written.
        """
        self.under_way = frozenset(names)
        self._times |= dict.fromkeys(names, time.monotonic())
        # Imported here: most who look at plans have no key yet.
        pool: Any = await asyncio.to_thread(import_module, "waltzrl_tui.remote.provider_pool")
        probing: Any = await asyncio.to_thread(import_module, "waltzrl_tui.remote.probe")
        providers = pool.Providers(app.workspace)
        try:
            await probing.probe(app.store, providers, names)
        finally:
            self.under_way = frozenset()
            await providers.close()
