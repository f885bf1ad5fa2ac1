"""Together: SFT and DPO by its own SDK, its estimate, and deployments for chat."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import async_transport, transport
from waltzrl_tui.providers.base import SdkProvider
from waltzrl_tui.providers.errors import InvalidRequestError, UnavailableError
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    Deployment,
    DeploymentState,
    JobSnapshot,
    PriceEstimate,
    Progress,
    ProviderContext,
    RemoteJob,
    RemoteMetric,
    RemoteState,
    TrainingUpload,
    TuneRequest,
)
from waltzrl_tui.providers.together.jobs import (
    STATES,
    cost_of,
    event_of,
    job_of,
    metric_of,
    why,
)
from waltzrl_tui.words import money, plural

_URL: Final = "https://api.together.ai"
_DEPLOYMENT_STATES: Final[dict[str, DeploymentState]] = {
    "PROVISIONING": "starting",
    "SCALING": "starting",
    "READY": "ready",
    "DEGRADED": "ready",
    "STOPPING": "stopping",
    "STOPPED": "stopped",
    "FAILED": "failed",
}
_PENDING: Final = ("train_file_not_validated", "eval_file_not_validated")
_IDLE_MINUTES: Final = 30
_OPTIONS: Final = frozenset(
    {"learning_rate", "batch_size", "lora_r", "lora_alpha", "lora_dropout", "warmup_ratio"}
    | {"n_evals", "n_checkpoints", "random_seed", "max_seq_length", "weight_decay", "dpo_beta"}
)


class Together(SdkProvider):
    """Together's fine-tuning API, as SDK 3.1 speaks it."""

    name, title = "together", "Together"
    capabilities = Capabilities.of("together", estimates=True, deploys=True)

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        import together

        self._sdk = together
        self._url = context.url or os.environ.get("TOGETHER_BASE_URL") or _URL
        self._project = os.environ.get("TOGETHER_PROJECT_ID", "")

    def make_client(self) -> Any:
        import httpx

        return self._sdk.AsyncTogether(
            api_key=self.key(),
            base_url=self._url,
            max_retries=0,
            http_client=self._sdk.DefaultAsyncHttpxClient(
                transport=async_transport(httpx, self._url)
            ),
        )

    async def probe(self) -> Account:
        api = self.api()
        async with self.asking():
            jobs = await api.fine_tuning.list()
        count = len(jobs.data or [])
        return Account(True, True, f"the key works; {plural(count, 'job')} so far", self._project)

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        loop = asyncio.get_running_loop()
        key = self.key()

        async def report(sent: int, whole: int) -> None:
            await progress(sent, whole)

        def on_progress(event: Any) -> None:
            asyncio.run_coroutine_threadsafe(
                report(int(event.uploaded_bytes), int(event.total_bytes)), loop
            )

        def send() -> str:
            import httpx

            # The SDK hashes and reads the file where it is called, so not on the event loop. It
            # gives the file's id when Together has one of this hash.
            client = self._sdk.Together(
                api_key=key,
                base_url=self._url,
                max_retries=0,
                http_client=self._sdk.DefaultHttpxClient(transport=transport(httpx, self._url)),
            )
            with client:
                return str(
                    client.files.upload(file.path, check=False, progress_callback=on_progress).id
                )

        async with self.asking(effect=True):
            file_id = await asyncio.to_thread(send)
        await self._checked(file_id)
        return file_id

    async def _checked(self, file_id: str) -> None:
        async def look() -> bool:
            async with self.asking():
                file = await self.api().files.retrieve(file_id)
            status = str(file.processing_status or "COMPLETED")
            report = file.validation_report
            if status in ("FAILED", "INVALID_FORMAT") or (report and not report.valid):
                raise self.refused_file(str(report.error if report and report.error else status))
            return status == "COMPLETED"

        await self.until_checked(look)

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        async with self.asking():
            price = await self.api().fine_tuning.estimate_price(
                training_file=request.training_file,
                **({"validation_file": request.validation_file} if request.validation_file else {}),
                model=request.model,
                n_epochs=round(request.epochs),
                n_evals=self._evals(request),
                training_type={"type": "Lora", "lora_r": 8, "lora_alpha": 16},
                training_method=_method(request),
            )
        if not price.estimation_available:
            why = str(price.unavailable_reason)
            return PriceEstimate(None, words=why, pending=why in _PENDING)
        tokens = (price.estimated_train_token_count or 0) + (price.estimated_eval_token_count or 0)
        limit = (
            ""
            if price.user_limit is None
            else f"; this account's limit is {money(price.user_limit)}"
        )
        return PriceEstimate(
            price.estimated_total_price,
            allowed=price.allowed_to_proceed is not False,
            words=f"its estimate is {money(price.estimated_total_price)}{limit}",
            tokens=int(tokens) or None,
        )

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "training_file": request.training_file,
            "validation_file": request.validation_file or None,
            "n_epochs": round(request.epochs),
            "n_evals": self._evals(request),
            "suffix": request.tag,
            "training_method": request.method,
            "lora": True,
            **{name: value for name, value in request.options.items() if name in _OPTIONS},
        }
        if request.from_model:
            body |= {"from_checkpoint": request.from_model, "model": None}
        return body

    @staticmethod
    def _evals(request: TuneRequest) -> int:
        return max(1, round(request.epochs)) if request.validation_file else 0

    async def create(self, request: TuneRequest) -> RemoteJob:
        body = {name: value for name, value in self.payload(request).items() if value is not None}
        tuning = self.api().fine_tuning
        async with self.asking():
            # Without the limits the SDK requests them itself; that has no effect.
            limits = await tuning.model_limits(model_name=request.model)
        try:
            async with self.asking(effect=True):
                return job_of(await tuning.create(**body, model_limits=limits))
        except UnavailableError as error:
            if isinstance(error.__cause__, ValueError) and not hasattr(error.__cause__, "request"):
                # The SDK's own check of the values: nothing was sent.
                raise InvalidRequestError(
                    "Together's client refuses the settings.", words=str(error.__cause__)
                ) from error
            raise

    async def find(self, tag: str) -> RemoteJob | None:
        return next((job for job in await self._list() if job.tag == tag), None)

    async def jobs(self) -> list[RemoteJob]:
        return (await self._list())[:100]

    async def _list(self) -> list[RemoteJob]:
        async with self.asking():
            answer = await self.api().fine_tuning.list()
            return [job_of(each) for each in answer.data or []]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        tuning = self.api().fine_tuning
        skip, step = int(cursor.get("events", 0)), int(cursor.get("step", -1))
        async with self.asking():
            job = await tuning.retrieve(job_id)
            events = (await tuning.list_events(job_id)).data or []
            metrics: list[RemoteMetric] = []
            if str(job.status) not in ("pending", "queued"):
                rows = await tuning.list_metrics(job_id, global_step_from=max(0, step + 1))
                metrics = [each for each in map(metric_of, rows.metrics or []) if each]
            state = STATES.get(str(job.status), "unknown")
            steps = [event for event in events if event.step and event.total_steps]
            progress = job.progress
            return JobSnapshot(
                state,
                str(job.status),
                words=why(events) if state == "failed" else "",
                step=max(
                    (each.step for each in metrics), default=steps[-1].step if steps else None
                ),
                total_steps=steps[-1].total_steps if steps else None,
                eta_seconds=progress.seconds_remaining
                if progress and progress.estimate_available
                else None,
                cost_usd=cost_of(job) if state in ("succeeded", "cancelled") else None,
                tokens=job.token_count,
                result_model=str(job.x_model_output_name or "") if state == "succeeded" else "",
                events=[event_of(number, each) for number, each in enumerate(events)][skip:],
                metrics=metrics,
                cursor={
                    "events": len(events),
                    "step": max((each.step for each in metrics), default=step),
                },
            )

    async def state_of(self, job_id: str) -> RemoteState:
        async with self.asking():
            job = await self.api().fine_tuning.retrieve(job_id)
        return STATES.get(str(job.status), "unknown")

    async def stop_job(self, job_id: str) -> None:
        await self.api().fine_tuning.cancel(job_id)

    # Deployments: an endpoint by our tag with one deployment of the same name in it ------------

    async def deploy(self, result_model: str, base_model: str, tag: str) -> Deployment:
        project = self._project_id()
        endpoints = self.api().endpoints
        async with self.asking(effect=True):
            endpoint = await self._endpoint(tag) or await endpoints.create(
                project_id=project, name=tag
            )
            deployment = await endpoints.deployments.create(
                endpoint.id,
                project_id=project,
                name=tag,
                model=await self._resource(result_model),
                autoscaling={"min_replicas": 1, "max_replicas": 1},
                inactive_timeout=_IDLE_MINUTES,
            )
            return self._deployment(
                endpoint.id, deployment, str(deployment.status.state), deployment.status.message
            )

    async def deployment(self, deployment_id: str) -> Deployment:
        endpoint, _, deployment = deployment_id.partition("/")
        async with self.asking():
            details = await self.api().endpoints.deployments.retrieve(
                deployment, project_id=self._project_id(), endpoint_id=endpoint
            )
            return self._deployment(
                endpoint, details, str(details.status.state), details.status.message
            )

    async def deployments(self) -> list[Deployment]:
        if not self._project:
            return []
        up = []
        async with self.asking():
            async for endpoint in self.api().endpoints.list(project_id=self._project):
                for each in endpoint.deployments or []:
                    up.append(self._deployment(endpoint.id, each, str(each.state), ""))
        return [each for each in up if each.state not in ("stopped", "failed")]

    async def undeploy(self, deployment_id: str) -> None:
        endpoint, _, deployment = deployment_id.partition("/")
        project = self._project_id()
        async with self.asking(effect=True):
            # Stopped first, which ends the bill; a deployment that runs cannot be deleted.
            await self.api().endpoints.deployments.update(
                deployment,
                project_id=project,
                endpoint_id=endpoint,
                autoscaling={"min_replicas": 0, "max_replicas": 0},
            )

    def _deployment(self, endpoint: str, each: Any, state: str, words: str) -> Deployment:
        word = state.removeprefix("DEPLOYMENT_STATE_")
        name = str(each.name)
        return Deployment(
            f"{endpoint}/{each.id}",
            _DEPLOYMENT_STATES.get(word, "unknown"),
            word,
            name,
            url=f"{self._url.rstrip('/')}/v1",
            tag=name.rpartition("/")[2],
            words=words,
        )

    async def _endpoint(self, tag: str) -> Any:
        async for endpoint in self.api().endpoints.list(project_id=self._project_id()):
            if str(endpoint.name).rpartition("/")[2] == tag:
                return endpoint
        return None

    async def _resource(self, result_model: str) -> str:
        """The model's resource name, from its id in the job that made it."""
        for each in (await self.api().fine_tuning.list()).data or []:
            if each.x_model_output_name == result_model:
                job = await self.api().fine_tuning.retrieve(each.id)
                if job.api_model_object_id:
                    return f"projects/{self._project_id()}/models/{job.api_model_object_id}"
        return result_model

    def _project_id(self) -> str:
        if not self._project:
            raise InvalidRequestError(
                "Together needs the project of a deployment.",
                hint="Set TOGETHER_PROJECT_ID to the id in its console.",
            )
        return self._project


def _method(request: TuneRequest) -> dict[str, Any]:
    if request.method == "dpo":
        return {"method": "dpo"}
    return {"method": "sft", "train_on_inputs": "auto"}
