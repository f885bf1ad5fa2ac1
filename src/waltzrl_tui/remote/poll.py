"""Polling a job at its provider: how often, and what the answer changes."""

from __future__ import annotations

from typing import Final

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    MissingError,
    ProviderError,
    RateLimitError,
    SdkMissingError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import JobSnapshot, Provider, RemoteEvent
from waltzrl_tui.records.metrics import Metric, measured
from waltzrl_tui.remote.provider_pool import Providers, jittered
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.store.remote_rows import LOG, NewEvent, RemoteJobRow, RemoteUpdate
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.words import money

WATCHED: Final = ("queued", "running")
PER_SECOND: Final = 4.0
"""The most requests a second to one provider."""

_QUEUED: Final = (2.0, 20.0)
_RUNNING: Final = (4.0, 30.0)
_REVOKED: Final = 120.0
_GROWTH: Final = 1.5
_NEWS_SECONDS: Final = 30.0
_LOG_LINES: Final = 2000


def interval(job: JobRow, quiet: int, at_provider: int) -> float:
    """Seconds until a job is polled again.

    The longer nothing changes the rarer, within limits by its state. All jobs at one provider
    share `PER_SECOND` requests a second.

    Args:
        quiet: Consecutive answers without news.
        at_provider: Jobs watched at the same provider.
    """
    low, high = _RUNNING if job.state == "running" else _QUEUED
    own = min(high, low * _GROWTH ** min(quiet, 20))
    return jittered(max(own, at_provider / PER_SECOND))


class Poller:
    """Polls one job at a time; `Supervisor` decides which and when."""

    def __init__(self, store: Store, providers: Providers) -> None:
        self._store = store
        self._providers = providers
        self._missing: set[str] = set()

    async def ask(self, job: JobRow, remote: RemoteJobRow) -> bool | None:
        """Poll once and store the answer.

        Returns:
            Whether there was news; None without an answer.
        """
        health = self._providers.health(job.provider, remote.url)
        clock = self._providers.clock
        try:
            provider = await self._providers.get(job.provider, remote.url)
            async with health.gate:
                if not health.admits(clock()):
                    return None
                if job.cancel_requested:
                    await self._cancel(provider, job)
                snapshot = await provider.fetch(job.provider_job_id, remote.cursor)
        except MissingError as error:
            health.succeeded()
            return await self._missing_once(job, error)
        except (RateLimitError, UnavailableError) as error:
            health.failed(_brief(error), clock(), error.retry_after)
        except AuthError as error:
            # The job continues there; another key lets us see it again.
            renewed = await self._providers.renewed(job.provider, remote.url)
            health.failed(f"{_brief(error)} {error.hint}", clock(), 0.0 if renewed else _REVOKED)
        except (ClosedError, SdkMissingError) as error:
            health.failed(_brief(error), clock(), _REVOKED)
        except ProviderError as error:
            health.failed(_brief(error), clock())
        else:
            health.succeeded()
            self._missing.discard(job.id)
            return await self._keep(job, remote, snapshot)
        await self.report_silence(job, remote)
        return None

    async def report_silence(self, job: JobRow, remote: RemoteJobRow) -> None:
        """Report since when and why a job has not been seen; not for a single failure."""
        health = self._providers.health(job.provider, remote.url)
        lasting = health.until - self._providers.clock() > _NEWS_SECONDS
        if not health.words or (health.failures < 2 and not lasting):
            return
        since = f" since {remote.seen_at[:16].replace('T', ' ')} UTC" if remote.seen_at else ""
        await self._says(job, f"not seen{since}: {one_line(health.words, 300)}")

    async def _keep(self, job: JobRow, remote: RemoteJobRow, snapshot: JobSnapshot) -> bool:
        words = one_line(snapshot.words, 300)
        state = None if snapshot.state == "unknown" else snapshot.state
        reason, error = words, ""
        if snapshot.state == "unknown":
            reason = f"the provider reports “{one_line(snapshot.provider_state, 40)}”"
        if state == "failed":
            reason, error = "", words or "The provider gave no reason."
        if job.cancel_requested and state not in ("succeeded", "failed", "cancelled"):
            reason = reason or "cancel requested"
        logged = [
            NewEvent(f"log:{_position(snapshot, index)}", LOG + printable(line)[:2000])
            for index, line in enumerate(snapshot.log[-_LOG_LINES:])
        ]
        update = RemoteUpdate(
            cursor=dict(snapshot.cursor),
            state=state,
            provider_state=one_line(snapshot.provider_state, 60),
            reason="" if state in ("succeeded", "cancelled") else reason,
            error=error,
            step=snapshot.step,
            total_steps=snapshot.total_steps,
            fraction=snapshot.fraction,
            eta_seconds=snapshot.eta_seconds,
            cost_usd=snapshot.cost_usd,
            tokens=snapshot.tokens,
            result_model=one_line(snapshot.result_model, 400),
            events=(*(_event(each) for each in snapshot.events), *logged),
            metrics=tuple(
                Metric(
                    each.step,
                    measured(
                        {
                            "loss": each.loss,
                            "valid_loss": each.valid_loss,
                            "epoch": each.epoch,
                            "learning_rate": each.learning_rate,
                            "tokens": each.tokens,
                        }
                    ),
                    each.at,
                )
                for each in snapshot.metrics
            ),
        )
        changed = await self._store.remote.record(job.id, update)
        if changed and state in ("succeeded", "failed", "cancelled"):
            await self._ended(job.id)
        news = snapshot.events or snapshot.metrics or snapshot.log
        return bool(changed or news or snapshot.provider_state != job.provider_state)

    async def _ended(self, job_id: str) -> None:
        job = await self._store.jobs.get(job_id)
        remote = await self._store.remote.get(job_id)
        text = f"{job.state} at the provider"
        estimate_usd = remote.vendor_usd if remote.vendor_usd is not None else job.estimate_usd
        if job.cost_usd or estimate_usd:
            text += f"; estimated {money(estimate_usd)}, billed {money(job.cost_usd)}"
        level = "error" if job.state == "failed" else "info"
        await self._store.jobs.event(job_id, text + (f": {job.error}" if job.error else ""), level)  # type: ignore[arg-type]

    async def _cancel(self, provider: Provider, job: JobRow) -> None:
        if provider.capabilities.cancels:
            await provider.cancel(job.provider_job_id)

    async def _missing_once(self, job: JobRow, error: MissingError) -> bool:
        """Accept that a job is gone at the second report: the first may come from a server that
        does not know the job yet."""
        if job.id in self._missing:
            self._missing.discard(job.id)
            await self._gone(job, error)
        else:
            self._missing.add(job.id)
            await self._says(job, "the provider cannot find it; checking once more")
        return True

    async def _gone(self, job: JobRow, error: MissingError) -> None:
        """End a job that the provider has deleted."""
        text = "The provider no longer has this job; it was deleted there."
        words = one_line(error.words, 200)
        text += f" “{words}”" if words else ""
        if job.cancel_requested:
            await self._store.jobs.move(job.id, "cancelled", reason="", error="")
            await self._store.jobs.event(job.id, text)
        elif await self._store.jobs.move(job.id, "failed", reason="", error=text):
            await self._store.jobs.event(job.id, text, "error")

    async def _says(self, job: JobRow, reason: str) -> None:
        if reason != job.reason:
            await self._store.jobs.update(job.id, reason=reason)


def _event(event: RemoteEvent) -> NewEvent:
    return NewEvent(event.key, printable(event.text)[:2000], event.at, event.level)


def _position(snapshot: JobSnapshot, index: int) -> str:
    return f"{sorted(snapshot.cursor.items())}:{index}"


def _brief(error: WaltzError) -> str:
    words = one_line(error.words, 120) if isinstance(error, ProviderError) else ""
    return f"{error.message} {words}".strip()
