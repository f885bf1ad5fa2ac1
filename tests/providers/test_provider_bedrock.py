"""Amazon Bedrock through boto3, against STS, S3 and Bedrock's wire on loopback."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulators.bedrock import (
    ACCOUNT,
    DENIED,
    IN_PROGRESS,
    MODELS_FULL,
    ROLE,
    BedrockEmulator,
    Bucket,
)
from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.emulators.service_model import JsonService
from tests.support.providers import quiet, request
from waltzrl_tui.providers.bedrock.files import rows_of
from waltzrl_tui.providers.bedrock.provider import Bedrock, BedrockLlama
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
from waltzrl_tui.providers.protocol import (
    JobSnapshot,
    ProviderContext,
    RemoteMetric,
    TrainingUpload,
    TuneRequest,
)

_NOVA = "amazon.nova-micro-v1:0:128k"
_SECRET = "verysecret0123456789"
_BUCKET = f"waltzrl-tui-{ACCOUNT}-us-east-1"
_MODEL = f"arn:aws:bedrock:us-east-1:{ACCOUNT}:custom-model/{_NOVA}/abcdef012345"

Maker = Callable[..., TrainingUpload]


@pytest.fixture(autouse=True)
def _aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own AWS settings."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("WALTZRL_BEDROCK_ROLE_ARN", ROLE)


@pytest.fixture
def there() -> Iterator[BedrockEmulator]:
    with BedrockEmulator(speed=200.0) as emulator:
        yield emulator


@pytest.fixture
def context(there: BedrockEmulator, tmp_path: Path) -> ProviderContext:
    keys = {"AWS_ACCESS_KEY_ID": there.key, "AWS_SECRET_ACCESS_KEY": _SECRET}
    return ProviderContext(lambda name: keys.get(name, ""), there.url, tmp_path / "cache")


@pytest.fixture
async def bedrock(context: ProviderContext) -> AsyncIterator[Bedrock]:
    provider = Bedrock(context)
    yield provider
    await provider.close()


@pytest.fixture
def conversations(tmp_path: Path) -> Maker:
    """A training file in the form that Nova takes."""

    def make(rows: int = 12, reply: str = "Use kill.") -> TrainingUpload:
        turns = [("user", "How do I kill a process?"), ("assistant", reply)]
        row = {
            "schemaVersion": "bedrock-conversation-2024",
            "system": [{"text": "Answer."}],
            "messages": [{"role": role, "content": [{"text": text}]} for role, text in turns],
        }
        path = tmp_path / f"{rows}.jsonl"
        path.write_text((json.dumps(row) + "\n") * rows, "utf-8")
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return TrainingUpload(path, digest, len(content), rows, f"conv-train-{digest[:16]}.jsonl")

    return make


def _create(asked: Request) -> bool:
    return asked.method == "POST" and asked.path == "/model-customization-jobs"


async def _wish(bedrock: Bedrock, file: TrainingUpload, **changes: Any) -> TuneRequest:
    return request(await bedrock.upload(file, quiet), **{"model": _NOVA} | changes)


async def _ended(provider: Bedrock, job_id: str) -> tuple[list[JobSnapshot], list[RemoteMetric]]:
    """The snapshots of a job until it ended, and all figures as they came."""
    cursor: dict[str, Any] = {}
    seen: list[JobSnapshot] = []
    metrics: list[RemoteMetric] = []
    async with asyncio.timeout(20):
        while True:
            seen.append(await provider.fetch(job_id, cursor))
            cursor = json.loads(json.dumps(seen[-1].cursor))
            metrics += seen[-1].metrics
            if seen[-1].state in ("succeeded", "failed", "cancelled"):
                return seen, metrics
            await asyncio.sleep(0.05)


async def test_a_job_from_probe_to_result(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    there.spec = JsonService("bedrock", "bedrock")
    account = await bedrock.probe()
    assert (account.key_ok, account.may_tune, account.account) == (
        True,
        True,
        f"{ACCOUNT}/us-east-1",
    )
    assert "Claude 3 Haiku is LEGACY, ends 10 September 2026" in account.words
    file = conversations()
    name = await bedrock.upload(file, quiet)
    assert await bedrock.upload(conversations(), quiet) == name
    assert there.buckets[_BUCKET].objects == {
        name.removeprefix(f"s3://{_BUCKET}/"): file.path.read_bytes()
    }
    # The bucket was not there at the first, and the file was at the third.
    assert there.count("PUT", f"{file.sha256}.jsonl") == 2
    wish = request(
        name,
        model=_NOVA,
        epochs=2,
        validation_file=name,
        options={"learning_rate": 1e-05, "nonsense": 1},
    )
    assert (await bedrock.estimate(wish)).usd is None
    made = await bedrock.create(wish)
    sent = next(asked for asked in there.requests if _create(asked))
    assert sent.json == bedrock.payload(wish)
    assert sent.json["hyperParameters"] == {"epochCount": "2", "learningRate": "0.00001"}
    found = await bedrock.find(wish.tag)
    assert found is not None
    assert (found.id, found.tag, found.model, found.state) == (made.id, wish.tag, _NOVA, "queued")
    assert [job.id for job in await bedrock.jobs()] == [made.id]
    seen, metrics = await _ended(bedrock, made.id)
    losses = [each.step for each in metrics if each.loss is not None]
    assert losses == list(range(40))
    assert sorted(each.step for each in metrics if each.valid_loss is not None) == [19, 39]
    events = [event.text for snapshot in seen for event in snapshot.events]
    assert len(events) == len(set(events))
    assert "training: Completed" in events and events[-1].startswith("training loss 0.9")
    last = seen[-1]
    assert (last.state, last.provider_state, last.step) == ("succeeded", "Completed", 39)
    assert {each.state for each in seen} >= {"running", "succeeded"}
    assert last.result_model.startswith(f"arn:aws:bedrock:us-east-1:{ACCOUNT}:custom-model/{_NOVA}")
    assert there.violations == []


async def test_a_lost_answer_and_a_second_create_never_make_a_second_job(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    wish = await _wish(bedrock, conversations())
    there.fail(Fault(_create, after=True, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await bedrock.create(wish)
    assert lost.value.sent
    assert sum(map(_create, there.requests)) == 1
    found = await bedrock.find(wish.tag)
    assert found is not None
    again = await bedrock.create(wish)
    # Also where the vendor has forgotten the token, and knows only the name.
    there.jobs[next(iter(there.jobs))].wish["clientRequestToken"] = "forgotten"
    assert (await bedrock.create(wish)).id == again.id == found.id
    assert len(there.jobs) == 1
    there.limit = 1
    with pytest.raises(ConcurrencyError) as full:
        await bedrock.create(request(wish.training_file, model=_NOVA, tag="k3f-feed-1a2b"))
    assert not full.value.sent
    assert await bedrock.find("k3f-feed-1a2b") is None


async def test_a_silent_vendor_is_not_asked_twice(
    there: BedrockEmulator,
    bedrock: Bedrock,
    conversations: Maker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wish = await _wish(bedrock, conversations())
    monkeypatch.setattr("waltzrl_tui.providers.bedrock.session._READ_SECONDS", 0.2)
    await bedrock.close()
    there.fail(Fault(_create, stall=1.0))
    with pytest.raises(UnavailableError) as silent:
        await bedrock.create(wish)
    assert silent.value.sent and "in time" in silent.value.message
    assert sum(map(_create, there.requests)) == 1


@pytest.mark.parametrize(
    ("status", "code", "words", "kind"),
    [
        (403, "AccessDeniedException", DENIED, AuthError),
        (403, "UnrecognizedClientException", "The security token is invalid.", AuthError),
        (403, "AccessDeniedException", "INVALID_PAYMENT_INSTRUMENT: add one", QuotaError),
        (400, "ServiceQuotaExceededException", MODELS_FULL, QuotaError),
        (400, "ServiceQuotaExceededException", IN_PROGRESS, ConcurrencyError),
        (429, "ThrottlingException", "Rate exceeds the service quota", RateLimitError),
        (400, "ValidationException", "epochCount must be at most 5", InvalidRequestError),
        (404, "ResourceNotFoundException", "Could not find the model.", InvalidRequestError),
        (404, "ResourceNotFoundException", "It has reached the end of its life", ClosedError),
        (500, "InternalServerException", "An internal error", UnavailableError),
    ],
)
async def test_refusals_keep_the_vendors_words(
    there: BedrockEmulator,
    bedrock: Bedrock,
    conversations: Maker,
    status: int,
    code: str,
    words: str,
    kind: type[ProviderError],
) -> None:
    wish = await _wish(bedrock, conversations())
    headers = {"Retry-After": "7", "x-amzn-ErrorType": code}
    there.fail(Fault(_create, Answer(status, {"message": f"{words} {there.key}"}, headers)))
    with pytest.raises(kind) as caught:
        await bedrock.create(wish)
    assert type(caught.value) is kind
    assert words in caught.value.words
    assert caught.value.sent == (status == 500)
    if kind is RateLimitError:
        assert caught.value.retry_after == 7
    shown = f"{caught.value} {caught.value.words} {caught.value.hint}"
    assert there.key not in shown and _SECRET not in shown
    assert sum(map(_create, there.requests)) == 1


async def test_a_vendor_that_is_not_there_was_sent_nothing(context: ProviderContext) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError) as gone:
            await Bedrock(replace(context, url=url)).create(request("s3://b/f", model=_NOVA))
    assert not gone.value.sent


async def test_what_the_account_may_not_is_said_before_anything_is_sent(
    there: BedrockEmulator, context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.denied = ["foundation-models"]
    account = await Bedrock(context).probe()
    assert (account.key_ok, account.may_tune, account.words) == (True, False, DENIED)
    there.denied = []
    account = await BedrockLlama(context).probe()
    assert account.may_tune and "us-west-2" in account.words
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    account = await BedrockLlama(context).probe()
    assert not account.may_tune
    assert "WALTZRL_BEDROCK_LLAMA_REGION=us-west-2" in account.words
    monkeypatch.setenv("WALTZRL_BEDROCK_LLAMA_REGION", "us-west-2")
    there.key = "AKIAANOTHER"
    with pytest.raises(AuthError) as revoked:
        await Bedrock(context).probe()
    assert "security token" in revoked.value.words


async def test_what_is_missing_is_named_with_what_to_set(
    there: BedrockEmulator, context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for keys, missing in (
        ({}, "AWS_PROFILE"),
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody"}, "AWS_PROFILE"),
    ):
        with pytest.raises(AuthError) as error:
            nobody = ProviderContext(
                lambda name, keys=keys: keys.get(name, ""), there.url, context.cache
            )
            await Bedrock(nobody).probe()
        assert missing in f"{error.value.message} {error.value.hint}"
    monkeypatch.setenv("WALTZRL_BEDROCK_ROLE_ARN", "waltzrl-bedrock")
    with pytest.raises(InvalidRequestError) as no_role:
        await Bedrock(context).create(request("s3://b/f", model=_NOVA))
    assert "WALTZRL_BEDROCK_ROLE_ARN" in no_role.value.hint
    monkeypatch.delenv("WALTZRL_BEDROCK_ROLE_ARN")
    assert "WALTZRL_BEDROCK_ROLE_ARN" in (await Bedrock(context).probe()).words
    wish = request("s3://b/f", model=_NOVA, options={"role_arn": ROLE})
    assert Bedrock(context).payload(wish)["roleArn"] == ROLE
    assert not any(map(_create, there.requests))


async def test_a_bedrock_key_alone_opens_no_storage(
    context: ProviderContext, conversations: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-0123456789")
    bare = Bedrock(ProviderContext(lambda _: "", context.url, context.cache))
    with pytest.raises(AuthError) as closed:
        await bare.upload(conversations(), quiet)
    assert "S3" in closed.value.message and "AWS_PROFILE" in closed.value.hint


async def test_files_go_to_no_bucket_of_a_stranger(
    there: BedrockEmulator, context: ProviderContext, conversations: Maker, monkeypatch: Any
) -> None:
    there.buckets[_BUCKET] = Bucket(owner="999999999999")
    with pytest.raises(AuthError):
        await Bedrock(context).upload(conversations(), quiet)
    assert there.buckets[_BUCKET].objects == {}
    monkeypatch.setenv("WALTZRL_BEDROCK_BUCKET", "mine")
    with pytest.raises(InvalidRequestError) as absent:
        await Bedrock(context).upload(conversations(), quiet)
    assert "WALTZRL_BEDROCK_BUCKET" in absent.value.hint
    there.buckets["mine"] = Bucket()
    assert (await Bedrock(context).upload(conversations(), quiet)).startswith("s3://mine/waltzrl/")


async def test_a_file_that_breaks_off_or_changes_is_not_taken_for_whole(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    there.buckets[_BUCKET] = Bucket()
    file = conversations(rows=4000)
    there.fail(Fault(on("PUT", file.sha256), read=100))
    with pytest.raises(UnavailableError) as broken:
        await bedrock.upload(file, quiet)
    assert broken.value.sent
    content = file.path.read_bytes()
    file.path.write_bytes(content.replace(b"kill", b"list"))
    with pytest.raises(InvalidRequestError) as changed:
        await bedrock.upload(file, quiet)
    assert "SHA256" in changed.value.words
    file.path.write_bytes(content)
    told: list[int] = []

    async def progress(sent: int, whole: int) -> None:
        told.append(sent)

    name = await bedrock.upload(file, progress)
    # Read once, as it is sent.
    assert told == sorted(told) and told[0] < told[-1] == file.bytes
    assert list(there.buckets[_BUCKET].objects.values()) == [content]
    assert name.endswith(f"{file.sha256}.jsonl")


async def test_rows_that_the_vendor_refuses_fail_the_job_with_its_words(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    made = await bedrock.create(await _wish(bedrock, conversations(reply=" ")))
    seen, metrics = await _ended(bedrock, made.id)
    assert (seen[-1].state, seen[-1].provider_state) == ("failed", "Failed")
    assert "line 1" in seen[-1].words
    assert seen[-1].events[-1].text == "validation of the data: Failed"
    assert metrics == []


async def test_unknown_words_nonsense_cancelled_and_deleted_jobs(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    made = await bedrock.create(await _wish(bedrock, conversations()))
    job = next(iter(there.jobs.values()))
    there.phases = False
    assert (await bedrock.fetch(made.id, {})).state == "running"
    job.word = "Rethinking"
    found = await bedrock.fetch(made.id, {})
    assert (found.state, found.provider_state) == ("unknown", "Rethinking")
    there.fail(
        Fault(on("GET", "/model-custom"), mangle=lambda content: content[: len(content) // 2])
    )
    with pytest.raises(UnavailableError):
        await bedrock.fetch(made.id, {})
    job.word = "Stopping"
    await bedrock.cancel(made.id)
    job.word = "InProgress"
    await bedrock.cancel(made.id)
    assert (await bedrock.fetch(made.id, {})).state == "cancelled"
    await bedrock.cancel(made.id)
    assert there.count("POST", "/stop") == 1
    there.jobs.clear()
    with pytest.raises(MissingError):
        await bedrock.fetch(made.id, {})
    assert await bedrock.find("k3f-conv-1a2b") is None


async def test_a_job_is_seen_where_its_losses_are_not(
    there: BedrockEmulator, bedrock: Bedrock, conversations: Maker
) -> None:
    made = await bedrock.create(await _wish(bedrock, conversations()))
    next(iter(there.jobs.values())).word = "InProgress"
    there.denied = ["s3"]
    async with asyncio.timeout(10):
        while (found := await bedrock.fetch(made.id, {})).state == "queued":
            await asyncio.sleep(0.05)
    assert found.events[-1].level == "warning" and "Access Denied" in found.events[-1].text
    assert not (await bedrock.fetch(made.id, found.cursor)).metrics
    there.denied = []
    there.fail(Fault(lambda asked: asked.path == f"/{_BUCKET}", Answer(503, raw=b"")))
    assert (await bedrock.fetch(made.id, {})).state == "running"
    # Once it has ended nobody asks again, so its last losses are waited for.
    next(iter(there.jobs.values())).word = "Completed"
    there.fail(Fault(lambda asked: asked.path == f"/{_BUCKET}", Answer(503, raw=b"")))
    with pytest.raises(UnavailableError):
        await bedrock.fetch(made.id, {})
    assert (await bedrock.fetch(made.id, {})).state == "succeeded"


def test_rows_of_losses_that_are_none_are_left_out() -> None:
    content = (
        "step_number,epoch_number,training_loss\n1,0,0.5\n0,0,0.9\n2,0,NaN\nx,0,1\n3\n4,,0.25\n"
    )
    assert rows_of(content, "training_loss") == [(0, 0.9, 0.0), (1, 0.5, 0.0), (4, 0.25, None)]
    assert rows_of("<html>", "training_loss") == []


async def test_a_deployment_comes_up_once_is_found_and_goes_down(
    there: BedrockEmulator, bedrock: Bedrock
) -> None:
    there.spec = JsonService("bedrock", "bedrock")
    there.page = 1
    tag = "my_agent-1127220101"
    there.fail(Fault(on("POST", "custom-model-deployments"), after=True, drop=True))
    with pytest.raises(UnavailableError) as lost:
        await bedrock.deploy(_MODEL, _NOVA, tag)
    assert lost.value.sent
    up = await bedrock.deploy(_MODEL, _NOVA, tag)
    there.deployments[next(iter(there.deployments))].wish["clientRequestToken"] = "forgotten"
    assert (await bedrock.deploy(_MODEL, _NOVA, tag)).id == up.id
    assert (up.state, up.usd_per_hour) == ("starting", 0.0)
    async with asyncio.timeout(10):
        while (ready := await bedrock.deployment(up.id)).state != "ready":
            await asyncio.sleep(0.03)
    assert ready.model == up.id
    client = await bedrock._aws.client("bedrock")
    await asyncio.to_thread(
        client.create_custom_model_deployment, modelDeploymentName="theirs", modelArn=_MODEL
    )
    there.provisioned["bought"] = _MODEL
    found = await bedrock.deployments()
    assert [each.tag for each in found] == [tag, "", ""]
    assert "billed by the hour" in found[2].words and found[2].usd_per_hour is None
    await bedrock.undeploy(found[2].id)
    await bedrock.undeploy(up.id)
    await bedrock.undeploy(up.id)
    with pytest.raises(MissingError):
        await bedrock.deployment(up.id)
    assert [each.id for each in await bedrock.deployments()] == [found[1].id]
    assert there.violations == []


async def test_a_deployment_that_never_gets_ready_is_taken_down(
    there: BedrockEmulator, bedrock: Bedrock
) -> None:
    there.never_ready, there.speed = True, 1e6
    up = await bedrock.deploy(_MODEL, _NOVA, "t-1")
    assert (await bedrock.deployment(up.id)).state == "starting"
    there.deployments[up.id.rpartition("/")[2]].word = "Pondering"
    found = await bedrock.deployment(up.id)
    assert (found.state, found.provider_state) == ("unknown", "Pondering")
    await bedrock.undeploy(up.id)
    assert there.deployments == {}
