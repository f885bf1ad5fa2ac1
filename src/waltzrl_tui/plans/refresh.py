"""Prices from the providers' own price APIs, kept with today's date; the calls are free."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from waltzrl_tui.network import async_transport
from waltzrl_tui.plans.catalogue import bundled_document, merge, prices_path
from waltzrl_tui.plans.price_apis import PRICE_READERS, SECONDS, PriceClient, PriceUnavailable
from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.workspace import Workspace, private_write

BASES: Final[Mapping[str, tuple[str, str]]] = {
    "hf_jobs": ("HF_ENDPOINT", "https://huggingface.co"),
    "runpod": ("RUNPOD_REST_URL", "https://api.runpod.io"),
    "vast": ("VAST_URL", "https://console.vast.ai"),
    "lambda": ("LAMBDA_API_URL", "https://cloud.lambda.ai"),
    "together": ("TOGETHER_BASE_URL", "https://api.together.ai"),
}
"""By provider, the variable that overrides its address, and its usual address."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """The result of asking one provider: the number of prices, or the `error`, in words."""

    provider: str
    prices: int
    error: str = ""


async def refresh(
    workspace: Workspace,
    *,
    only: Iterable[str] = (),
    bases: Mapping[str, str] | None = None,
    on_done: Callable[[RefreshResult], None] | None = None,
) -> list[RefreshResult]:
    """Ask all providers at once and keep their prices in `state/prices.json`.

    A provider that does not respond keeps its old prices. The calls cost nothing.

    Args:
        only: Names of providers; all of `BASES` when empty.
        bases: Addresses by provider, preferred to the variables of `BASES`.
        on_done: Called after each provider.

    Raises:
        StoreError: The prices cannot be written.
    """
    import httpx2

    catalogue = await asyncio.to_thread(lambda: Catalogue.model_validate(bundled_document()))
    entries: dict[str, Any] = {}

    async with httpx2.AsyncClient(
        timeout=SECONDS, follow_redirects=True, transport=async_transport(httpx2)
    ) as client:

        async def read(name: str) -> RefreshResult:
            variable, usual = BASES[name]
            base = (bases or {}).get(name) or os.environ.get(variable) or usual
            api = PriceClient(
                provider=name,
                base=base.rstrip("/"),
                key=_key(catalogue, name),
                catalogue=catalogue,
                client=client,
                today=datetime.now(UTC).date(),
            )
            try:
                entry = await asyncio.wait_for(PRICE_READERS[name](api), 2 * SECONDS)
            except PriceUnavailable as error:
                return RefreshResult(name, 0, str(error))
            except TimeoutError:
                return RefreshResult(name, 0, f"no response within {2 * SECONDS:g} s")
            except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
                return RefreshResult(name, 0, f"unexpected response ({type(error).__name__})")
            count = sum(len(table) for table in entry.values())
            if not count:
                return RefreshResult(name, 0, "its response has no known price")
            entries[name] = entry
            return RefreshResult(name, count)

        async def read_and_report(name: str) -> RefreshResult:
            result = await read(name)
            if on_done:
                on_done(result)
            return result

        names = [name for name in BASES if not only or name in set(only)]
        results = await asyncio.gather(*map(read_and_report, names))
    if entries:
        await asyncio.to_thread(_save, workspace, {"provider": entries})
    return list(results)


def _key(catalogue: Catalogue, name: str) -> str:
    keys = catalogue.provider[name].keys
    return next((os.environ[key] for key in keys if os.environ.get(key)), "")


def _save(workspace: Workspace, prices: dict[str, Any]) -> None:
    path = prices_path(workspace)
    workspace.prepare()
    try:
        merged = json.loads(path.read_text("utf-8"))["prices"]
        merge(merged, prices)
        document = bundled_document()
        merge(document, merged)
        Catalogue.model_validate(document)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        merged = prices  # None yet, or damaged: the new ones stand alone.
    private_write(path, json.dumps({"prices": merged}, indent=1) + "\n")
