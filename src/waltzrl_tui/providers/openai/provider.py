"""OpenAI: SFT and DPO by its own SDK. Closed to new organisations, and ending: its words decide."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import async_transport
from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import ClosedError, InvalidRequestError, UnavailableError
from waltzrl_tui.providers.file_stream import sent_file
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    JobSnapshot,
    Progress,
    ProviderContext,
    RemoteEvent,
    RemoteJob,
    RemoteMetric,
    RemoteState,
    TrainingUpload,
    TuneRequest,
)
from waltzrl_tui.providers.sdk_errors import translating
from waltzrl_tui.records.jobs import Level

_URL: Final = "https://api.openai.com/v1"
_STATES: Final[dict[str, RemoteState]] = {
    "validating_files": "queued",
    "queued": "queued",
    "running": "running",
    "paused": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "cancelled": "cancelled",
}
_LEVELS: Final[dict[str, Level]] = {"warn": "warning", "error": "error"}
_OPTIONS: Final = frozenset({"batch_size", "learning_rate_multiplier", "beta"})
_CHECK_SECONDS: Final = 1.0
_CHECKS: Final = 600
_LISTED: Final = 100


class OpenAI(Tuner):
    """The fine-tuning API, as SDK 3 speaks it. Results answer without a deployment."""

    name, title = "openai", "OpenAI"
    capabilities = Capabilities(methods=("sft", "dpo"), keys=("OPENAI_API_KEY",), max_tag=64)

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        import openai

        self._sdk = openai
        self._url = context.url or os.environ.get("OPENAI_BASE_URL") or _URL
        self._client: Any = None

    def _api(self) -> Any:
        if self._client is None:
            import httpx2

            self._client = self._sdk.AsyncOpenAI(
                api_key=self.key(),
                base_url=self._url,
                max_retries=0,
                http_client=self._sdk.DefaultAsyncHttpxClient(
                    transport=async_transport(httpx2, self._url)
                ),
            )
        return self._client

    def chat_url(self) -> str:
        return self._url

    async def probe(self) -> Account:
        try:
            async with translating(self.title):
                found = await self._api().fine_tuning.jobs.list(limit=1)
        except ClosedError as error:
            return Account(True, False, error.words)
        had = bool(found.data)
        words = (
            "the key works and this organisation has tuned before; if it has lapsed, a launch "
            "is refused before anything is billed"
            if had
            else "the key works; organisations that never tuned cannot since 7 May 2026"
        )
        return Account(True, had, words)

    async def models(self) -> list[str]:
        async with translating(self.title):
            found = await self._api().models.list()
        return sorted(model.id for model in found.data if model.id.startswith("gpt-4"))

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        files = self._api().files
        async with translating(self.title):
            async for known in files.list(purpose="fine-tune"):
                if known.filename == file.name and known.bytes == file.bytes:
                    return await self._checked(known.id)
        async with translating(self.title, effect=True):
            with sent_file(file.path, progress) as content:
                made = await files.create(file=(file.name, content), purpose="fine-tune")
        return await self._checked(made.id)

    async def _checked(self, file_id: str) -> str:
        for _ in range(_CHECKS):
            async with translating(self.title):
                found = await self._api().files.retrieve(file_id)
            if found.status == "error":
                raise InvalidRequestError(
                    "OpenAI refused the training file.",
                    words=str(found.status_details or ""),
                    hint="Mend those rows, or leave them out, and launch anew.",
                )
            if found.status == "processed":
                return file_id
            await asyncio.sleep(_CHECK_SECONDS)
        raise UnavailableError("OpenAI did not finish checking the file.")

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        wish = {name: value for name, value in request.options.items() if name in _OPTIONS}
        kind = "dpo" if request.method == "dpo" else "supervised"
        body: dict[str, Any] = {
            "model": request.from_model or request.model,
            "training_file": request.training_file,
            "suffix": request.tag,
            "method": {
                "type": kind,
                kind: {"hyperparameters": {"n_epochs": round(request.epochs), **wish}},
            },
            "metadata": {"waltzrl": request.tag},
        }
        if request.validation_file:
            body["validation_file"] = request.validation_file
        if "seed" in request.options:
            body["seed"] = int(request.options["seed"])
        return body

    async def create(self, request: TuneRequest) -> RemoteJob:
        async with translating(self.title, effect=True):
            return _job(await self._api().fine_tuning.jobs.create(**self.payload(request)))

    async def find(self, tag: str) -> RemoteJob | None:
        async with translating(self.title):
            async for each in self._api().fine_tuning.jobs.list(limit=_LISTED):
                job = _job(each)
                if job.tag == tag:
                    return job
        return None

    async def jobs(self) -> list[RemoteJob]:
        async with translating(self.title):
            found = await self._api().fine_tuning.jobs.list(limit=_LISTED)
            return [_job(each) for each in found.data]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        jobs = self._api().fine_tuning.jobs
        async with translating(self.title):
            job = await jobs.retrieve(job_id)
            events = await self._events(job_id, str(cursor.get("event", "")))
            metrics = [found for each in events if (found := _metric(each))]
            error = getattr(job.error, "message", None) if job.error else None
            state = _STATES.get(str(job.status), "unknown")
            totals = [int(each.data["total_steps"]) for each in events if _tells_total(each)]
            return JobSnapshot(
                state,
                str(job.status),
                words=str(error or ""),
                step=max((each.step for each in metrics), default=None),
                total_steps=totals[-1] if totals else None,
                eta_seconds=_left(job),
                tokens=job.trained_tokens,
                result_model=str(job.fine_tuned_model or ""),
                events=[_event(each) for each in events if each.type != "metrics"],
                metrics=metrics,
                cursor={"event": events[-1].id if events else cursor.get("event", "")},
            )

    async def _events(self, job_id: str, after: str) -> list[Any]:
        """Those after that one, oldest first: the API lists the newest first."""
        found: list[Any] = []
        async for each in self._api().fine_tuning.jobs.list_events(job_id, limit=_LISTED):
            if each.id == after:
                break
            found.append(each)
        return found[::-1]

    async def cancel(self, job_id: str) -> None:
        async with translating(self.title):
            job = await self._api().fine_tuning.jobs.retrieve(job_id)
            if _STATES.get(str(job.status)) in ("succeeded", "failed", "cancelled"):
                return
            await self._api().fine_tuning.jobs.cancel(job_id)

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()


def _job(each: Any) -> RemoteJob:
    status = str(each.status)
    tag = str((each.metadata or {}).get("waltzrl", "") or getattr(each, "suffix", "") or "")
    return RemoteJob(
        str(each.id),
        tag,
        _STATES.get(status, "unknown"),
        status,
        str(each.model or ""),
        str(each.created_at or ""),
    )


def _event(each: Any) -> RemoteEvent:
    return RemoteEvent(str(each.id), "", str(each.message), _LEVELS.get(str(each.level), "info"))


def _metric(each: Any) -> RemoteMetric | None:
    data = each.data if each.type == "metrics" and isinstance(each.data, dict) else {}
    if "step" not in data:
        return None
    valid = data.get("full_valid_loss", data.get("valid_loss"))
    return RemoteMetric(int(data["step"]), loss=data.get("train_loss"), valid_loss=valid)


def _tells_total(each: Any) -> bool:
    return each.type == "metrics" and isinstance(each.data, dict) and "total_steps" in each.data


def _left(job: Any) -> float | None:
    if not job.estimated_finish:
        return None
    return max(0.0, float(job.estimated_finish) - time.time())
