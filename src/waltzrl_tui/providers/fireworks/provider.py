"""Fireworks: SFT and DPO by its own SDK under ids of our choice, and deployments for chat."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import async_transport, transport
from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import InvalidRequestError, MissingError, SdkMissingError
from waltzrl_tui.providers.fireworks.files import (
    dataset_id,
    is_duplicate,
    metrics_of,
    read_tail,
    send_dataset,
)
from waltzrl_tui.providers.fireworks.jobs import (
    DPO,
    ENDED,
    cost_of,
    fraction_of,
    job_of,
    last,
    result_of,
    state_of,
    usd_of,
)
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    Deployment,
    DeploymentState,
    JobSnapshot,
    PriceEstimate,
    Progress,
    ProviderContext,
    RemoteEvent,
    RemoteJob,
    TrainingUpload,
    TuneRequest,
)
from waltzrl_tui.providers.sdk_errors import translating
from waltzrl_tui.words import money, plural

_URL: Final = "https://api.fireworks.ai"
_DEPLOYMENT_STATES: Final[dict[str, DeploymentState]] = {
    "CREATING": "starting",
    "READY": "ready",
    "UPDATING": "ready",
    "DELETING": "stopping",
    "DELETED": "stopped",
    "FAILED": "failed",
}
_OPTIONS: Final = {
    "learning_rate": "learningRate",
    "lora_rank": "loraRank",
    "batch_size": "batchSize",
    "batch_size_samples": "batchSizeSamples",
    "gradient_accumulation_steps": "gradientAccumulationSteps",
    "learning_rate_warmup_steps": "learningRateWarmupSteps",
    "max_context_length": "maxContextLength",
    "optimizer_weight_decay": "optimizerWeightDecay",
}
_NEWEST: Final = "create_time desc"
_LISTED: Final = 100
_OURS: Final = "waltzrl "
"""What a deployment's display name begins with when we made it; the tag follows."""

_SCALE_TO_ZERO: Final = "1800s"


class Fireworks(Tuner):
    """Fireworks' gateway API, as SDK 1.2 speaks it.

    A job's id is our tag, so a second create of it is refused as a duplicate, and `find` asks
    for it by name. DPO jobs, which are kept apart there, have `dpoJobs/` before their id here.
    """

    name, title = "fireworks", "Fireworks"
    capabilities = Capabilities.of("fireworks", estimates=True, client_ids=True, deploys=True)

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        try:
            import fireworks
        except ImportError as error:
            raise SdkMissingError(
                "The Fireworks client is not installed.",
                hint="pip install 'waltzrl-tui[fireworks]'",
            ) from error
        self._sdk = fireworks
        self._url = (context.url or os.environ.get("FIREWORKS_BASE_URL") or _URL).rstrip("/")
        self._account = last(os.environ.get("FIREWORKS_ACCOUNT_ID", ""))
        self._client: Any = None

    def _bare(self) -> Any:
        if self._client is None:
            import httpx

            self._client = self._sdk.AsyncFireworks(
                api_key=self.key(),
                account_id=self._account or None,
                base_url=self._url,
                max_retries=0,
                http_client=self._sdk.DefaultAsyncHttpxClient(
                    transport=async_transport(httpx, self._url)
                ),
            )
        return self._client

    async def _api(self) -> Any:
        """The client, with its account resolved."""
        api = self._bare()
        if not api.account_id:
            api.account_id = self._account = last((await self._find_account()).name)
        return api

    async def _find_account(self) -> Any:
        async with translating(self.title):
            if self._account:
                return await self._bare().accounts.get(account_id=self._account)
            accounts = [each async for each in self._bare().accounts.list()]
        if len(accounts) != 1:
            names = ", ".join(last(each.name) for each in accounts[:10])
            raise InvalidRequestError(
                f"The Fireworks key belongs to {plural(len(accounts), 'account')}.",
                hint=f"Set FIREWORKS_ACCOUNT_ID to one of them: {names}" if accounts else "",
            )
        return accounts[0]

    async def probe(self) -> Account:
        account = await self._find_account()
        name, state = last(account.name), str(account.suspend_state or "UNSUSPENDED")
        if state != "UNSUSPENDED":
            why = account.status.message if account.status else ""
            return Account(True, False, f"the account is suspended: {why or state}", name)
        return Account(True, True, "the key works and the account is not suspended", name)

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        api = await self._api()
        import httpx

        sync = self._sdk.Fireworks(
            api_key=self.key(),
            account_id=self._account,
            base_url=self._url,
            max_retries=0,
            http_client=self._sdk.DefaultHttpxClient(transport=transport(httpx, self._url)),
        )
        await send_dataset(api, sync, file, progress)
        return f"accounts/{self._account}/datasets/{dataset_id(file.sha256)}"

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        if request.method == "dpo":
            return PriceEstimate(None, words="Fireworks estimates SFT jobs only")
        api = await self._api()
        async with translating(self.title):
            answer = await api.post(
                f"/v1/accounts/{self._account}/supervisedFineTuningJobs:estimateCost",
                body=self.payload(request),
                cast_to=object,
            )
            amount = answer.get("estimatedCost") or {}
            usd = usd_of(amount.get("currencyCode"), amount.get("units"), amount.get("nanos"))
        if not amount or usd is None:
            return PriceEstimate(None, words="Fireworks gives no price for this request")
        return PriceEstimate(usd, words=f"its estimate is {money(usd)}")

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        account = request.training_file.partition("/datasets/")[0]
        training: dict[str, Any] = {
            "outputModel": f"{account}/models/{request.tag}",
            "epochs": max(1, round(request.epochs)),
            **(
                {"warmStartFrom": request.from_model}
                if request.from_model
                else {"baseModel": request.model}
            ),
            **{
                _OPTIONS[name]: value for name, value in request.options.items() if name in _OPTIONS
            },
        }
        body: dict[str, Any] = {"displayName": request.tag, "dataset": request.training_file}
        if request.method == "dpo":
            # The vendor documents two defaults of the loss, so set it.
            loss: dict[str, Any] = {"method": "DPO"}
            if "dpo_beta" in request.options:
                loss["dpo"] = {"beta": request.options["dpo_beta"]}
            return {**body, "trainingConfig": training, "lossConfig": loss}
        if request.validation_file:
            body["evaluationDataset"] = request.validation_file
        if "early_stop" in request.options:
            body["earlyStop"] = bool(request.options["early_stop"])
        return {**body, **training}

    async def create(self, request: TuneRequest) -> RemoteJob:
        api = await self._api()
        body = self.payload(request)
        try:
            async with translating(self.title, effect=True):
                if request.method == "dpo":
                    job = await api.dpo_jobs.create(
                        dataset=body["dataset"], dpo_job_id=request.tag, extra_body=body
                    )
                else:
                    job = await api.supervised_fine_tuning_jobs.create(
                        dataset=body["dataset"],
                        supervised_fine_tuning_job_id=request.tag,
                        extra_body=body,
                    )
                return job_of(job)
        except InvalidRequestError as error:
            if is_duplicate(error) and (existing := await self.find(request.tag)):
                return existing
            raise

    async def find(self, tag: str) -> RemoteJob | None:
        try:
            return job_of(await self._one(tag))
        except MissingError:
            return None

    async def _one(self, job_id: str) -> Any:
        """The job by our id, its resource name, or its bare id at Fireworks."""
        api = await self._api()
        name = last(job_id)
        if DPO not in job_id:
            try:
                async with translating(self.title):
                    return await api.supervised_fine_tuning_jobs.get(name)
            except MissingError:
                if "/" in job_id:
                    raise
        async with translating(self.title):
            return await api.dpo_jobs.get(name)

    async def jobs(self) -> list[RemoteJob]:
        api = await self._api()
        query = {"order_by": _NEWEST, "page_size": _LISTED}
        async with translating(self.title):
            tuning = await api.supervised_fine_tuning_jobs.list(**query)
            preference = await api.dpo_jobs.list(**query)
            jobs = [
                *map(job_of, tuning.supervised_fine_tuning_jobs or []),
                *map(job_of, preference.dpo_jobs or []),
            ]
        return sorted(jobs, key=lambda job: job.created_at, reverse=True)[:_LISTED]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        job = await self._one(job_id)
        state, word = state_of(job)
        measured, metrics_at = "", int(cursor.get("metrics", 0))
        logged, log_at = "", int(cursor.get("log", 0))
        if state != "queued":
            ended = state in ENDED
            if url := await self._metrics_url(job):
                measured, metrics_at = await read_tail(url, metrics_at, ended=ended)
            if job.trainer_logs_signed_url:
                logged, log_at = await read_tail(job.trainer_logs_signed_url, log_at, ended=ended)
        metrics = await asyncio.to_thread(metrics_of, measured)
        async with translating(self.title):
            message = str(job.status.message or "") if job.status else ""
            news = bool(message) and message != cursor.get("said", "")
            at = str(getattr(job, "update_time", None) or "")
            progress = getattr(job, "job_progress", None)
            return JobSnapshot(
                state,
                word,
                words=message,
                step=metrics[-1].step if metrics else None,
                fraction=1.0 if state == "succeeded" else fraction_of(job, progress),
                cost_usd=cost_of(job) if state == "succeeded" else None,
                tokens=progress.input_tokens if progress else None,
                result_model=result_of(job) if state == "succeeded" else "",
                events=[RemoteEvent(f"{word}:{message}", at, message)] if news else [],
                metrics=metrics,
                log=logged.splitlines(),
                cursor={"metrics": metrics_at, "log": log_at, "said": message},
            )

    async def _metrics_url(self, job: Any) -> str:
        if DPO not in str(job.name):
            return str(job.metrics_file_signed_url or "")
        api = await self._api()
        try:
            async with translating(self.title):
                endpoint = await api.dpo_jobs.get_metrics_file_endpoint(last(job.name))
        except MissingError:
            return ""  # not written yet
        return str(endpoint.signed_url or "")

    async def cancel(self, job_id: str) -> None:
        job = job_of(await self._one(job_id))
        if job.state in ENDED:
            return
        api = await self._api()
        kind = api.dpo_jobs if DPO in job.id else api.supervised_fine_tuning_jobs
        async with translating(self.title):
            await kind.cancel(last(job.id), body={})

    # Deployments: the adapter merged into its base when it is loaded, one an agent -------------

    async def deploy(self, result_model: str, base_model: str, tag: str) -> Deployment:
        api = await self._api()
        name = re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")
        try:
            async with translating(self.title, effect=True):
                deployment = await api.deployments.create(
                    base_model=result_model,
                    deployment_id=name,
                    display_name=f"{_OURS}{tag}"[:63],
                    deployment_shape="default",
                    # Should nobody be there to take it down, it costs nothing after half an hour.
                    min_replica_count=0,
                    max_replica_count=1,
                    autoscaling_policy={"scale_to_zero_window": _SCALE_TO_ZERO},
                )
                return self._deployment(deployment)
        except InvalidRequestError as error:
            if not is_duplicate(error):
                raise
            return await self.deployment(name)

    async def deployment(self, deployment_id: str) -> Deployment:
        api = await self._api()
        async with translating(self.title):
            return self._deployment(await api.deployments.get(deployment_id))

    async def deployments(self) -> list[Deployment]:
        api = await self._api()
        async with translating(self.title):
            listed = api.deployments.list(page_size=200)
            deployments = [self._deployment(each) async for each in listed]
        return [each for each in deployments if each.state not in ("stopped", "failed")]

    async def undeploy(self, deployment_id: str) -> None:
        api = await self._api()
        try:
            async with translating(self.title, effect=True):
                # Without this one that was chatted with in the last hour is not deleted.
                await api.deployments.delete(deployment_id, ignore_checks=True)
        except MissingError:
            return

    def _deployment(self, each: Any) -> Deployment:
        word = str(each.state or "STATE_UNSPECIFIED")
        shown = str(each.display_name or "")
        words = str(each.status.message or "") if each.status else ""
        if word == "READY" and not words and each.replica_count == 0:
            words = "asleep and not billed; the first message wakes it within minutes"
        return Deployment(
            last(each.name),
            _DEPLOYMENT_STATES.get(word, "unknown"),
            word,
            f"{each.base_model}#{each.name}",
            url=f"{self._url}/inference/v1",
            tag=shown.removeprefix(_OURS) if shown.startswith(_OURS) else "",
            words=words,
        )

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
