"""Hugging Face Jobs through huggingface_hub, against its wire on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import fields
from io import BytesIO
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tests.support.emulators.core import Answer, Fault, Request, on
from tests.support.emulators.huggingface import (
    BUSY,
    HARDWARE,
    NO_CREDIT,
    HubJob,
    HuggingFaceEmulator,
)
from tests.support.providers import quiet, request
from waltzrl_tui.local.recipe import TrainingSettings
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
from waltzrl_tui.providers.huggingface.jobs import SETTINGS
from waltzrl_tui.providers.huggingface.provider import HuggingFace
from waltzrl_tui.providers.protocol import JobSnapshot, ProviderContext, TrainingUpload
from waltzrl_tui.providers.worker_code import worker_code

ContextFor = Callable[[str, str], ProviderContext]
_FILES = ("datasets", "ada/waltzrl-tui")


@pytest.fixture
def there() -> Iterator[HuggingFaceEmulator]:
    with HuggingFaceEmulator(speed=300.0) as emulator:
        yield emulator


@pytest.fixture
async def hub(there: HuggingFaceEmulator, context_for: ContextFor) -> AsyncIterator[HuggingFace]:
    provider = HuggingFace(context_for(there.key, there.url))
    yield provider
    await provider.close()


def _starts(there: HuggingFaceEmulator) -> list[Request]:
    return [
        asked
        for asked in there.requests
        if asked.method == "POST" and asked.path == "/api/jobs/ada"
    ]


async def _ended(provider: HuggingFace, job_id: str) -> tuple[JobSnapshot, list[Any]]:
    """The last snapshot of a job, and all metrics, events and log lines that came until then."""
    cursor: dict[str, object] = {}
    came: list[Any] = []
    async with asyncio.timeout(20):
        while True:
            found = await provider.fetch(job_id, cursor)
            # As the store keeps it.
            cursor = json.loads(json.dumps(dict(found.cursor)))
            came += [*found.metrics, *found.events, *found.log]
            if found.state in ("succeeded", "failed", "cancelled"):
                return found, came
            await asyncio.sleep(0.05)


async def test_a_job_from_probe_to_adapter(
    there: HuggingFaceEmulator,
    hub: HuggingFace,
    upload: Callable[..., TrainingUpload],
    tmp_path: Path,
) -> None:
    account = await hub.probe()
    assert (account.key_ok, account.may_tune, account.account) == (True, True, "ada")
    assert "canPay: true" in account.words
    sent = upload(rows=40)
    told: list[int] = []

    async def progress(done: int, whole: int) -> None:
        told.append(done)

    file_id = await hub.upload(sent, progress)
    assert await hub.upload(sent, quiet) == file_id
    assert there.count("POST", "/commit/") == 1
    assert told == [0, sent.bytes]
    assert there.repos[_FILES].private
    assert there.repos[_FILES].files == {file_id: sent.path.read_bytes()}
    wish = request(
        file_id,
        model="Qwen/Qwen3-1.7B",
        options={"learning_rate": 2e-4, "flavor": "a10g-small"},
        seconds=1200.0,
        timeout_s=2700.0,
    )
    estimate = await hub.estimate(wish)
    assert estimate.usd == pytest.approx(HARDWARE["a10g-small"] * 20)
    assert "45 min" in estimate.words
    assert await hub.find(wish.tag) is None
    made = await hub.create(wish)
    found = await hub.find(wish.tag)
    assert found is not None
    assert (found.id, found.tag, found.model) == (made.id, wish.tag, wish.model)

    (posted,) = _starts(there)
    assert posted.json == hub.payload(wish) | {"secrets": {"HF_TOKEN": there.key}}
    assert posted.json["timeoutSeconds"] == 2700
    assert there.key not in json.dumps(hub.payload(wish))
    name, content = worker_code()
    assert there.repos[_FILES].files[name] == content
    names = zipfile.ZipFile(BytesIO(content)).namelist()
    assert "waltzrl_tui/local/remote_worker.py" in names
    assert not [each for each in names if "/tui/" in each or "/cli/" in each]

    last, came = await _ended(hub, made.id)
    assert last.state == "succeeded"
    steps = [each.step for each in came if hasattr(each, "step")]
    assert steps == list(range(1, 21))
    assert (last.step, last.total_steps, last.fraction, last.tokens) == (20, 20, 1.0, 900)
    assert came.count("Installed 57 packages in 9.31s") == 1
    assert [each.text for each in came if hasattr(each, "level")][-1].startswith("the adapter is")
    assert last.cost_usd == pytest.approx(HARDWARE["a10g-small"] * 200 / 60)
    assert last.result_model == "ada/waltzrl-k3f-conv-1a2b"
    folder = await hub.collect(last.result_model, tmp_path / "adapter")
    assert {"adapter_config.json", "adapter_model.safetensors", "adapter.gguf"} <= {
        path.name for path in folder.iterdir()
    }
    assert (await hub.jobs())[0].id == made.id
    assert there.count("GET", "whoami") < 4
    assert there.keys == {f"Bearer {there.key}"}


async def test_a_lost_answer_is_found_by_its_tag(
    there: HuggingFaceEmulator, hub: HuggingFace, upload: Callable[..., TrainingUpload]
) -> None:
    there.page = 2
    wish = request(await hub.upload(upload(), quiet))
    for after in (False, True):
        there.fail(Fault(on("POST", "/api/jobs/ada"), after=after, drop=True))
        with pytest.raises(UnavailableError) as lost:
            await hub.create(wish)
        assert lost.value.sent
        assert (await hub.find(wish.tag) is not None) == after
    assert len(_starts(there)) == len(there.jobs) + 1 == 2
    other = {**next(iter(there.jobs.values())).wish, "labels": {"name": "another"}}
    for number in range(7):
        there.jobs[f"{number:024}"] = HubJob(f"{number:024}", other, there.now())
    for there.narrows in (True, False):
        found = await hub.find(wish.tag)
        assert found is not None and found.tag == wish.tag
    assert there.count("GET", "/api/jobs/ada") == 2 + 1 + 4


@pytest.mark.parametrize(
    ("status", "words", "kind"),
    [
        (401, "Invalid username or password.", AuthError),
        (402, NO_CREDIT, QuotaError),
        (403, "You don't have the required permissions to start Jobs", AuthError),
        (404, "Docker image not found", MissingError),
        (429, BUSY, ConcurrencyError),
        (429, "We had to rate limit you", RateLimitError),
        (400, "Invalid flavor", InvalidRequestError),
        (503, "Service unavailable", UnavailableError),
    ],
)
async def test_errors_keep_the_vendors_words(
    there: HuggingFaceEmulator,
    hub: HuggingFace,
    upload: Callable[..., TrainingUpload],
    status: int,
    words: str,
    kind: type[ProviderError],
) -> None:
    wish = request(await hub.upload(upload(), quiet))
    answer = Answer(status, {"error": words}, headers={"Retry-After": "7"})
    there.fail(Fault(on("POST", "/api/jobs/ada"), answer))
    with pytest.raises(kind) as caught:
        await hub.create(wish)
    error = caught.value
    assert words in error.words
    assert (error.retry_after, error.sent) == (7, status == 503)
    assert there.key not in f"{error} {error.words} {error.hint}"
    assert len(_starts(there)) == 1


async def test_a_limit_of_reads_is_told_at_once_and_not_waited_for(
    there: HuggingFaceEmulator, hub: HuggingFace
) -> None:
    there.fail(
        Fault(on("GET", "/api/jobs/ada"), Answer(429, headers={"RateLimit": '"api";r=0;t=600'}))
    )
    with pytest.raises(RateLimitError) as limited:
        await hub.find("k3f-conv-1a2b")
    assert limited.value.retry_after == 600
    assert there.count("GET", "/api/jobs/ada") == 1


async def test_unknown_words_nonsense_failed_cancelled_and_deleted_jobs(
    there: HuggingFaceEmulator, hub: HuggingFace, upload: Callable[..., TrainingUpload]
) -> None:
    made = await hub.create(request(await hub.upload(upload(), quiet)))
    job = there.jobs[made.id]
    job.word = "THAWING"
    found = await hub.fetch(made.id, {})
    assert (found.state, found.provider_state) == ("unknown", "THAWING")
    for mangle in (
        lambda content: content[: len(content) // 2],
        lambda content: b'{"id": "x"}',
        lambda content: content.replace(b'"labels": {', b'"labels": [{').replace(
            b'}, "status"', b'}], "status"'
        ),
    ):
        there.fail(Fault(on("GET", made.id), mangle=mangle))
        with pytest.raises(UnavailableError):
            await hub.fetch(made.id, {})
    job.word = "RUNNING"
    job.log = [
        "@waltzrl {broken",
        '@waltzrl {"row": 1, "kind": "note", "text": "memory full", "level": "error"}',
    ]
    found = await hub.fetch(made.id, {})
    assert list(found.log) == ["@waltzrl {broken"]
    job.word = "ERROR"
    last = await hub.fetch(made.id, found.cursor)
    assert (last.state, last.words, list(last.log)) == ("failed", "memory full", [])
    there.kept = False
    assert (await hub.fetch(made.id, {})).state == "failed"
    job.word = "RUNNING"
    await hub.cancel(made.id)
    await hub.cancel(made.id)
    assert there.count("POST", "/cancel") == 1
    assert (await hub.fetch(made.id, {})).state == "cancelled"
    del there.jobs[made.id]
    with pytest.raises(MissingError):
        await hub.fetch(made.id, {})


async def test_a_log_is_read_on_from_where_it_was_left(
    there: HuggingFaceEmulator, hub: HuggingFace, upload: Callable[..., TrainingUpload]
) -> None:
    made = await hub.create(request(await hub.upload(upload(), quiet)))
    job = there.jobs[made.id]
    job.word, job.log = "RUNNING", ["pulling", "a warning"]

    def said(*numbers: int) -> list[str]:
        return [f'@waltzrl {{"row": {n}, "kind": "step", "step": {n}}}' for n in numbers]

    first = await hub.fetch(made.id, {})
    assert list(first.log) == ["pulling", "a warning"]
    job.log += ["a third", *said(1, 2), "a warning"]
    second = await hub.fetch(made.id, first.cursor)
    assert list(second.log) == ["a third", "a warning"]
    job.log += ["a warning", *said(*range(3, 1000)), "the end"]
    third = await hub.fetch(made.id, second.cursor)
    # More came than the last 500 lines: the whole log was asked for.
    assert [each.step for each in third.metrics] == list(range(3, 1000))
    assert list(third.log) == ["a warning", "the end"]
    again = await hub.fetch(made.id, third.cursor)
    assert (again.metrics, list(again.log)) == ([], [])
    # A log whose beginning the vendor dropped.
    job.log = ["noise", *said(1200, 1201)]
    assert [each.step for each in (await hub.fetch(made.id, third.cursor)).metrics] == [1200, 1201]


async def test_what_stands_in_the_way_is_told_before_anything_is_started(
    there: HuggingFaceEmulator, hub: HuggingFace, upload: Callable[..., TrainingUpload]
) -> None:
    there.who = {"isPro": False, "canPay": False}
    account = await hub.probe()
    assert account.may_tune is None
    assert "credit" in account.words
    there.role = "read"
    assert (await hub.probe()).may_tune is False
    there.role = "write"
    there.fail(Fault(on("GET", "/api/jobs/ada"), Answer(403, {"error": "Jobs are not enabled"})))
    account = await hub.probe()
    assert (account.key_ok, account.may_tune) == (True, False)
    assert "not enabled" in account.words
    there.key, known = "hf_another000000000000000000000", there.key
    with pytest.raises(AuthError):
        await hub.probe()
    there.key = known
    file_id = await hub.upload(upload(), quiet)
    with pytest.raises(InvalidRequestError, match="does not offer a machine"):
        await hub.estimate(request(file_id, machine="abacus"))
    with pytest.raises(InvalidRequestError, match="more than one GPU"):
        await hub.create(request(file_id, model="meta-llama/Llama-3.3-70B-Instruct"))
    with pytest.raises(InvalidRequestError, match="from the base"):
        await hub.create(request(file_id, from_model="ada/waltzrl-x"))
    there.repos[_FILES].private = False
    with pytest.raises(InvalidRequestError, match="public"):
        await hub.upload(upload(rows=3), quiet)
    assert _starts(there) == []


async def test_an_upload_that_breaks_is_sent_anew(
    there: HuggingFaceEmulator, hub: HuggingFace, upload: Callable[..., TrainingUpload]
) -> None:
    there.fail(Fault(on("POST", "/commit/"), read=100))
    with pytest.raises(UnavailableError) as broken:
        await hub.upload(upload(rows=9000), quiet)
    assert broken.value.sent
    file_id = await hub.upload(upload(rows=9000), quiet)
    assert set(there.repos[_FILES].files) == {file_id}


async def test_an_adapter_that_is_not_there_is_missing(
    there: HuggingFaceEmulator, hub: HuggingFace, tmp_path: Path
) -> None:
    with pytest.raises(MissingError):
        await hub.collect("ada/waltzrl-none", tmp_path / "none")
    await asyncio.to_thread(
        huggingface_hub.HfApi(there.url, token=there.key).create_repo, "ada/waltzrl-empty"
    )
    with pytest.raises(MissingError, match="does not hold an adapter"):
        await hub.collect("ada/waltzrl-empty", tmp_path / "empty")


def test_all_settings_that_a_request_may_change_are_the_trainers() -> None:
    assert set(SETTINGS) <= {field.name for field in fields(TrainingSettings)}


@pytest.mark.real
@pytest.mark.timeout(120)
async def test_the_worker_that_is_sent_trains_and_its_rows_and_adapter_come_home(
    there: HuggingFaceEmulator,
    hub: HuggingFace,
    upload: Callable[..., TrainingUpload],
    tmp_path: Path,
) -> None:
    file_id = await hub.upload(upload(rows=6), quiet)
    model = str(_tiny_model(tmp_path / "tiny"))
    there.adapter = {}
    wish = request(
        file_id,
        model=model,
        validation_file=file_id,
        epochs=2,
        machine="cpu-basic",
        options={"batch_rows": 2, "rank": 2},
    )
    made = await hub.create(wish)
    job = there.jobs[made.id]
    job.word = "RUNNING"
    # Of our packages it has only what was sent: without -S the checkout would be found too.
    python = [sys.executable, "-S", *job.wish["command"][-2:]]
    packages = str(Path(huggingface_hub.__file__).parents[1])
    surroundings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        **job.wish["environment"],
        **job.wish["secrets"],
        "HF_ENDPOINT": there.url,
        "HF_HOME": str(tmp_path / "machine"),
        "PYTHONPATH": packages,
        "CUDA_VISIBLE_DEVICES": "",
    }
    ran = await asyncio.to_thread(
        subprocess.run, python, env=surroundings, capture_output=True, text=True, timeout=100
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    job.log = ran.stdout.splitlines()
    found = await hub.fetch(made.id, {})
    assert list(found.log) == []
    assert (found.step, found.total_steps) == (6, 6)
    assert found.metrics[-1].valid_loss is not None
    assert found.tokens
    assert any("rows" in each.text and "LoRA r2" in each.text for each in found.events)
    assert any("tokens/s" in each.text for each in found.events)
    job.word = "COMPLETED"
    last = await hub.fetch(made.id, found.cursor)
    assert (last.state, last.metrics) == ("succeeded", [])
    assert there.repos["models", last.result_model].private
    adapter = await hub.collect(last.result_model, tmp_path / "adapter")
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 2
    assert (adapter / "adapter.gguf").read_bytes()[:4] == b"GGUF"
    assert there.key not in ran.stdout + ran.stderr


def _tiny_model(folder: Path) -> Path:
    """A Llama of two layers with random weights and a tokenizer of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(["How do I kill a process?"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>", model_max_length=512
    )
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}<end>{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}"
    )
    fast.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
