"""Together through its own SDK, against its wire on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.emulators.openapi import load_spec
from tests.support.emulators.together import TRIAL, TogetherEmulator
from tests.support.providers import quiet, request
from waltzrl_tui.providers.errors import (
    AuthError,
    ConcurrencyError,
    InvalidRequestError,
    ProviderError,
    QuotaError,
    RateLimitError,
    UnavailableError,
)
from waltzrl_tui.providers.protocol import (
    JobSnapshot,
    ProviderContext,
    TrainingUpload,
)
from waltzrl_tui.providers.together.provider import Together

# What only the SDK knows of the wire.
_BEYOND = (
    "POST /v1/files",
    "PUT /upload/.*",
    "POST /v1/files/.*/preprocess",
    "GET /v1/fine-tunes/.*/metrics",
)


@pytest.fixture
def there() -> Iterator[TogetherEmulator]:
    with TogetherEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def together(
    there: TogetherEmulator,
    context_for: Callable[[str, str], ProviderContext],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Together]:
    monkeypatch.setattr(Together, "check_seconds", 0.02)
    monkeypatch.setenv("TOGETHER_PROJECT_ID", "proj-1")
    provider = Together(context_for(there.key, there.url))
    yield provider
    await provider.close()


def _create(asked: Request) -> bool:
    return asked.method == "POST" and asked.path == "/v1/fine-tunes"


async def _ended(provider: Together, job_id: str) -> tuple[JobSnapshot, list[int], list[str]]:
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
    there: TogetherEmulator, together: Together, upload: Callable[..., TrainingUpload]
) -> None:
    there.spec = load_spec("together-ft.yaml", _BEYOND)
    account = await together.probe()
    assert account.key_ok and account.may_tune
    file_id = await together.upload(upload(), quiet)
    assert await together.upload(upload(), quiet) == file_id
    assert there.count("PUT", "/upload/") == 1
    wish = request(file_id)
    estimate = await together.estimate(wish)
    assert estimate.allowed and estimate.usd and estimate.usd > 0
    made = await together.create(wish)
    found = await together.find(wish.tag)
    assert found is not None
    assert (found.id, found.tag) == (made.id, wish.tag)
    last, steps, events = await _ended(together, made.id)
    assert last.state == "succeeded"
    assert steps == list(range(1, 61))
    assert len(events) == len(set(events)) == 5
    assert last.cost_usd == pytest.approx(estimate.usd, rel=0.02)
    assert wish.tag in last.result_model
    assert there.violations == []


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "Invalid API key provided.", AuthError),
        (403, TRIAL, QuotaError),
        (429, "You have reached the limit of 2 concurrent fine-tuning jobs.", ConcurrencyError),
        (429, "slow down", RateLimitError),
        (400, "Model is not supported", InvalidRequestError),
        (500, "oops", UnavailableError),
    ],
)
async def test_refusals_keep_the_vendors_words(
    there: TogetherEmulator,
    together: Together,
    upload: Callable[..., TrainingUpload],
    status: int,
    words: str,
    kind: type[ProviderError],
) -> None:
    wish = request(await together.upload(upload(), quiet))
    refusal = Answer(status, {"error": {"message": words}}, headers={"Retry-After": "7"})
    there.fail(Fault(_create, refusal))
    with pytest.raises(kind) as caught:
        await together.create(wish)
    error = caught.value
    assert words in error.words
    assert error.retry_after == 7
    assert error.sent == (status == 500)
    assert there.key not in str(error)


async def test_an_empty_reply_is_refused_by_the_check_with_its_line(
    together: Together, upload: Callable[..., TrainingUpload]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await together.upload(upload(reply=" "), quiet)
    assert "Line 1" in caught.value.words


async def test_an_upload_that_breaks_off_begins_again(
    there: TogetherEmulator, together: Together, upload: Callable[..., TrainingUpload]
) -> None:
    there.fail(Fault(on("PUT", "/upload/"), read=100))
    with pytest.raises(UnavailableError):
        await together.upload(upload(rows=4000), quiet)
    assert await together.upload(upload(rows=4000), quiet)


async def test_a_deployment_comes_up_is_found_and_goes_down(
    there: TogetherEmulator, together: Together, upload: Callable[..., TrainingUpload]
) -> None:
    made = await together.create(request(await together.upload(upload(), quiet)))
    result = (await _ended(together, made.id))[0].result_model
    up = await together.deploy(result, "Qwen/Qwen3-8B", "k3f-conv-0101")
    assert up.state == "starting"
    assert there.deployments["dep-1"].model.startswith("projects/proj-1/models/ml-")
    async with asyncio.timeout(10):
        while (await together.deployment(up.id)).state != "ready":
            await asyncio.sleep(0.05)
    found = await together.deployments()
    assert [(each.id, each.tag) for each in found] == [(up.id, "k3f-conv-0101")]
    await together.undeploy(up.id)
    assert await together.deployments() == []
