"""Trust in the addresses where a provider's results answer, which receive its key."""

from __future__ import annotations

import asyncio

from waltzrl_tui.approvals import approve, origin_of, unencrypted
from waltzrl_tui.endpoints.key_gate import may_send
from waltzrl_tui.providers.protocol import Provider


async def trust_answers(provider: Provider, url: str) -> None:
    """Approve that the provider's key goes to `url`, which the provider itself has named.

    It has the key already. Where the user has not approved the provider's own address, it was
    never opened.

    Raises:
        WaltzError: The approval cannot be kept.
    """
    keys = provider.capabilities.keys
    if not keys or not origin_of(url) or unencrypted(url):
        return
    if not await asyncio.to_thread(may_send, keys[0], url):
        await asyncio.to_thread(approve, keys[0], url)
