"""Mistral: SFT by the last line of its SDK that has it. Closed to self-service: its words decide.

The price is requested through the vendor's own gate. A job that is made with `auto_start=False` is
checked and priced, costs nothing, and waits to be started:

- `estimate` makes that waiting job under our tag (or finds the existing one) and returns its
  price;
- `create` starts it. Starting the same job again starts nothing new, so a lost answer cannot be
  paid twice;
- `find` looks past a job that waits: it is not launched yet.

A waiting job that nobody approves stays in the account, and costs nothing.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import async_transport, transport
from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import (
    ClosedError,
    InvalidRequestError,
    MissingError,
    SdkMissingError,
    UnavailableError,
)
from waltzrl_tui.providers.file_stream import sent_file
from waltzrl_tui.providers.mistral.jobs import (
    STATES,
    event_of,
    job_of,
    known,
    metric_of,
    price_of,
    seconds_left,
    usd_of,
    waits,
    why,
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
from waltzrl_tui.providers.sdk_errors import of_status, translating
from waltzrl_tui.words import money

_TITLE: Final = "Mistral"
_URL: Final = "https://api.mistral.ai"
_ENDED: Final = ("succeeded", "failed", "cancelled")
_OPTIONS: Final = ("learning_rate", "weight_decay", "warmup_fraction", "seq_len", "training_steps")
_CLOSED_SINCE: Final = 1_774_569_600
"""27 March 2026, from when on every model was refused (issue 450 of the vendor's client)."""

_CHECK_SECONDS: Final = 1.5
_CHECKS: Final = 400
_LISTED: Final = 100
_TIMEOUT_MS: Final = 60_000


class Mistral(Tuner):
    """The fine-tuning API, as SDK 2.5.1 speaks it. Results answer without a deployment."""

    name, title = "mistral", _TITLE
    capabilities = Capabilities.of("mistral", estimates=True)

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        try:
            self._sdk: Any = importlib.import_module("mistralai.client")
            importlib.import_module("mistralai.client.fine_tuning_jobs")
        except ImportError as error:
            raise SdkMissingError(
                "Mistral's client is not installed, or is one without fine-tuning.",
                hint="pip install 'mistralai>=2.5.1,<2.5.2'",
            ) from error
        self._url = (context.url or _URL).rstrip("/").removesuffix("/v1")
        self._client: Any = None
        self._http: Any = None
        self._sync_http: Any = None

    def _api(self) -> Any:
        if self._client is None:
            import httpx
            from mistralai.client.utils.logger import NoOpLogger

            self._http = httpx.AsyncClient(transport=async_transport(httpx, self._url))
            # Never used, but the SDK would make one that reads the environment by itself.
            self._sync_http = httpx.Client(transport=transport(httpx))
            # The SDK does not retry by default. Its own logger would write keys.
            self._client = self._sdk.Mistral(
                api_key=self.key(),
                server_url=self._url,
                client=self._sync_http,
                async_client=self._http,
                timeout_ms=_TIMEOUT_MS,
                debug_logger=NoOpLogger(),
            )
        return self._client

    def chat_url(self) -> str:
        return f"{self._url}/v1"

    async def probe(self) -> Account:
        try:
            jobs = await self._page(0)
            models = await self._tunable_models()
        except (ClosedError, MissingError) as error:
            return Account(True, False, error.words or error.message)
        if not models:
            return Account(True, False, "the key works; no model of this account can be tuned")
        lately = [each for each in jobs if each.created_at >= _CLOSED_SINCE]
        if any(STATES.get(str(each.status)) in ("running", "succeeded") for each in lately):
            return Account(True, True, "the key works and this account has tuned since March 2026")
        return Account(
            True,
            None,
            f"the key works; models listed as tunable: {len(models)}; but accounts have been "
            "refused since March 2026, before anything is billed",
        )

    async def _tunable_models(self) -> list[str]:
        async with translating(_TITLE):
            models = await self._api().models.list_async()
            return sorted(
                each.id
                for each in models.data or []
                if each.type == "base" and each.capabilities.fine_tuning
            )

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        files = self._api().files
        async with translating(_TITLE):
            known = await files.list_async(purpose="fine-tune", search=file.name)
            for each in known.data:
                if each.filename == file.name and each.size_bytes == file.bytes:
                    return str(each.id)
        async with translating(_TITLE, effect=True):
            with sent_file(file.path, progress) as content:
                uploaded = await files.upload_async(
                    file={"file_name": file.name, "content": content}, purpose="fine-tune"
                )
        return str(uploaded.id)

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        hyperparameters = {
            name: request.options[name] for name in _OPTIONS if name in request.options
        }
        if "training_steps" not in hyperparameters:
            hyperparameters["epochs"] = request.epochs
        body: dict[str, Any] = {
            "model": request.from_model or request.model,
            "training_files": [{"file_id": request.training_file, "weight": 1}],
            "suffix": request.tag,
            "job_type": "completion",
            "hyperparameters": hyperparameters,
            "auto_start": False,
            # Do not leave out rows silently.
            "invalid_sample_skip_percentage": 0,
        }
        if request.validation_file:
            body["validation_files"] = [request.validation_file]
        return body

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        """The price of the job that waits under the request's tag, made when there is none.

        Returns when the vendor has checked it (10 minutes at most). Free: nothing is started.

        Raises:
            InvalidRequestError: It was refused, or its price is in a currency unknown here.
        """
        job = await self._priced(request)
        usd, words = usd_of(job), price_of(job)
        if usd is None and words:
            raise InvalidRequestError(
                f"Mistral asks {words}, which cannot be compared with a budget in dollars.",
                hint="Start it in its console, then `waltzrl-tui jobs adopt` it.",
            )
        text = f"its own price is {words}" if words else "it reported no price"
        tokens = job.metadata.train_tokens if job.metadata else None
        return PriceEstimate(usd, words=text, tokens=tokens or None)

    async def create(self, request: TuneRequest) -> RemoteJob:
        """Start the job that waits under the request's tag, made when there is none.

        Only the start may cost, and only its answer is awaited with `sent` in mind. With
        `options["max_usd"]` a job that the vendor prices higher is not started.
        """
        job = await self._priced(request)
        if not waits(job):
            return job_of(job)
        most, usd = request.options.get("max_usd"), usd_of(job)
        if most is not None and (usd is None or usd > float(most)):
            raise InvalidRequestError(
                f"Mistral asks {price_of(job) or 'an unknown price'}, more than "
                f"{money(float(most))}.",
                hint="Nothing was started. Launch with a higher max_usd to accept it.",
            )
        try:
            async with translating(_TITLE, effect=True):
                jobs = self._api().fine_tuning.jobs
                return job_of(known(await jobs.start_async(job_id=job.id)))
        except InvalidRequestError:
            # Someone else may have started it, or a start whose answer was lost.
            job = await self._details(job.id)
            if waits(job):
                raise
            return job_of(job)

    async def find(self, tag: str) -> RemoteJob | None:
        going = [each for each in await self._tagged(tag) if not waits(each)]
        return job_of(going[0]) if going else None

    async def jobs(self) -> list[RemoteJob]:
        return [job_of(each) for each in await self._page(0)]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        job = await self._details(job_id)
        skip, last = int(cursor.get("events", 0)), int(cursor.get("step", -1))
        async with translating(_TITLE):
            state = STATES.get(str(job.status), "unknown")
            events = list(reversed(job.events or []))  # the newest come first
            events.sort(key=lambda each: each.created_at)
            points = sorted(job.checkpoints or [], key=lambda each: each.step_number)
            step = points[-1].step_number if points else None
            words = why(job) if state == "failed" else ""
            if str(job.status) == "VALIDATED" and not job.auto_start:
                words = f"checked; waits to be started for {price_of(job) or 'an unknown price'}"
            return JobSnapshot(
                state,
                str(job.status),
                words=words,
                step=step,
                total_steps=job.hyperparameters.training_steps or None,
                eta_seconds=seconds_left(job) if state == "running" else None,
                cost_usd=usd_of(job) if state == "succeeded" else None,
                tokens=job.trained_tokens or None,
                result_model=str(job.fine_tuned_model or "") if state == "succeeded" else "",
                events=[event_of(number, each) for number, each in enumerate(events)][skip:],
                metrics=[metric_of(each) for each in points if each.step_number > last],
                cursor={"events": len(events), "step": last if step is None else max(last, step)},
            )

    async def cancel(self, job_id: str) -> None:
        if STATES.get(str((await self._details(job_id)).status)) not in _ENDED:
            async with translating(_TITLE):
                await self._api().fine_tuning.jobs.cancel_async(job_id=job_id)

    async def close(self) -> None:
        if self._http is not None:
            http, self._http, self._client = self._http, None, None
            await http.aclose()
            self._sync_http.close()

    async def _priced(self, request: TuneRequest) -> Any:
        """The tag's job: one that was started, else one that is checked and waits."""
        tagged = await self._tagged(request.tag)
        # Always the oldest of several that wait, so that no other can be started as well.
        job = next((each for each in tagged if not waits(each)), tagged[0] if tagged else None)
        if job is None:
            async with translating(_TITLE):
                # A lost answer leaves at most one more waiting job, which is not billed.
                jobs = self._api().fine_tuning.jobs
                job = known(await jobs.create_async(**self.payload(request)))
        for _ in range(_CHECKS):
            if str(job.status) == "FAILED_VALIDATION":
                raise of_status(422, why(await self._details(job.id)), _TITLE)
            if str(job.status) == "VALIDATED" or not waits(job):
                return job
            await asyncio.sleep(_CHECK_SECONDS)
            job = await self._details(job.id)
        raise UnavailableError("Mistral did not finish checking the job; nothing was started.")

    async def _tagged(self, tag: str) -> list[Any]:
        """The jobs with that tag whose validation has not failed, oldest first."""
        tagged: list[Any] = []
        page: list[Any] | None = None
        number = 0
        while page is None or len(page) == _LISTED:
            page = await self._page(number)
            number += 1
            tagged += [
                each
                for each in page
                if each.suffix == tag and str(each.status) != "FAILED_VALIDATION"
            ]
        return sorted(tagged, key=lambda each: (each.created_at, each.id))

    async def _page(self, number: int) -> list[Any]:
        async with translating(_TITLE):
            jobs = self._api().fine_tuning.jobs
            answer = await jobs.list_async(page=number, page_size=_LISTED)
            # Jobs of kinds unknown to the SDK lack all fields.
            return [each for each in answer.data or [] if hasattr(each, "suffix")]

    async def _details(self, job_id: str) -> Any:
        async with translating(_TITLE):
            return known(await self._api().fine_tuning.jobs.get_async(job_id=job_id))
