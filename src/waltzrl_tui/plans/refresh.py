"""Prices from the providers' own price APIs: free calls, kept with today's date."""

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
"""Who is asked: the variable that names another address, and the usual one."""


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What asking one provider came to. `error` is empty when it answered."""

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
    """Ask all providers at once, keep what they tell in `state/prices.json`, and say who did not.

    Prices of a provider that does not answer stay as they were. The calls cost nothing.

    Args:
        only: Names of providers; all of `BASES` when empty.
        bases: Other addresses by provider; before the variables of `BASES`.
        on_done: Hears of each provider as it is through.

    Raises:
        StoreError: The prices cannot be written.
    """
    import httpx2

    catalogue = await asyncio.to_thread(lambda: Catalogue.model_validate(bundled_document()))
    wanted = [name for name in BASES if not only or name in set(only)]
    found: dict[str, Any] = {}

    async with httpx2.AsyncClient(
        timeout=SECONDS, follow_redirects=True, transport=async_transport(httpx2)
    ) as client:

        async def one(name: str) -> RefreshResult:
            variable, usual = BASES[name]
            base = (bases or {}).get(name) or os.environ.get(variable) or usual
            ask = PriceClient(
                name,
                base.rstrip("/"),
                _key(catalogue, name),
                catalogue,
                client,
                datetime.now(UTC).date(),
            )
            try:
                entry = await asyncio.wait_for(PRICE_READERS[name](ask), 2 * SECONDS)
                count = sum(len(table) for table in entry.values())
                done = RefreshResult(name, count, "" if count else "it told no price that is known")
                if count:
                    found[name] = entry
            except PriceUnavailable as error:
                done = RefreshResult(name, 0, str(error))
            except TimeoutError:
                done = RefreshResult(name, 0, f"no answer within {2 * SECONDS:g} s")
            except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
                done = RefreshResult(
                    name, 0, f"its answer has another shape ({type(error).__name__})"
                )
            if on_done:
                on_done(done)
            return done

        results = await asyncio.gather(*map(one, wanted))
    if found:
        await asyncio.to_thread(_keep, workspace, {"provider": found})
    return list(results)


def _key(catalogue: Catalogue, name: str) -> str:
    keys = catalogue.provider[name].keys
    return next((os.environ[key] for key in keys if os.environ.get(key)), "")


def _keep(workspace: Workspace, prices: dict[str, Any]) -> None:
    path = prices_path(workspace)
    workspace.prepare()
    try:
        kept = json.loads(path.read_text("utf-8"))["prices"]
        merge(kept, prices)
        Catalogue.model_validate(_over_bundle(kept))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = prices  # none yet, or damaged: these stand alone
    private_write(path, json.dumps({"prices": kept}, indent=1) + "\n")


def _over_bundle(prices: dict[str, Any]) -> dict[str, Any]:
    document = bundled_document()
    merge(document, prices)
    return document
