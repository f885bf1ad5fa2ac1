"""What every provider promises to whoever launches and watches jobs, against its own wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulators.core import Answer, Fault, Request
from tests.support.provider_cases import CASES, ProviderCase
from tests.support.providers import quiet, request
from waltzrl_tui.providers.errors import (
    AuthError,
    MissingError,
    ProviderError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import (
    JobSnapshot,
    Provider,
    ProviderContext,
    TrainingUpload,
    TuneRequest,
)

Upload = Callable[..., TrainingUpload]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ProviderCase:
    chosen: ProviderCase = request.param
    for place in chosen.fast:
        monkeypatch.setattr(place.replace(":", "."), 0.02)
    for variable in ("OPENAI_BASE_URL", "TOGETHER_BASE_URL", "FIREWORKS_ACCOUNT_ID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in chosen.environment.items():
        monkeypatch.setenv(variable, value)
    return chosen


@pytest.fixture
def there(case: ProviderCase) -> Iterator[Any]:
    with case.emulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def provider(case: ProviderCase, there: Any, tmp_path: Path) -> AsyncIterator[Provider]:
    context = ProviderContext(lambda _: there.key, f"{there.url}{case.path}", tmp_path / "cache")
    opened = case.open(context)
    yield opened
    await opened.close()


async def wanted(case: ProviderCase, provider: Provider, upload: Upload) -> TuneRequest:
    """A request whose file is there and whose price, where there is one, was asked."""
    wish = request(await provider.upload(upload(), quiet), model=case.model)
    if provider.capabilities.estimates:
        async with asyncio.timeout(20):
            while (await provider.estimate(wish)).pending:
                await asyncio.sleep(0.02)
    return wish


def _reads(asked: Request) -> bool:
    return asked.method == "GET"


async def until_ended(provider: Provider, job_id: str) -> list[JobSnapshot]:
    """All snapshots of a job, each asked for with the cursor of the one before."""
    snapshots = [await provider.fetch(job_id, {})]
    async with asyncio.timeout(30):
        while snapshots[-1].state not in ("succeeded", "failed", "cancelled"):
            await asyncio.sleep(0.03)
            snapshots.append(await provider.fetch(job_id, dict(snapshots[-1].cursor)))
    return snapshots


async def test_a_job_is_made_once_found_by_its_tag_and_watched_to_its_result(
    case: ProviderCase, there: Any, provider: Provider, upload: Upload
) -> None:
    assert (await provider.probe()).key_ok
    wish = await wanted(case, provider, upload)
    assert await provider.find(wish.tag) is None
    job = await provider.create(wish)
    by_tag = await provider.find(wish.tag)
    assert by_tag is not None
    assert (by_tag.id, by_tag.tag) == (job.id, wish.tag)
    assert await provider.find("abc-conv-0000") is None
    assert job.id in [each.id for each in await provider.jobs()]
    assert sum(map(case.creates, there.requests)) == 1
    snapshots = await until_ended(provider, job.id)
    last = snapshots[-1]
    assert last.state == "succeeded"
    assert last.result_model
    steps = [metric.step for each in snapshots for metric in each.metrics]
    assert steps and steps == sorted(set(steps))
    events = [event.key for each in snapshots for event in each.events]
    assert len(events) == len(set(events))
    assert dict(last.cursor)
    after = await provider.fetch(job.id, dict(last.cursor))
    assert (list(after.metrics), list(after.events)) == ([], [])
    # One that has ended is left as it is.
    await provider.cancel(job.id)
    assert (await provider.fetch(job.id, {})).state == "succeeded"
    assert there.key not in str(provider.payload(wish))


async def test_a_lost_answer_to_create_says_that_the_job_may_exist(
    case: ProviderCase, there: Any, provider: Provider, upload: Upload
) -> None:
    wish = await wanted(case, provider, upload)
    there.fail(Fault(case.creates, after=True, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await provider.create(wish)
    assert lost.value.sent
    assert await provider.find(wish.tag) is not None
    assert sum(map(case.creates, there.requests)) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthError), (429, RateLimitError), (500, UnavailableError)]
)
async def test_a_refused_create_keeps_the_providers_words_and_no_key(
    case: ProviderCase,
    there: Any,
    provider: Provider,
    upload: Upload,
    status: int,
    kind: type[ProviderError],
) -> None:
    wish = await wanted(case, provider, upload)
    words = "slow down, please"
    shapes = {"error": {"message": words}, "message": words, "detail": words}
    there.fail(Fault(case.creates, Answer(status, shapes, headers={"Retry-After": "7"})))
    with pytest.raises(kind) as refused:
        await provider.create(wish)
    assert refused.value.sent == (status == 500)
    assert there.key not in f"{refused.value} {refused.value.words}"


async def test_a_key_that_is_refused_is_an_error_of_the_key(
    case: ProviderCase, there: Any, tmp_path: Path
) -> None:
    url = f"{there.url}{case.path}"
    other = case.open(ProviderContext(lambda _: "revoked-0123456789", url, tmp_path / "cache"))
    with pytest.raises(AuthError) as refused:
        await other.probe()
    assert "revoked-0123456789" not in f"{refused.value} {refused.value.words}"
    await other.close()


async def test_unknown_words_are_shown_cancelled_jobs_stop_and_deleted_ones_are_missing(
    case: ProviderCase, there: Any, provider: Provider, upload: Upload
) -> None:
    job = await provider.create(await wanted(case, provider, upload))
    mine = next(iter(there.jobs.values()))
    mine.word = "RETHINKING"
    snapshot = await provider.fetch(job.id, {})
    assert snapshot.state == "unknown" and snapshot.provider_state.endswith(mine.word)
    there.fail(Fault(_reads, mangle=lambda content: content[: len(content) // 2]))
    with pytest.raises(UnavailableError):
        await provider.fetch(job.id, {})
    mine.word = ""
    await provider.cancel(job.id)
    assert (await until_ended(provider, job.id))[-1].state == "cancelled"
    there.jobs.clear()
    with pytest.raises(MissingError):
        await provider.fetch(job.id, {})
