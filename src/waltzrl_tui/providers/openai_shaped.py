"""Fine-tuning jobs of OpenAI's shape, by its SDK; a compatible service is a subclass.

A subclass has a `name`, a `title`, its `capabilities` and the address `url`; its other facts are
in `records/providers.py`, its prices in the catalogue.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from waltzrl_tui.network import async_transport
from waltzrl_tui.providers.base import SdkProvider
from waltzrl_tui.providers.file_stream import sent_file
from waltzrl_tui.providers.protocol import (
    Account,
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
from waltzrl_tui.records.jobs import Level

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
_LISTED: Final = 100


class OpenAIFineTuning(SdkProvider):
    """The fine-tuning API, as SDK 3 speaks it. Results answer without a deployment.

    Attributes:
        url: Of the API, up to `/v1`.
        url_variable: Takes the place of `url` when it is set; "" for none.
        options: The hyperparameters that it knows.
    """

    url: str
    url_variable: str = ""
    options: frozenset[str] = frozenset({"batch_size", "learning_rate_multiplier", "beta"})

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        import openai

        self._sdk = openai
        variable = os.environ.get(self.url_variable) if self.url_variable else ""
        self._url = context.url or variable or self.url

    def make_client(self) -> Any:
        import httpx2

        return self._sdk.AsyncOpenAI(
            api_key=self.key(),
            base_url=self._url,
            max_retries=0,
            http_client=self._sdk.DefaultAsyncHttpxClient(
                transport=async_transport(httpx2, self._url)
            ),
        )

    def chat_url(self) -> str:
        return self._url

    async def probe(self) -> Account:
        async with self.asking():
            jobs = await self.api().fine_tuning.jobs.list(limit=1)
        return self.account_of(bool(jobs.data))

    def account_of(self, has_tuned: bool) -> Account:
        """The account of a key that can list jobs."""
        words = "has tuned before" if has_tuned else "has no jobs yet"
        return Account(True, True, f"the key works; this account {words}")

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        files = self.api().files
        async with self.asking():
            async for known in files.list(purpose="fine-tune"):
                if known.filename == file.name and known.bytes == file.bytes:
                    return await self._checked(known.id)
        async with self.asking(effect=True):
            with sent_file(file.path, progress) as content:
                uploaded = await files.create(file=(file.name, content), purpose="fine-tune")
        return await self._checked(uploaded.id)

    async def _checked(self, file_id: str) -> str:
        async def look() -> bool:
            async with self.asking():
                file = await self.api().files.retrieve(file_id)
            if file.status == "error":
                raise self.refused_file(str(file.status_details or ""))
            return bool(file.status == "processed")

        await self.until_checked(look)
        return file_id

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        chosen = {name: value for name, value in request.options.items() if name in self.options}
        kind = "dpo" if request.method == "dpo" else "supervised"
        body: dict[str, Any] = {
            "model": request.from_model or request.model,
            "training_file": request.training_file,
            "suffix": request.tag,
            "method": {
                "type": kind,
                kind: {"hyperparameters": {"n_epochs": round(request.epochs), **chosen}},
            },
            "metadata": {"waltzrl": request.tag},
        }
        if request.validation_file:
            body["validation_file"] = request.validation_file
        if "seed" in request.options:
            body["seed"] = int(request.options["seed"])
        return body

    async def create(self, request: TuneRequest) -> RemoteJob:
        async with self.asking(effect=True):
            return _job(await self.api().fine_tuning.jobs.create(**self.payload(request)))

    async def find(self, tag: str) -> RemoteJob | None:
        async with self.asking():
            async for each in self.api().fine_tuning.jobs.list(limit=_LISTED):
                job = _job(each)
                if job.tag == tag:
                    return job
        return None

    async def jobs(self) -> list[RemoteJob]:
        async with self.asking():
            page = await self.api().fine_tuning.jobs.list(limit=_LISTED)
            return [_job(each) for each in page.data]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        jobs = self.api().fine_tuning.jobs
        async with self.asking():
            job = await jobs.retrieve(job_id)
            events = await self._events(job_id, str(cursor.get("event", "")))
            metrics = [metric for each in events if (metric := _metric(each))]
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
        events: list[Any] = []
        async for each in self.api().fine_tuning.jobs.list_events(job_id, limit=_LISTED):
            if each.id == after:
                break
            events.append(each)
        return events[::-1]

    async def state_of(self, job_id: str) -> RemoteState:
        async with self.asking():
            job = await self.api().fine_tuning.jobs.retrieve(job_id)
        return _STATES.get(str(job.status), "unknown")

    async def stop_job(self, job_id: str) -> None:
        await self.api().fine_tuning.jobs.cancel(job_id)


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
