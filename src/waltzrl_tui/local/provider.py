"""The embedded engine behind the protocol of providers: its jobs are those of this workspace.

Its workers write the store's rows themselves, so nobody has to poll it (`own_rows`); but who knows
only the protocol can train here as anywhere else. `stage1.launch` does more: it samples the base
first and renders files for it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.errors import DatasetError, NotFoundError, StoreError, UsageError, WaltzError
from waltzrl_tui.jobs.control import cancel, reconcile
from waltzrl_tui.jobs.launch import launch
from waltzrl_tui.local.optional_deps import TRAINING, missing
from waltzrl_tui.local.recipe import FULL, TrainingSettings
from waltzrl_tui.local.weights import DEFAULT_MODEL
from waltzrl_tui.providers.base import Tuner
from waltzrl_tui.providers.errors import (
    InvalidRequestError,
    MissingError,
    ProviderError,
    SdkMissingError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import (
    Account,
    Capabilities,
    Estimate,
    JobSnapshot,
    Progress,
    RemoteEvent,
    RemoteJob,
    RemoteMetric,
    RemoteState,
    TrainingUpload,
    TuneRequest,
)
from waltzrl_tui.store import JobRow, NewJob, Store
from waltzrl_tui.training_data.training_file import read_training
from waltzrl_tui.waltz.prompts import default_prompt
from waltzrl_tui.workspace import Workspace

_LISTED: Final = 100
_PAIRLESS: Final = "-"
"""Follows an agent's name in that of the other one, which there never is: no pair is made."""


class Embedded(Tuner):
    """LoRA here, in a worker process that outlives the caller. Free, and needs no key.

    Files are read where they are: keep them until the job has ended. A tag is the job's id.
    """

    name, title = "embedded", "The embedded engine"
    capabilities = Capabilities(
        estimates=True, client_ids=True, weights=True, max_tag=60, style="local", own_rows=True
    )

    async def probe(self) -> Account:
        absent = await asyncio.to_thread(missing)
        if absent:
            return Account(None, False, f"not installed: {', '.join(absent)} missing")
        return Account(None, True, "installed; needs no key and costs nothing")

    async def models(self) -> list[str]:
        return [DEFAULT_MODEL]

    async def upload(self, file: TrainingUpload, progress: Progress) -> str:
        try:
            await asyncio.to_thread(read_training, file.path)
        except DatasetError as error:
            raise InvalidRequestError(error.message, hint=error.hint) from error
        await progress(file.bytes, file.bytes)
        return str(file.path.absolute())

    async def estimate(self, request: TuneRequest) -> Estimate:
        return Estimate(0.0, words="free, on this machine", tokens=request.tokens or None)

    def payload(self, request: TuneRequest) -> dict[str, Any]:
        if not 0 < request.epochs <= 100:
            raise InvalidRequestError(
                f"{request.epochs:g} epochs cannot be trained.", hint="Choose from above 0 to 100."
            )
        try:
            wish = {"epochs": request.epochs, **request.options}
            settings = {**FULL.settings(request.role).to_json(), **wish}
            chosen = TrainingSettings.from_json(settings).to_json()
        except UsageError as error:
            raise InvalidRequestError(error.message, hint=error.hint) from error
        return {
            "train_file": request.training_file,
            "valid_file": request.validation_file,
            "settings": chosen,
            "prompt": default_prompt(request.role),
            "agent": request.tag,
            "pair": {
                "name": request.tag,
                "conversation": request.tag + _PAIRLESS * (request.role != "conversation"),
                "feedback": request.tag + _PAIRLESS * (request.role != "feedback"),
            },
        }

    async def create(self, request: TuneRequest) -> RemoteJob:
        if request.method != "sft" or request.from_model:
            raise InvalidRequestError("The embedded engine trains by SFT, from the base.")
        absent = await asyncio.to_thread(missing, TRAINING)
        if absent:
            raise SdkMissingError(
                f"The embedded engine is not installed ({', '.join(absent)} missing).",
                hint="Add it with `make setup`, or `pip install 'waltzrl-tui[local]'`.",
            )
        job = NewJob(
            request.tag,
            "train",
            request.role,
            request.model or DEFAULT_MODEL,
            state="queued",
            reason="starting",
            params=self.payload(request),
        )
        async with self._store() as (store, workspace):
            try:
                await store.jobs.add_all([job])
            except UsageError as error:
                raise InvalidRequestError(error.message, words="already exists") from error
            try:
                await launch(workspace, job.id)
            except WaltzError as error:
                await store.jobs.move(job.id, "failed", from_states={"queued"}, error=str(error))
                raise UnavailableError(error.message, hint=error.hint, sent=True) from error
            return _job(await store.jobs.get(job.id))

    async def find(self, tag: str) -> RemoteJob | None:
        async with self._store() as (store, _):
            found = await store.jobs.some([tag])
        return _job(found[0]) if found and found[0].provider == self.name else None

    async def jobs(self) -> list[RemoteJob]:
        async with self._store() as (store, _):
            rows = await store.jobs.list(limit=-1)
        return [_job(row) for row in rows if row.provider == self.name][:_LISTED]

    async def fetch(self, job_id: str, cursor: Mapping[str, Any]) -> JobSnapshot:
        async with self._store() as (store, workspace):
            await reconcile(store, workspace)
            job = await self._get(store, job_id)
            events = await store.jobs.events(job_id, since=int(cursor.get("event", 0)))
            metrics, number = await store.jobs.metrics_written(
                job_id, cursor=int(cursor.get("metric", 0))
            )
        last = events[-1].id if events else int(cursor.get("event", 0))
        done = job.state == "succeeded"
        return JobSnapshot(
            _state(job),
            job.state,
            words=job.error or job.reason,
            step=job.step or None,
            total_steps=job.total_steps or None,
            fraction=job.step / job.total_steps if job.total_steps else None,
            eta_seconds=job.eta_seconds,
            cost_usd=0.0,
            tokens=max((row.tokens for row in metrics), default=None),
            result_model=job.result_model if done else "",
            events=[RemoteEvent(str(row.id), row.at, row.text, row.level) for row in events],
            metrics=[
                RemoteMetric(
                    row.step,
                    loss=row.loss,
                    valid_loss=row.valid_loss,
                    epoch=row.epoch,
                    learning_rate=row.learning_rate,
                    tokens=row.tokens,
                    at=row.at,
                )
                for row in metrics
            ],
            cursor={"event": last, "metric": number},
        )

    async def cancel(self, job_id: str) -> None:
        async with self._store() as (store, workspace):
            job = await self._get(store, job_id)
            if not job.ended:
                await cancel(store, workspace, job_id)

    async def collect(self, result_model: str, folder: Path) -> Path:
        def copy() -> Path:
            folder.mkdir(parents=True, exist_ok=True)
            for path in Path(result_model).iterdir():
                shutil.copy2(path, folder / path.name)
            return folder

        try:
            return await asyncio.to_thread(copy)
        except OSError as error:
            raise MissingError(
                f"The adapter of {result_model} cannot be read: {error.strerror or error}."
            ) from error

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[tuple[Store, Workspace]]:
        """The store of the workspace in use, its errors as a provider's."""
        workspace = Workspace.current()
        try:
            async with await Store.open(workspace) as store:
                yield store, workspace
        except ProviderError:
            raise
        except StoreError as error:
            raise UnavailableError(error.message, hint=error.hint) from error

    async def _get(self, store: Store, job_id: str) -> JobRow:
        try:
            return await store.jobs.get(job_id)
        except NotFoundError as error:
            raise MissingError(error.message, hint=error.hint) from error


def _job(row: JobRow) -> RemoteJob:
    return RemoteJob(row.id, row.tag, _state(row), row.state, row.model, row.created_at)


def _state(row: JobRow) -> RemoteState:
    match row.state:
        case "queued" | "running" | "succeeded" | "failed" | "cancelled":
            return row.state
        case _:
            return "queued"
