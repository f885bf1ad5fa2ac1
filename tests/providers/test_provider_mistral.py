"""Mistral through the last SDK with fine-tuning, against its wire on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.emulators.mistral import (
    CLOSED,
    CONCURRENT,
    EPOCHS,
    TRIAL,
    MistralEmulator,
    MistralJob,
)
from tests.support.emulators.openapi import load_spec
from tests.support.providers import quiet, request
from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    ConcurrencyError,
    InvalidRequestError,
    MissingError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.mistral import provider as module
from waltzrl_tui.providers.mistral.provider import Mistral
from waltzrl_tui.providers.protocol import JobSnapshot, ProviderContext, TrainingUpload

pytest.importorskip("mistralai.client.fine_tuning_jobs", reason="needs mistralai<2.5.2")

_JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def there() -> Iterator[MistralEmulator]:
    with MistralEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def mistral(
    there: MistralEmulator,
    context_for: Callable[[str, str], ProviderContext],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Mistral]:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.02)
    provider = Mistral(context_for(there.key, there.url))
    yield provider
    await provider.close()


def _made(asked: Request) -> bool:
    return asked.method == "POST" and asked.path == _JOBS


def _starts(there: MistralEmulator) -> int:
    return there.count("POST", "/start")


async def _ended(provider: Mistral, job_id: str) -> tuple[JobSnapshot, list[int], list[str]]:
    """The last snapshot of a job, and all steps and events that came until then, in order."""
    cursor: dict[str, object] = {}
    steps: list[int] = []
    events: list[str] = []
    async with asyncio.timeout(20):
        while True:
            found = await provider.fetch(job_id, cursor)
            cursor = dict(found.cursor)
            steps += [each.step for each in found.metrics]
            events += [each.text for each in found.events]
            if found.state in ("succeeded", "failed", "cancelled"):
                return found, steps, events
            await asyncio.sleep(0.05)


async def test_a_job_from_probe_to_result(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    there.spec = load_spec("mistral-ft.yaml")
    account = await mistral.probe()
    assert (account.key_ok, account.may_tune) == (True, None)
    told: list[tuple[int, int]] = []

    async def progress(sent: int, whole: int) -> None:
        told.append((sent, whole))

    sent = upload(rows=9000)
    file_id = await mistral.upload(sent, progress)
    assert await mistral.upload(sent, quiet) == file_id
    assert there.count("POST", "/v1/files") == 1
    assert there.files[file_id] == (sent.name, sent.path.read_bytes())
    assert len(told) > 2
    assert max(told) == (sent.bytes, sent.bytes)
    wish = request(file_id, model="open-mistral-7b", options={"learning_rate": 1e-4})
    estimate = await mistral.estimate(wish)
    assert estimate.usd == pytest.approx(there.cost(next(iter(there.jobs.values()))))
    assert await mistral.find(wish.tag) is None
    made = await mistral.create(wish)
    found = await mistral.find(wish.tag)
    assert found is not None
    assert (found.id, found.tag) == (made.id, wish.tag)
    assert [asked.json for asked in there.requests if _made(asked)] == [mistral.payload(wish)]
    last, steps, events = await _ended(mistral, made.id)
    assert last.state == "succeeded"
    assert steps == list(range(4, 41, 4))
    assert len(events) == len(set(events))
    assert events[-1] == "SUCCESS"
    assert last.cost_usd == estimate.usd
    assert wish.tag in last.result_model
    assert (await mistral.probe()).may_tune
    assert _starts(there) == 1
    assert there.violations == []


async def test_what_was_priced_but_not_started_is_started_not_made_again(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    wish = request(await mistral.upload(upload(), quiet))
    there.fail(Fault(_made, after=True, drop=True))
    with pytest.raises(UnavailableError):
        await mistral.estimate(wish)
    assert len(there.jobs) == 1
    await mistral.estimate(wish)
    made = await mistral.create(wish)
    assert list(there.jobs) == [made.id]
    assert (await mistral.create(wish)).id == made.id
    assert _starts(there) == 1


@pytest.mark.parametrize("after", [False, True])
async def test_a_lost_answer_to_the_start_is_never_paid_twice(
    there: MistralEmulator,
    mistral: Mistral,
    upload: Callable[..., TrainingUpload],
    after: bool,
) -> None:
    wish = request(await mistral.upload(upload(), quiet))
    there.fail(Fault(on("POST", "/start"), after=after, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await mistral.create(wish)
    assert lost.value.sent
    assert (await mistral.find(wish.tag) is not None) == after
    await mistral.create(wish)
    assert [job.started is not None for job in there.jobs.values()] == [True]


async def test_a_start_that_came_too_late_finds_what_another_started(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    wish = request(await mistral.upload(upload(), quiet))
    await mistral.estimate(wish)

    def started_meanwhile(asked: Request) -> bool:
        if asked.path.endswith("/start"):
            next(iter(there.jobs.values())).started = there.now()
        return False

    there.fail(Fault(started_meanwhile))
    assert (await mistral.create(wish)).id in there.jobs
    assert len(there.jobs) == 1


async def test_no_start_above_the_price_that_was_agreed_to(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    file_id = await mistral.upload(upload(), quiet)
    there.currency = "EUR"
    wish = request(file_id)
    # A euro is counted at more than it is worth.
    estimate = await mistral.estimate(wish)
    assert estimate.usd is not None and estimate.usd > 5.0
    assert "4.00 EUR" in estimate.words
    with pytest.raises(InvalidRequestError, match="more than"):
        await mistral.create(request(file_id, options={"max_usd": 4.5}))
    assert _starts(there) == 0
    assert (await mistral.create(request(file_id, options={"max_usd": 5.5}))).id
    there.currency = "XTS"
    with pytest.raises(InvalidRequestError, match="XTS"):
        await mistral.estimate(request(file_id, tag="k3f-feed-1a2b"))


async def test_refusals_of_the_check_and_of_the_vendor(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    with pytest.raises(InvalidRequestError) as empty:
        await mistral.upload(upload(reply=" "), quiet)
    assert "line 1" in empty.value.words
    file_id = await mistral.upload(upload(), quiet)
    with pytest.raises(InvalidRequestError) as refused:
        await mistral.estimate(request(file_id, epochs=253))
    assert refused.value.words == EPOCHS
    there.limit = 1
    first = await mistral.create(request(file_id))
    second = request(file_id, tag="k3f-feed-1a2b")
    with pytest.raises(ConcurrencyError) as busy:
        await mistral.create(second)
    assert busy.value.words == CONCURRENT
    there.trial = 1
    with pytest.raises(QuotaError) as used_up:
        await mistral.create(second)
    assert used_up.value.words == TRIAL
    there.trial = None
    there.jobs[first.id].word = "SUCCESS"
    # The jobs whose check failed are not in its way.
    assert (await mistral.create(second)).id
    there.closed = True
    with pytest.raises(ClosedError) as closed:
        await mistral.create(request(file_id, tag="k3f-feed-2b3c"))
    assert (closed.value.words, closed.value.sent) == (CLOSED, False)
    assert _starts(there) == 2


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "Unauthorized", AuthError),
        (402, "insufficient credit", QuotaError),
        (404, "No such job", MissingError),
        (429, "Requests rate limit exceeded", RateLimitError),
        (422, "bad settings", InvalidRequestError),
        (500, "oops", UnavailableError),
    ],
)
async def test_errors_keep_the_vendors_words(
    there: MistralEmulator,
    mistral: Mistral,
    upload: Callable[..., TrainingUpload],
    status: int,
    words: str,
    kind: type[ProviderError],
) -> None:
    wish = request(await mistral.upload(upload(), quiet))
    answer = Answer(status, {"detail": [{"msg": words}]}, headers={"Retry-After": "7"})
    there.fail(Fault(on("POST", "/start"), answer))
    with pytest.raises(kind) as caught:
        await mistral.create(wish)
    error = caught.value
    assert (error.words, error.retry_after, error.sent) == (words, 7, status == 500)
    assert there.key not in f"{error} {error.words} {error.hint}"


async def test_a_job_is_found_on_the_last_of_many_pages(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    wish = request(await mistral.upload(upload(), quiet))
    made = await mistral.create(wish)
    other = {**there.jobs[made.id].wish, "suffix": "another"}
    for number in range(200):
        name = f"{number:08}-0000-4000-8000-000000000000"
        there.jobs[name] = MistralJob(name, other, there.now())
    found = await mistral.find(wish.tag)
    assert found is not None and found.id == made.id


async def test_a_probe_tells_what_cannot_be_tuned(there: MistralEmulator, mistral: Mistral) -> None:
    there.tunable = False
    account = await mistral.probe()
    assert (account.key_ok, account.may_tune) == (True, False)
    there.tunable = True
    there.fail(Fault(on("GET", _JOBS), Answer(404, {"detail": "Not Found"})))
    account = await mistral.probe()
    assert (account.may_tune, account.words) == (False, "Not Found")


async def test_a_connection_that_breaks_in_an_upload_may_have_sent_it(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    there.fail(Fault(on("POST", "/v1/files"), read=100))
    with pytest.raises(UnavailableError) as broken:
        await mistral.upload(upload(rows=9000), quiet)
    assert broken.value.sent
    assert await mistral.upload(upload(rows=9000), quiet)


async def test_killed_at_any_request_that_arrives_all_the_same_one_job_is_started(
    there: MistralEmulator, mistral: Mistral, upload: Callable[..., TrainingUpload]
) -> None:
    file_id = await mistral.upload(upload(), quiet)
    there.limit = 100
    loop = asyncio.get_running_loop()
    killed, was_killed = 0, True
    while was_killed:
        wish = request(file_id, tag=f"k3f-conv-{killed:04x}")
        launch = asyncio.create_task(mistral.create(wish))
        left = killed

        def at_this_one(_: Request, launch: asyncio.Task[object] = launch) -> bool:
            nonlocal left
            left -= 1
            if left == -1:
                loop.call_soon_threadsafe(launch.cancel)
            return left == -1

        fault = there.fail(Fault(at_this_one, stall=0.05))
        await asyncio.wait([launch])
        was_killed = launch.cancelled()
        fault.times = 0
        if was_killed:
            killed += 1
            # It stalls, and then takes its effect though nobody waits for it.
            await asyncio.sleep(0.1)
        found = await mistral.find(wish.tag) or await mistral.create(wish)
        ours = [job for job in there.jobs.values() if job.wish["suffix"] == wish.tag]
        assert [job.id for job in ours if job.started is not None] == [found.id]
    assert killed >= 4
