"""OpenAI through its own SDK, against its wire on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.support.emulators.core import Fault, Request
from tests.support.emulators.openai import OpenAIEmulator
from tests.support.emulators.openapi import load_spec
from tests.support.providers import quiet, request
from waltzrl_tui.providers.errors import (
    AuthError,
    ClosedError,
    ConcurrencyError,
    InvalidRequestError,
    UnavailableError,
)
from waltzrl_tui.providers.openai.provider import OpenAI
from waltzrl_tui.providers.protocol import ProviderContext, TrainingUpload


@pytest.fixture
def there() -> Iterator[OpenAIEmulator]:
    with OpenAIEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def openai(
    there: OpenAIEmulator, context_for: Callable[[str, str], ProviderContext]
) -> AsyncIterator[OpenAI]:
    provider = OpenAI(context_for(there.key, f"{there.url}/v1"))
    yield provider
    await provider.close()


def _create(asked: Request) -> bool:
    return asked.method == "POST" and asked.path == "/v1/fine_tuning/jobs"


async def test_a_job_from_upload_to_result(
    there: OpenAIEmulator, openai: OpenAI, upload: Callable[..., TrainingUpload]
) -> None:
    there.spec = load_spec("openai-ft.yaml")
    account = await openai.probe()
    assert (account.key_ok, account.may_tune) == (True, False)
    told: list[tuple[int, int]] = []

    async def progress(sent: int, whole: int) -> None:
        told.append((sent, whole))

    sent = upload(rows=9000)
    file_id = await openai.upload(sent, progress)
    assert await openai.upload(sent, quiet) == file_id
    assert there.count("POST", "/v1/files") == 1
    assert there.files[file_id] == (sent.name, sent.path.read_bytes())
    assert len(told) > 2
    assert max(told) == (sent.bytes, sent.bytes)
    wish = request(file_id, model="gpt-4o-mini-2024-07-18")
    made = await openai.create(wish)
    found = await openai.find(wish.tag)
    assert found is not None and found.id == made.id
    assert [asked.json for asked in there.requests if _create(asked)] == [openai.payload(wish)]
    cursor: dict[str, Any] = {}
    steps: list[int] = []
    events: list[str] = []
    async with asyncio.timeout(20):
        while True:
            seen = await openai.fetch(made.id, cursor)
            cursor = dict(seen.cursor)
            steps += [each.step for each in seen.metrics]
            events += [each.key for each in seen.events]
            if seen.state == "succeeded":
                break
            await asyncio.sleep(0.05)
    assert steps == list(range(1, 51))
    assert len(events) == len(set(events)) == 2
    assert seen.tokens == 4200
    assert wish.tag in seen.result_model
    assert (await openai.probe()).may_tune
    assert there.violations == []


async def test_what_it_refuses_and_what_was_lost(
    there: OpenAIEmulator, openai: OpenAI, upload: Callable[..., TrainingUpload]
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await openai.upload(upload(reply=" "), quiet)
    assert "empty content" in refused.value.words
    wish = request(await openai.upload(upload(), quiet))
    there.fail(Fault(_create, after=True, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await openai.create(wish)
    assert lost.value.sent
    assert await openai.find(wish.tag) is not None
    there.limit = 1
    with pytest.raises(ConcurrencyError):
        await openai.create(request(wish.training_file, tag="k3f-feed-1a2b"))
    there.closed = True
    with pytest.raises(ClosedError) as closed:
        await openai.create(request(wish.training_file, tag="k3f-feed-1a2b"))
    assert "no longer available" in closed.value.words
    assert sum(map(_create, there.requests)) == 3


async def test_preferences_are_sent_as_the_api_wants_them(
    there: OpenAIEmulator, openai: OpenAI, upload: Callable[..., TrainingUpload]
) -> None:
    there.spec = load_spec("openai-ft.yaml")
    wish = request(
        await openai.upload(upload(), quiet),
        model="gpt-4o-mini-2024-07-18",
        method="dpo",
        options={"beta": 0.2, "seed": 7},
    )
    await openai.create(wish)
    assert there.violations == []
    there.key = "sk-proj-fedcba9876543210"
    with pytest.raises(AuthError) as refused:
        await openai.probe()
    assert "Incorrect API key" in refused.value.words
