"""Fireworks through its own SDK, against its wire on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.emulators.fireworks import BEYOND, SUSPENDED, FireworksEmulator
from tests.support.emulators.openapi import load_spec
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
from waltzrl_tui.providers.fireworks import files as fireworks_files
from waltzrl_tui.providers.fireworks.provider import Fireworks
from waltzrl_tui.providers.protocol import (
    JobSnapshot,
    ProviderContext,
    RemoteMetric,
    TrainingUpload,
)

Upload = Callable[..., TrainingUpload]
_BASE = "accounts/fireworks/models/qwen3-8b"


@pytest.fixture
def there() -> Iterator[FireworksEmulator]:
    with FireworksEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def fireworks(
    there: FireworksEmulator,
    context_for: Callable[[str, str], ProviderContext],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Fireworks]:
    monkeypatch.setattr(fireworks_files, "_CHECK_SECONDS", 0.02)
    monkeypatch.delenv("FIREWORKS_ACCOUNT_ID", raising=False)
    provider = Fireworks(context_for(there.key, there.url))
    yield provider
    await provider.close()


def _create(asked: Request) -> bool:
    return asked.method == "POST" and asked.path.endswith(("/supervisedFineTuningJobs", "/dpoJobs"))


async def _ended(
    provider: Fireworks, job_id: str
) -> tuple[list[JobSnapshot], list[RemoteMetric], list[str]]:
    """The snapshots of a job until it ended, and all figures and log lines, as they came."""
    cursor: dict[str, Any] = {}
    seen: list[JobSnapshot] = []
    metrics: list[RemoteMetric] = []
    log: list[str] = []
    async with asyncio.timeout(20):
        while True:
            seen.append(await provider.fetch(job_id, cursor))
            cursor = dict(seen[-1].cursor)
            metrics += seen[-1].metrics
            log += seen[-1].log
            if seen[-1].state in ("succeeded", "failed", "cancelled"):
                return seen, metrics, log
            await asyncio.sleep(0.03)


async def test_a_job_from_probe_to_result(
    there: FireworksEmulator, fireworks: Fireworks, upload: Upload
) -> None:
    there.spec = load_spec("fireworks-ft.yaml", BEYOND)
    account = await fireworks.probe()
    assert (account.key_ok, account.may_tune, account.account) == (True, True, "acme")
    told: list[int] = []

    async def progress(sent: int, whole: int) -> None:
        told.append(sent)

    file = upload()
    name = await fireworks.upload(file, progress)
    assert await fireworks.upload(upload(), quiet) == name
    assert there.count("POST", ":upload") == 1
    assert there.datasets[name.rpartition("/")[2]].content == file.path.read_bytes()
    assert max(told) == file.bytes
    wish = request(
        name, model=_BASE, validation_file=name, options={"learning_rate": 1e-4, "nonsense": 1}
    )
    estimate = await fireworks.estimate(wish)
    assert estimate.usd == pytest.approx(file.bytes // 4 * 3 * 0.50 / 1e6)
    made = await fireworks.create(wish)
    sent = next(asked for asked in there.requests if _create(asked))
    assert sent.json == fireworks.payload(wish)
    assert sent.json["learningRate"] == 1e-4
    found = await fireworks.find(wish.tag)
    assert found is not None
    assert (found.id, found.tag, found.model) == (made.id, wish.tag, _BASE)
    assert [job.id for job in await fireworks.jobs()] == [made.id]
    there.jobs[wish.tag].said = "waits for a GPU"
    seen, metrics, log = await _ended(fireworks, made.id)
    assert [each.text for snapshot in seen for each in snapshot.events] == ["waits for a GPU"]
    assert [each.step for each in metrics if each.loss is not None] == list(range(1, 61))
    assert [each.step for each in metrics if each.valid_loss is not None] == [20, 40, 60]
    assert log == [f"step {step} of 60" for step in range(10, 61, 10)]
    fractions = [each.fraction for each in seen if each.fraction is not None]
    assert fractions == sorted(fractions) and fractions[-1] == 1
    last = seen[-1]
    assert (last.state, last.provider_state) == ("succeeded", "JOB_STATE_COMPLETED")
    assert last.cost_usd == pytest.approx(estimate.usd)
    assert last.result_model == f"accounts/acme/models/{wish.tag}"
    assert there.violations == []


async def test_a_dpo_job_is_kept_apart_and_found_all_the_same(
    there: FireworksEmulator, fireworks: Fireworks, upload: Upload
) -> None:
    there.spec = load_spec("fireworks-ft.yaml", BEYOND)
    name = await fireworks.upload(upload(), quiet)
    wish = request(name, model=_BASE, method="dpo", options={"dpo_beta": 0.2})
    assert (await fireworks.estimate(wish)).usd is None
    made = await fireworks.create(wish)
    assert there.jobs[wish.tag].wish["lossConfig"] == {"method": "DPO", "dpo": {"beta": 0.2}}
    assert await fireworks.find(wish.tag) is not None
    assert [job.id for job in await fireworks.jobs()] == [made.id]
    # By hand it is named as the console shows it.
    assert (await fireworks.fetch(wish.tag, {})).provider_state.startswith("JOB_STATE_")
    seen, metrics, _ = await _ended(fireworks, made.id)
    assert [each.step for each in metrics] == list(range(1, 61))
    assert seen[-1].result_model == f"accounts/acme/models/{wish.tag}"
    assert there.violations == []


async def test_a_lost_answer_and_a_second_create_never_make_a_second_job(
    there: FireworksEmulator, fireworks: Fireworks, upload: Upload
) -> None:
    wish = request(await fireworks.upload(upload(), quiet))
    there.fail(Fault(_create, after=True, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await fireworks.create(wish)
    assert lost.value.sent
    assert sum(map(_create, there.requests)) == 1
    again = await fireworks.create(wish)
    assert again.id == wish.tag
    assert list(there.jobs) == [wish.tag]
    there.jobs[wish.tag].word, there.limit = "RUNNING", 1
    with pytest.raises(ConcurrencyError) as full:
        await fireworks.create(request(wish.training_file, tag="k3f-feed-1a2b"))
    assert not full.value.sent


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "The API key you provided is invalid.", AuthError),
        (412, SUSPENDED, QuotaError),
        (429, "at most 1 concurrent fine-tuning jobs are allowed", ConcurrencyError),
        (429, "slow down", RateLimitError),
        (400, "epochs must be at most 100", InvalidRequestError),
        (503, "upstream", UnavailableError),
    ],
)
async def test_refusals_keep_the_vendors_words(
    there: FireworksEmulator,
    fireworks: Fireworks,
    upload: Upload,
    status: int,
    words: str,
    kind: type[ProviderError],
) -> None:
    wish = request(await fireworks.upload(upload(), quiet))
    refusal = Answer(status, {"code": 2, "message": words}, headers={"Retry-After": "7"})
    there.fail(Fault(_create, refusal))
    with pytest.raises(kind) as caught:
        await fireworks.create(wish)
    assert type(caught.value) is kind
    assert words in caught.value.words
    assert caught.value.retry_after == 7
    assert caught.value.sent == (status == 503)
    assert there.key not in str(caught.value)


async def test_what_the_account_may_not_is_said_before_anything_is_sent(
    there: FireworksEmulator, fireworks: Fireworks
) -> None:
    there.suspended = True
    account = await fireworks.probe()
    assert (account.key_ok, account.may_tune) == (True, False)
    assert "MONTHLY_SPEND_LIMIT_EXCEEDED" in account.words
    there.accounts = ["acme", "other"]
    with pytest.raises(InvalidRequestError) as several:
        await fireworks.probe()
    assert "acme, other" in several.value.hint


async def test_a_file_that_is_refused_and_one_that_breaks_off(
    there: FireworksEmulator, fireworks: Fireworks, upload: Upload
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await fireworks.upload(upload(reply=" "), quiet)
    assert "Line 1" in refused.value.words
    there.fail(Fault(on("POST", ":upload"), read=100))
    with pytest.raises(UnavailableError):
        await fireworks.upload(upload(rows=4000), quiet)
    name = await fireworks.upload(upload(rows=4000), quiet)
    content = there.datasets[name.rpartition("/")[2]].content
    assert content == upload(rows=4000).path.read_bytes()


async def test_a_large_file_goes_to_a_signed_address_without_the_key(
    there: FireworksEmulator,
    fireworks: Fireworks,
    upload: Upload,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fireworks_files, "_DIRECT_BYTES", 100)
    there.spec = load_spec("fireworks-ft.yaml", BEYOND)
    name = await fireworks.upload(upload(), quiet)
    assert there.datasets[name.rpartition("/")[2]].content == upload().path.read_bytes()
    put = next(asked for asked in there.requests if asked.method == "PUT")
    assert "authorization" not in put.headers
    assert there.violations == []


def test_metrics_lines_of_both_shapes_are_read_and_others_left_out() -> None:
    lines = "\n".join(
        [
            '{"timestamp": 1784318345.9, "step": 1, "data": {"train/epoch": 0, "train/loss": 0.9}}',
            '{"step": 2, "train/loss": 1.25, "train/lr": 0.0001}',
            '{"step": 2, "eval/loss": 1.5}',
            '{"step": 3, "train/loss": NaN}',
            '{"step": true, "train/loss": 1}',
            "[1]",
            "not json",
        ]
    )
    assert fireworks_files.metrics_of(lines) == [
        RemoteMetric(1, loss=0.9, epoch=0.0),
        RemoteMetric(2, loss=1.25, valid_loss=1.5, learning_rate=0.0001),
    ]


async def test_a_deployment_comes_up_once_is_found_and_goes_down(
    there: FireworksEmulator, fireworks: Fireworks
) -> None:
    there.spec = load_spec("fireworks-ft.yaml", BEYOND)
    there.page = 1
    model, tag = "accounts/acme/models/k3f-conv-1a2b", "my_agent-1127220101"
    up = await fireworks.deploy(model, _BASE, tag)
    assert (await fireworks.deploy(model, _BASE, tag)).id == up.id
    assert up.state == "starting" and up.usd_per_hour is None
    wish = there.deployments[up.id].wish
    assert (wish["minReplicaCount"], wish["maxReplicaCount"]) == (0, 1)
    async with asyncio.timeout(10):
        while (ready := await fireworks.deployment(up.id)).state != "ready":
            await asyncio.sleep(0.03)
    assert ready.url == f"{there.url}/inference/v1"
    assert ready.model == f"{model}#accounts/acme/deployments/{up.id}"
    await fireworks._client.deployments.create(base_model=_BASE, deployment_id="somebody-elses")
    found = await fireworks.deployments()
    assert [(each.id, each.tag) for each in found] == [(up.id, tag), ("somebody-elses", "")]
    await fireworks.undeploy(up.id)
    await fireworks.undeploy("gone-already")
    assert [each.id for each in await fireworks.deployments()] == ["somebody-elses"]
    assert there.violations == []
