"""A provider in under a hundred lines: the worked example of docs/providers.md, run by the tests.

Acme's service takes a JSONL file by PUT, makes a job by POST, and lists the jobs of an account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2

from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import (
    AuthError,
    ConcurrencyError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    JobSnapshot,
    Progress,
    ProviderContext,
    RemoteJob,
    RemoteMetric,
    RemoteState,
    TrainingUpload,
    TuneRequest,
)

_STATES: dict[str, RemoteState] = {
    "waiting": "queued",
    "working": "running",
    "done": "succeeded",
    "broken": "failed",
    "stopped": "cancelled",
}
_ERRORS: dict[str, type[ProviderError]] = {"too_many_jobs": ConcurrencyError, "trial": QuotaError}
_STATUS = {401: AuthError, 403: AuthError, 404: MissingError, 429: RateLimitError}


class Acme(Tuner):
    name, title = "acme", "Acme"
    capabilities = Capabilities(keys=("ACME_API_KEY",))

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self._client = httpx2.AsyncClient(base_url=context.url or "https://acme.example/v1")

    async def probe(self) -> Account:
        me = await self._call("GET", "/me")
        return Account(True, bool(me["may_tune"]), str(me["says"]), str(me["id"]))

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        content = await asyncio.to_thread(file.path.read_bytes)
        made = await self._call("PUT", f"/files/{file.name}", content=content)
        await progress(len(content), file.bytes)
        return str(made["id"])

    async def create(self, request: TuneRequest) -> RemoteJob:
        return _job(await self._call("POST", "/jobs", effect=True, json=self.payload(request)))

    async def find(self, tag: str) -> RemoteJob | None:
        return next((job for job in await self.jobs() if job.tag == tag), None)

    async def jobs(self) -> list[RemoteJob]:
        return [_job(each) for each in (await self._call("GET", "/jobs"))["jobs"]]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        after = int(cursor.get("step", 0))
        job = await self._call("GET", f"/jobs/{job_id}?after={after}")
        metrics = [RemoteMetric(each["step"], loss=each["loss"]) for each in job["losses"]]
        return JobSnapshot(
            _STATES.get(job["status"], "unknown"),
            job["status"],
            words=job["says"],
            step=metrics[-1].step if metrics else None,
            cost_usd=job["usd"],
            result_model=job["model"],
            metrics=metrics,
            cursor={"step": metrics[-1].step if metrics else after},
        )

    async def cancel(self, job_id: str) -> None:
        await self._call("POST", f"/jobs/{job_id}/stop")

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        return {
            "name": request.tag,
            "base": request.model,
            "file": request.training_file,
            "passes": request.epochs,
        }

    def chat_url(self) -> str:
        return f"{self._client.base_url}"

    async def close(self) -> None:
        await self._client.aclose()

    async def _call(self, verb: str, path: str, *, effect: bool = False, **body: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key()}"}
        try:
            answer = await self._client.request(verb, path, headers=headers, timeout=5.0, **body)
            document = answer.json()
        except httpx2.ConnectError as error:
            raise UnavailableError("Acme cannot be reached.", words=str(error)) from error
        except (httpx2.HTTPError, ValueError) as error:
            said = f"{type(error).__name__} {error}"
            raise UnavailableError("Acme gave no answer.", words=said, sent=effect) from error
        if answer.is_success:
            return document
        words, wait = str(document.get("error", "")), answer.headers.get("Retry-After")
        kind = _ERRORS.get(str(document.get("code"))) or _STATUS.get(
            answer.status_code,
            UnavailableError if answer.status_code >= 500 else InvalidRequestError,
        )
        lost = effect and answer.status_code >= 500
        raise kind(
            "Acme refused.", words=words, retry_after=float(wait) if wait else None, sent=lost
        )


def _job(each: dict[str, Any]) -> RemoteJob:
    state = _STATES.get(each["status"], "unknown")
    return RemoteJob(each["id"], each["name"], state, each["status"], each["base"])
