"""One job on its way to a provider: upload, the provider's own estimate, find, create.

If this process is killed at any moment, the next one continues from the store: `sent_at` is on
the disk before a create call leaves, and from then on the job is first looked up by its tag.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from waltzrl_tui.errors import StoreError, WaltzError
from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    ConcurrencyError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
    RateLimitError,
    SdkMissingError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import Provider, RemoteJob, TrainingUpload, TuneRequest
from waltzrl_tui.records.intents import IntentFile
from waltzrl_tui.records.jobs import JobState
from waltzrl_tui.records.roles import Method, Role
from waltzrl_tui.remote.provider_pool import Providers
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.store.remote_rows import RemoteJobRow
from waltzrl_tui.store.rows import WAITS_TURN, now
from waltzrl_tui.text import one_line
from waltzrl_tui.words import money, plural, size

SETTLE_SECONDS: Final = 60.0
"""A job whose create call lost its answer may be listed this much later."""

_PENDING_SECONDS: Final = 3.0
_PENDING_TRIES: Final = 40
_WAIT_SECONDS: Final = 30.0
_TOLERANCE: Final = 1.005
BEFORE_CREATE: Final[tuple[JobState, ...]] = ("approved", "uploading", "submitting")


@dataclass(frozen=True, slots=True)
class SubmitStep:
    """The outcome of one step: `again_in` seconds to the next, None when there is none."""

    again_in: float | None


class Submitter:
    """Submits approved jobs to their providers, in one process at a time (see `Supervisor`)."""

    def __init__(
        self, store: Store, providers: Providers, *, settle_seconds: float = SETTLE_SECONDS
    ) -> None:
        self._store = store
        self._providers = providers
        self._settle_seconds = settle_seconds

    async def advance(self, job: JobRow) -> SubmitStep:
        """Advance a job as far as possible now. Never raises for a provider's error."""
        remote = await self._store.remote.get(job.id)
        health = self._providers.health(job.provider, remote.url)
        try:
            provider = await self._providers.get(job.provider, remote.url)
            step = await self._advance(provider, job, remote)
        except ConcurrencyError as error:
            health.succeeded()
            await self._move(job, "approved", _says(error, WAITS_TURN))
            return SubmitStep(_WAIT_SECONDS)
        except (QuotaError, AuthError, InvalidRequestError, ClosedError, SdkMissingError) as error:
            health.succeeded()
            if (await self._store.remote.get(job.id)).sent_at is not None:
                # It may exist and be billed: look it up until that is known.
                await self._providers.renewed(job.provider, remote.url)
                reason = f"an answer was lost, and the job cannot be looked up: {_full(error)}"
                await self._store.jobs.update(job.id, reason=one_line(reason, 400))
                return SubmitStep(_WAIT_SECONDS)
            await self._fail(job, error)
            return SubmitStep(None)
        except (RateLimitError, UnavailableError, MissingError) as error:
            health.failed(error.message, self._providers.clock(), error.retry_after)
            await self._store.jobs.update(job.id, reason=_says(error, "tries again"))
            return SubmitStep(max(0.0, health.until - self._providers.clock()))
        except StoreError:
            raise  # the job is as stored, and continues once the store can be written
        except WaltzError as error:
            await self._fail(job, error)
            return SubmitStep(None)
        health.succeeded()
        return step

    async def _advance(self, provider: Provider, job: JobRow, remote: RemoteJobRow) -> SubmitStep:
        if job.cancel_requested:
            return await self._withdraw(provider, job, remote)
        if remote.sent_at is not None:
            # A create call may have been sent: look up the tag before sending anything.
            return await self._create(provider, job, remote)
        if waits := await self._waits_for(provider, job):
            await self._move(job, "approved", waits)
            return SubmitStep(_WAIT_SECONDS)
        remote = await self._upload(provider, job, remote)
        if (await self._store.jobs.get(job.id)).cancel_requested:
            return SubmitStep(0.0)
        step = await self._priced(provider, job, remote)
        if step is not None:
            return step
        return await self._create(provider, job, await self._store.remote.get(job.id))

    async def _waits_for(self, provider: Provider, job: JobRow) -> str:
        """Why the job must wait for the provider's limit on concurrent jobs, or ""."""
        most = provider.capabilities.concurrent_jobs
        if most is None:
            return ""
        ahead = 0
        for other in await self._store.jobs.list(ended=False, limit=-1):
            if other.provider != job.provider or other.id == job.id:
                continue
            earlier = (other.created_at, other.id) < (job.created_at, job.id)
            if other.state in ("queued", "running", "submitting", "uploading") or (
                other.state == "approved" and earlier
            ):
                ahead += 1
        if ahead < most:
            return ""
        return f"{WAITS_TURN}: {provider.title} runs {most} at once"

    async def _upload(self, provider: Provider, job: JobRow, remote: RemoteJobRow) -> RemoteJobRow:
        files = dict(remote.files)
        missing = [split for split, file in files.items() if not file.id]
        if not missing:
            return remote
        await self._move(job, "uploading", "")
        account = await self._account(job.provider)
        for split in missing:
            file = files[split]
            remote_id = await self._store.remote.uploaded(job.provider, account, file.sha256)
            if not remote_id:
                remote_id = await self._send(provider, job, split, file)
                await self._store.remote.keep_upload(
                    job.provider, account, file.sha256, remote_id, file.bytes
                )
            else:
                await self._store.jobs.event(
                    job.id, f"{provider.title} already has the {split} file; not sent again"
                )
            files[split] = replace(file, id=remote_id)
            await self._store.remote.update(job.id, files=files)
        return await self._store.remote.get(job.id)

    async def _send(self, provider: Provider, job: JobRow, split: str, file: IntentFile) -> str:
        path = Path(file.path)
        if not await asyncio.to_thread(path.is_file):
            raise InvalidRequestError(
                f"The {split} file {path} is gone.", hint="Launch a new training."
            )
        shown = -1

        async def progress(sent: int, whole: int) -> None:
            nonlocal shown
            percent = 100 * sent // max(1, whole)
            if percent // 5 != shown // 5:
                shown = percent
                await self._store.jobs.update(
                    job.id, reason=f"sending the {split} file, {percent} % of {size(whole)}"
                )

        upload = TrainingUpload(
            path,
            file.sha256,
            file.bytes,
            file.rows,
            f"{job.role}-{split}-{file.sha256[:16]}.jsonl",
        )
        remote_id = await provider.upload(upload, progress)
        await self._store.jobs.event(
            job.id, f"{split} file sent: {plural(file.rows, 'row')}, {size(file.bytes)}"
        )
        return remote_id

    async def _priced(
        self, provider: Provider, job: JobRow, remote: RemoteJobRow
    ) -> SubmitStep | None:
        """Get the provider's own estimate; None to continue, else the step that ends here."""
        if not provider.capabilities.estimates:
            return None
        request = request_of(job, remote)
        for _ in range(_PENDING_TRIES):
            estimate = await provider.estimate(request)
            if not estimate.pending:
                break
            await self._store.jobs.update(job.id, reason=f"{provider.title} is checking the file")
            await asyncio.sleep(_PENDING_SECONDS)
        else:
            # Nothing is created without its price, which is requested again later.
            return SubmitStep(_WAIT_SECONDS)
        words = one_line(estimate.words, 200)
        await self._store.remote.update(job.id, vendor_usd=estimate.usd, vendor_says=words)
        if not estimate.allowed:
            raise QuotaError(
                f"{provider.title} does not allow this account to train.",
                words=estimate.words,
                hint="Check the account's limits in its console. Nothing was started.",
            )
        if estimate.usd is None:
            return None
        agreed = remote.request.agreed_usd
        await self._store.jobs.event(
            job.id, f"{provider.title}'s own estimate is {money(estimate.usd)}"
        )
        if agreed is not None and estimate.usd > agreed * _TOLERANCE:
            reason = (
                f"{provider.title} asks {money(estimate.usd)}, "
                f"more than the {money(agreed)} accepted"
            )
            # Back to a draft: the user has to approve the higher price.
            if await self._store.jobs.move(
                job.id,
                "draft",
                from_states=BEFORE_CREATE,
                reason=f"{reason}; approve the new price",
            ):
                await self._store.jobs.event(job.id, reason, "warning")
            return SubmitStep(None)
        await self._store.jobs.update(job.id, estimate_usd=estimate.usd)
        return None

    async def _create(self, provider: Provider, job: JobRow, remote: RemoteJobRow) -> SubmitStep:
        await self._move(job, "submitting", "")
        created = await provider.find(job.tag)
        if created is None and remote.sent_at is not None and not provider.capabilities.client_ids:
            left = self._settle_seconds - _age(remote.sent_at)
            if left > 0:
                await self._store.jobs.update(
                    job.id, reason="an answer was lost; checking whether the job exists"
                )
                return SubmitStep(min(left, 5.0))
        if created is None:
            request = request_of(job, remote)
            await self._store.remote.update(
                job.id, sent_at=now(), payload=provider.payload(request)
            )
            await self._store.flush()
            try:
                created = await provider.create(request)
            except ProviderError as error:
                # The answer was lost now, whenever the request was sent: wait from here.
                await self._store.remote.update(job.id, sent_at=now() if error.sent else None)
                raise
        await self._created(provider, job, created)
        return SubmitStep(0.0)

    async def _created(self, provider: Provider, job: JobRow, created: RemoteJob) -> None:
        moved = await self._store.jobs.move(
            job.id,
            "queued",
            from_states=BEFORE_CREATE,
            provider_job_id=created.id,
            provider_state=created.provider_state,
            reason="",
        )
        if moved:
            await self._store.jobs.event(
                job.id, f"{provider.title} created {one_line(created.id, 80)}"
            )

    async def _withdraw(self, provider: Provider, job: JobRow, remote: RemoteJobRow) -> SubmitStep:
        """Cancel a job that was not known to exist."""
        created = await provider.find(job.tag) if remote.sent_at is not None else None
        if created is not None:
            await self._created(provider, job, created)
            return SubmitStep(0.0)
        if remote.sent_at is not None and not provider.capabilities.client_ids:
            left = self._settle_seconds - _age(remote.sent_at)
            if left > 0:
                return SubmitStep(min(left, 5.0))
        if await self._store.jobs.move(job.id, "cancelled", reason=""):
            await self._store.jobs.event(job.id, "cancelled before it was started")
        return SubmitStep(None)

    async def _account(self, provider: str) -> str:
        probe = (await self._store.remote.probes()).get(provider)
        return probe.account if probe else ""

    async def _move(self, job: JobRow, state: JobState, reason: str) -> None:
        await self._store.jobs.move(job.id, state, from_states=BEFORE_CREATE, reason=reason)

    async def _fail(self, job: JobRow, error: WaltzError) -> None:
        text = _full(error)
        if await self._store.jobs.move(job.id, "failed", reason="", error=text):
            await self._store.jobs.event(job.id, text, "error")


def request_of(job: JobRow, remote: RemoteJobRow) -> TuneRequest:
    """The request to the provider, from the store's rows."""
    intent = remote.request
    train, valid = remote.files.get("train"), remote.files.get("valid")
    return TuneRequest(
        tag=job.tag,
        role=cast("Role", job.role),
        model=job.model,
        method=cast("Method", remote.method),
        training_file=train.id if train else "",
        validation_file=valid.id if valid else "",
        epochs=intent.epochs,
        options=intent.options,
        rows=train.rows if train else 0,
        valid_rows=valid.rows if valid else 0,
        tokens=(train.tokens or 0) if train else 0,
        timeout_s=intent.timeout_s,
        from_model=intent.from_model,
        machine=intent.machine,
        seconds=intent.seconds,
    )


def _says(error: ProviderError, then: str) -> str:
    return f"{then}: {one_line(error.words, 200) or error.message}".rstrip(".")


def _full(error: WaltzError) -> str:
    words = one_line(error.words, 300) if isinstance(error, ProviderError) else ""
    parts = [error.message, f"“{words}”" if words else "", error.hint]
    return " ".join(part for part in parts if part)


def _age(at: str) -> float:
    """Seconds since a stored time; 0 for a future one (the clock was set back)."""
    then = datetime.fromisoformat(at)
    return max(0.0, (datetime.now(UTC) - then).total_seconds())
