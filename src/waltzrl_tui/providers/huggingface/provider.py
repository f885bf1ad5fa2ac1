"""Hugging Face Jobs: our own training worker on a machine that is billed by the minute.

The rows and the worker's code go into one private dataset repository of the account, each under a
name that carries its hash. A job is a command of uv that installs what the worker needs, fetches
its code and runs it; the worker prints its rows as lines of the job's log, and at the end puts the
adapter into a private model repository, from which `collect` downloads it. The tag is the job's
name, which is a label, so that jobs can be listed by it. The token reaches the job as a secret.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
)
from waltzrl_tui.providers.huggingface.api import Hub, fingerprint
from waltzrl_tui.providers.huggingface.jobs import (
    STATES,
    TAG_LABEL,
    body_of,
    described,
    flavor_of,
    job_of,
    repositories,
    seconds_billed,
    timeout_of,
)
from waltzrl_tui.providers.huggingface.logs import (
    News,
    Place,
    events,
    last_error,
    metrics,
    news,
    place_of,
)
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    JobSnapshot,
    PriceEstimate,
    Progress,
    ProviderContext,
    RemoteJob,
    TrainingUpload,
    TuneRequest,
)
from waltzrl_tui.providers.sdk_errors import translating
from waltzrl_tui.providers.worker_code import worker_code
from waltzrl_tui.words import money

_TITLE: Final = "Hugging Face"
_ENDED: Final = ("succeeded", "failed", "cancelled")
_LISTED: Final = 100
_PRICES_SECONDS: Final = 3600.0
_MASKED: Final = "…"
_AT_ONCE: Final = 4
T = TypeVar("T")


class HuggingFace(Tuner):
    """SFT by LoRA of any causal model on the hub that fits one GPU. Adapters are downloaded."""

    name, title = "hf_jobs", "Hugging Face Jobs"
    capabilities = Capabilities.of("hf_jobs", estimates=True, weights=True)

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        # The account of a token is requested rarely: the vendor limits that strictly.
        self._accounts: dict[str, str] = {}
        self._account = ""
        self._prices: tuple[float, dict[str, float]] | None = None
        # Its own threads: reading the log of a quiet job takes 5 s.
        self._pool = ThreadPoolExecutor(_AT_ONCE, "hugging-face")

    async def probe(self) -> Account:
        who = await self._ask(self._known)
        role = str(((who.get("auth") or {}).get("accessToken") or {}).get("role", ""))
        paid = bool(who.get("canPay") or who.get("isPro"))
        words = ", ".join(f"{each}: {json.dumps(who.get(each))}" for each in ("canPay", "isPro"))
        if role == "read":
            words = f"the token is read-only; jobs and repositories need write access ({words})"
            return Account(True, False, words, self._account)
        try:
            await self._ask(lambda hub: next(hub.jobs(self._account), None))
        except (AuthError, QuotaError, ClosedError, InvalidRequestError) as error:
            return Account(True, False, error.words or error.message, self._account)
        if not paid:
            words += "; a job is refused without a credit balance"
        return Account(True, True if paid else None, words, self._account)

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        account = await self._name()
        repo, _ = repositories(account, "")
        path = f"rows/{file.name}"
        # The SDK reports no progress.
        await progress(0, file.bytes)
        await self._ask(lambda hub: hub.send(repo, path, file.path, file.bytes), effect=True)
        await progress(file.bytes, file.bytes)
        return path

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        flavor, prices = flavor_of(request), await self._priced()
        usd = prices.get(flavor)
        if usd is None:
            raise InvalidRequestError(
                f"{_TITLE} does not offer a machine {flavor!r}, or does not list its price.",
                hint=f"It has {', '.join(sorted(prices, key=lambda name: prices[name]))}.",
            )
        rate = f"{money(usd * 3600)} an hour for {flavor}"
        if request.seconds is None:
            return PriceEstimate(None, words=f"{rate}; the plan has no hours")
        most = timeout_of(request)
        words = (
            f"{rate}, {request.seconds / 60:.0f} min by the plan; stopped after {most / 60:.0f} "
            f"min, at {money(usd * most)}"
        )
        return PriceEstimate(usd * request.seconds, words=words)

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        """The body of the request, its secret masked; the account is `…` until it is known."""
        body = body_of(request, self._account or _MASKED)
        return body | {"secrets": {"HF_TOKEN": _MASKED}}

    async def create(self, request: TuneRequest) -> RemoteJob:
        """Start the job, after the worker's code was sent there if it is not there yet."""
        account = await self._name()
        body = await asyncio.to_thread(body_of, request, account)
        repo, _ = repositories(account, request.tag)
        code, content = await asyncio.to_thread(worker_code)
        await self._ask(lambda hub: hub.send(repo, code, content, len(content)))
        return await self._ask(lambda hub: job_of(hub.start(account, body)), effect=True)

    async def find(self, tag: str) -> RemoteJob | None:
        account = await self._name()

        def look(hub: Hub) -> RemoteJob | None:
            listed = (job_of(each) for each in hub.jobs(account, f"{TAG_LABEL}={tag}"))
            # Also where the server did not narrow the list by the label.
            return next((each for each in listed if each.tag == tag), None)

        return await self._ask(look)

    async def jobs(self) -> list[RemoteJob]:
        account = await self._name()

        return await self._ask(
            lambda hub: [job_of(each) for each in islice(hub.jobs(account), _LISTED)]
        )

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        account = await self._name()

        def look(hub: Hub) -> tuple[RemoteJob, Any, float | None]:
            job = hub.job(account, job_id)
            return job_of(job), job, seconds_billed(job)

        summary, job, seconds = await self._ask(look)
        place = place_of(cursor)
        update = News((), (), place)
        if summary.state != "queued":
            update = await self._news(account, job_id, place)
        steps = [row for row in update.rows if row.kind == "step"]
        newest = steps[-1] if steps else None
        error = last_error(update.rows) or str(cursor.get("error", ""))
        message = str(job.status.message or "")
        price = await self._price(str(job.flavor)) if seconds is not None else None
        words = message
        if summary.state == "failed":
            words = error or message or (update.lines[-1] if update.lines else "")
        step = newest.whole("step") if newest else None
        total = newest.whole("total_steps") if newest else None
        return JobSnapshot(
            summary.state,
            summary.provider_state,
            words=words,
            step=step,
            total_steps=total,
            fraction=step / total if step is not None and total else None,
            eta_seconds=newest.real("eta_seconds") if newest else None,
            cost_usd=price * seconds if price is not None and seconds is not None else None,
            tokens=newest.whole("tokens") if newest else None,
            result_model=str(described(job).get("result", ""))
            if summary.state == "succeeded"
            else "",
            events=events(update.rows),
            metrics=metrics(update.rows),
            log=update.lines,
            cursor={"row": update.place.row, "after": update.place.after, "error": error},
        )

    async def cancel(self, job_id: str) -> None:
        account = await self._name()

        def stop(hub: Hub) -> None:
            if STATES.get(str(hub.job(account, job_id).status.stage)) not in _ENDED:
                hub.cancel(account, job_id)

        await self._ask(stop)

    async def collect(self, result_model: str, folder: Path) -> Path:
        cache = self.context.cache
        return await self._ask(lambda hub: hub.fetch_adapter(result_model, folder, cache))

    async def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _news(self, account: str, job_id: str, since: Place) -> News:
        try:
            if since.row:
                last = await self._ask(lambda hub: hub.log(account, job_id, whole=False))
                update = news(last, since)
                if not update.gap:
                    return update
            return news(await self._ask(lambda hub: hub.log(account, job_id, whole=True)), since)
        except MissingError:
            # The log expires before the job; the job's outcome is still reported.
            return News((), (), since)

    async def _priced(self) -> dict[str, float]:
        if self._prices is None or time.monotonic() - self._prices[0] > _PRICES_SECONDS:
            self._prices = (time.monotonic(), await self._ask(lambda hub: hub.prices()))
        return self._prices[1]

    async def _price(self, flavor: str) -> float | None:
        try:
            return (await self._priced()).get(flavor)
        except ProviderError:
            return None  # report the job's state without its cost

    async def _name(self) -> str:
        """The account of the token that is set now."""

        def name(hub: Hub) -> str:
            known = self._accounts.get(fingerprint(hub.token))
            self._account = known or str(self._known(hub)["name"])
            return self._account

        return await self._ask(name)

    def _known(self, hub: Hub) -> dict[str, Any]:
        who = hub.whoami()
        self._account = self._accounts[fingerprint(hub.token)] = str(who["name"])
        return who

    async def _ask(self, call: Callable[[Hub], T], *, effect: bool = False) -> T:
        """What `call` gives, in a thread, with its errors as ours."""

        def blocking() -> T:
            # A keyring may block.
            return call(Hub(self.key(), self.context.url))

        async with translating(_TITLE, effect=effect):
            return await asyncio.get_running_loop().run_in_executor(self._pool, blocking)
