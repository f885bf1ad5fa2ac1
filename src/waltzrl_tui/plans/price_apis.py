"""The providers' own price APIs: the requests, and the prices in the responses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import date
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.plans.schema import Catalogue
from waltzrl_tui.plans.throughput import match_gpu
from waltzrl_tui.text import one_line

if TYPE_CHECKING:
    from httpx2 import AsyncClient

SECONDS: Final = 15.0
"""Time limit of a response."""

_MAX_BYTES: Final = 8 * 1024 * 1024
_USD_PER_HOUR: Final = (0.01, 1000.0)
_USD_PER_MILLION: Final = (0.01, 1000.0)


class PriceUnavailable(Exception):
    """A provider gave no prices; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceClient:
    """A client of one provider's price API.

    Attributes:
        base: The address that paths are appended to.
        key: Sent as bearer token; "" for none.
        today: The date of the prices.
    """

    provider: str
    base: str
    key: str
    catalogue: Catalogue
    client: AsyncClient
    today: date

    async def get(self, path: str, **options: Any) -> Any:
        return await self.send("GET", path, **options)

    async def send(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the parsed JSON of the response.

        Raises:
            PriceUnavailable: There was no response, or it was not JSON.
        """
        import httpx2

        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            async with self.client.stream(
                method, f"{self.base}{path}", headers=headers, **options
            ) as response:
                if response.status_code in (401, 403):
                    raise PriceUnavailable("it needs a valid key" if self.key else "it needs a key")
                if response.status_code != 200:
                    raise PriceUnavailable(f"it answered with status {response.status_code}")
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _MAX_BYTES:
                        raise PriceUnavailable("its response is too long")
            return json.loads(body)
        except httpx2.TimeoutException as error:
            raise PriceUnavailable(f"no response within {SECONDS:g} s") from error
        except httpx2.HTTPError as error:
            raise PriceUnavailable(one_line(str(error) or type(error).__name__, 300)) from error
        except (ValueError, RecursionError) as error:
            raise PriceUnavailable("its response is not JSON") from error

    def price(self, what: str, low: float, expected: float, high: float) -> dict[str, Any]:
        return {
            "low": round(low, 6),
            "expected": round(expected, 6),
            "high": round(high, 6),
            "as_of": self.today.isoformat(),
            "source": f"the provider's price API: {what}",
        }


async def _hugging_face(api: PriceClient) -> dict[str, Any]:
    """`GET /api/jobs/hardware`: every flavour, USD per minute; needs no key."""
    response = await api.get("/api/jobs/hardware")
    per_hour = {}
    for flavour in response:
        if flavour.get("unitLabel", flavour.get("unit_label")) == "minute":
            usd = flavour.get("unitCostUSD", flavour.get("unit_cost_usd"))
            per_hour[str(flavour["name"])] = float(usd) * 60
    return _machines(api, "Jobs hardware", per_hour)


async def _lambda(api: PriceClient) -> dict[str, Any]:
    """`GET /api/v1/instance-types`: cents per hour by type."""
    if not api.key:
        raise PriceUnavailable("it needs LAMBDA_API_KEY")
    response = await api.get("/api/v1/instance-types")
    per_hour = {
        str(name): entry["instance_type"]["price_cents_per_hour"] / 100
        for name, entry in response["data"].items()
    }
    return _machines(api, "instance types", per_hour)


def _machines(api: PriceClient, what: str, per_hour: Mapping[str, float]) -> dict[str, Any]:
    entries = {}
    for name, machine in api.catalogue.provider[api.provider].machine.items():
        usd = per_hour.get(machine.flavor)
        if usd is not None and _plausible(usd, _USD_PER_HOUR):
            entries[name] = {"usd_per_hour": api.price(what, usd, usd, usd)}
    return {"machine": entries}


async def _runpod(api: PriceClient) -> dict[str, Any]:
    """`GET /v2/catalog/gpus`: list prices of one GPU per hour, secure and community."""
    if not api.key:
        raise PriceUnavailable("it needs RUNPOD_API_KEY")
    response = await api.get("/v2/catalog/gpus")
    listed: dict[str, list[float]] = {}
    for gpu in response["gpus"]:
        title = match_gpu(api.catalogue, str(gpu["name"])) or match_gpu(
            api.catalogue, str(gpu["id"])
        )
        prices = [
            float(gpu["price"][cloud])
            for cloud in ("community", "secure")
            if gpu.get(cloud) and _plausible(float(gpu["price"][cloud]), _USD_PER_HOUR)
        ]
        if title is not None and prices:
            listed.setdefault(title, []).extend(prices)
    entries = {}
    for name, machine in api.catalogue.provider["runpod"].machine.items():
        if prices := sorted(listed.get(machine.gpu, [])):
            low, high = prices[0] * machine.gpus, prices[-1] * machine.gpus
            # Plans use the secure cloud, which costs more.
            entries[name] = {"usd_per_hour": api.price("GPU catalog", low, high, high)}
    return {"machine": entries}


async def _vast(api: PriceClient) -> dict[str, Any]:
    """`POST /api/v0/bundles/`: current offers: the lowest, the median, and the 9th decile."""
    wanted = {machine.gpu for machine in api.catalogue.provider["vast"].machine.values()}
    names = sorted({name.upper() for gpu in wanted for name in api.catalogue.gpu[gpu].names})
    spelled = sorted({*names, *(name.replace("_", " ").replace("-", " ") for name in names)})
    response = await api.send(
        "POST",
        "/api/v0/bundles/",
        json={
            "type": "on-demand",
            "rentable": {"eq": True},
            "verified": {"eq": True},
            "gpu_name": {"in": spelled},
            "order": [["dph_total", "asc"]],
            "limit": 500,
        },
    )
    offers: dict[tuple[str, int], list[float]] = {}
    for offer in response["offers"]:
        title = match_gpu(api.catalogue, str(offer["gpu_name"]))
        usd = float(offer["dph_total"])
        if title is None or not _plausible(usd, _USD_PER_HOUR):
            continue
        # An A100 SXM4 has 40 or 80 GB under one name: the memory (MB) tells them apart.
        least = api.catalogue.gpu[title].memory_gb * 900
        if float(offer.get("gpu_ram") or least) >= least:
            offers.setdefault((title, int(offer["num_gpus"])), []).append(usd)
    entries = {}
    for name, machine in api.catalogue.provider["vast"].machine.items():
        prices = sorted(offers.get((machine.gpu, machine.gpus), []))
        if prices:
            dear = quantiles(prices, n=10, method="inclusive")[-1] if prices[1:] else prices[0]
            what = f"{len(prices)} offers"
            entries[name] = {
                "usd_per_hour": api.price(what, prices[0], median(prices), max(dear, prices[0]))
            }
    return {"machine": entries}


async def _together(api: PriceClient) -> dict[str, Any]:
    """`GET /v1/models`: the price of fine-tuning by model, where given; and `GET /v1/hardware`:
    cents per minute of an H100."""
    if not api.key:
        raise PriceUnavailable("it needs TOGETHER_API_KEY")
    base = "" if api.base.endswith("/v1") else "/v1"
    models, hardware = await asyncio.gather(api.get(f"{base}/models"), api.get(f"{base}/hardware"))
    tuning = {
        str(model["id"]).rpartition("/")[2].removesuffix("-Reference"): float(
            (model.get("pricing") or {}).get("finetune") or 0
        )
        for model in models
    }
    hour = {
        int(each["specs"]["gpu_count"]): float(each["pricing"]["cents_per_minute"]) * 0.6
        for each in hardware["data"]
        if "h100" in str(each["specs"]["gpu_type"]).lower()
    }
    entries: dict[str, Any] = {}
    for size, offer in api.catalogue.provider["together"].offer.items():
        entry: dict[str, Any] = {}
        usd = tuning.get(offer.model, 0.0)
        if _plausible(usd, _USD_PER_MILLION):
            entry["sft"] = api.price("models", usd, usd, usd)
        gpus = 2 if size == "large" else 1
        if _plausible(hour.get(gpus, 0.0), _USD_PER_HOUR):
            one = hour[gpus]
            entry["hosting"] = api.price("hardware", one, 2 * one, 2 * one)
        if entry:
            entries[size] = entry
    return {"offer": entries}


def _plausible(usd: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] <= usd <= bounds[1]


PRICE_READERS: Final[Mapping[str, Callable[[PriceClient], Awaitable[dict[str, Any]]]]] = {
    "hf_jobs": _hugging_face,
    "runpod": _runpod,
    "vast": _vast,
    "lambda": _lambda,
    "together": _together,
}
"""By provider, a function that reads its part of the catalogue: machines or offers.

Raises:
    PriceUnavailable: It gave no prices.
"""
