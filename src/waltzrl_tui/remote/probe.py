"""Probes of providers: whether the key works and the account may train. Free."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.providers.errors import AuthError, ClosedError, ProviderError, SdkMissingError
from waltzrl_tui.providers.protocol import Account
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import Store
from waltzrl_tui.store.remote_rows import ProbeRow
from waltzrl_tui.store.rows import now
from waltzrl_tui.text import one_line

_SECONDS = 20.0


async def probe(
    store: Store | None,
    providers: Providers,
    names: Sequence[str],
    *,
    urls: Mapping[str, str] | None = None,
) -> list[ProbeRow]:
    """Ask providers, all at once, and keep their answers when there is a store.

    One that cannot be reached within 20 s keeps the answer that it gave before.
    """
    rows = await asyncio.gather(
        *(_one(providers, name, (urls or {}).get(name, "")) for name in names)
    )
    if store is not None:
        for row in rows:
            if row.key_ok is not None or row.may_tune is not None:
                await store.remote.keep_probe(row)
    return rows


async def _one(providers: Providers, name: str, url: str) -> ProbeRow:
    try:
        provider = await providers.get(name, url)
        async with asyncio.timeout(_SECONDS):
            account = await provider.probe()
    except AuthError as error:
        account = Account(False, None, _words(error))
    except ClosedError as error:
        account = Account(None, False, _words(error))
    except SdkMissingError as error:
        account = Account(None, None, f"{error.message} {error.hint}".strip())
    except (ProviderError, NotFoundError) as error:
        # Why it cannot be reached (a proxy, a name, a certificate) is in the words.
        words = error.words if isinstance(error, ProviderError) else ""
        account = Account(None, None, f"{error.message} {words}".strip())
    except TimeoutError:
        account = Account(None, None, f"no answer within {_SECONDS:g} s")
    return ProbeRow(
        name,
        account.key_ok,
        account.may_tune,
        one_line(account.words, 300),
        one_line(account.account, 80),
        now(),
    )


def _words(error: ProviderError) -> str:
    return error.words or error.message
