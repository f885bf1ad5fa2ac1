from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest

from tests.support.cli import Cli
from waltzrl_tui.cli.remote import sent
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.store import NewJob, Store, now
from waltzrl_tui.store.rows import LOG, WAITS_TURN
from waltzrl_tui.workspace import Workspace

KEYS = {
    "id",
    "tag",
    "role",
    "provider",
    "model",
    "state",
    "provider_state",
    "provider_job_id",
    "estimate_usd",
    "cost_usd",
    "created_at",
    "updated_at",
    "error",
    "result_model",
    "agent",
}


@pytest.fixture
def launched(cli: Cli) -> Cli:
    """A launch `k3f` whose first job succeeded and whose second failed at step 3 of 9."""

    async def work(store: Store) -> None:
        await store.jobs.add_all(
            [
                NewJob("k3f-prep", "rollouts", "both", "m", state="running", total_steps=4),
                NewJob(
                    "k3f-conv",
                    "train",
                    "conversation",
                    "m",
                    state="running",
                    total_steps=9,
                    depends_on=("k3f-prep",),
                ),
            ]
        )
        await store.jobs.move("k3f-prep", "succeeded")
        for step in (1, 2, 3):
            values = {"loss": 2.0 / step, "tokens_per_second": 150.0, "eta_seconds": 5.0}
            await store.jobs.metric("k3f-conv", Metric(step, values, now()))
        await store.jobs.event("k3f-conv", "\x1b[2Jdisk full", "error")
        await store.jobs.move("k3f-conv", "failed", error="The disk is \x1b[2Jfull.")

    cli.store(work)
    return cli


def test_documents_of_list_and_show(launched: Cli) -> None:
    jobs = launched("jobs", "list", "--json").document["jobs"]
    assert [job["id"] for job in jobs] == ["k3f-conv", "k3f-prep"]
    assert all(job.keys() >= KEYS for job in jobs)

    shown = launched("jobs", "show", "k3f-conv", "--json").document
    assert [job["id"] for job in shown["jobs"]] == ["k3f-conv"]
    assert [event["level"] for event in shown["events"]] == ["error"]
    assert [(metric["step"], metric["loss"]) for metric in shown["metrics"]] == [
        (1, 2.0),
        (2, 1.0),
        (3, 2.0 / 3),
    ]
    for arguments in (["list"], ["show", "k3f"]):
        text = launched("jobs", *arguments).out
        assert "3/9" in text
        assert "\x1b" not in text


def test_a_launch_is_named_by_its_prefix(launched: Cli) -> None:
    shown = launched("jobs", "show", "k3f", "--json").document
    assert [job["id"] for job in shown["jobs"]] == ["k3f-prep", "k3f-conv"]
    wrong = launched("jobs", "show", "k3f-cnov")
    assert (wrong.code, "Did you mean k3f-conv" in wrong.err) == (1, True)
    # A prefix of the prefix is no launch.
    assert launched("jobs", "show", "k3").code == 1


def test_watching_what_failed_fails_and_says_how_to_go_on(launched: Cli) -> None:
    ended = launched("jobs", "watch", "k3f", "--json")
    assert ended.code == 1
    assert [job["state"] for job in ended.document["jobs"]] == ["succeeded", "failed"]
    assert "jobs resume k3f-conv" in ended.err
    assert "\x1b" not in ended.err
    assert launched("jobs", "watch", "k3f-prep").code == 0


def test_watch_follows_until_the_end(cli: Cli) -> None:
    async def begin(store: Store) -> None:
        await store.jobs.add_all([NewJob("abc-feed", "train", "feedback", "m", state="approved")])
        await store.jobs.event("abc-feed", "half way")

    cli.store(begin)
    process = cli.start("jobs", "watch", "--json")
    assert process.stderr is not None
    assert "half way" in process.stderr.readline()

    async def finish(store: Store) -> None:
        await store.jobs.move("abc-feed", "succeeded", agent="mine")

    cli.store(finish)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(out)["jobs"][0]["agent"] == "mine"
    assert "succeeded" in err


def test_cancel_then_resume(launched: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    async def pretend(_workspace: object, job_id: str) -> None:
        started.append(job_id)

    monkeypatch.setattr("waltzrl_tui.jobs.control.launch", pretend)
    # Of the launch only the job that stopped is resumed.
    resumed = launched("jobs", "resume", "k3f", "--json")
    assert (resumed.code, started) == (0, ["k3f-conv"])
    assert [job["state"] for job in resumed.document["jobs"]] == ["queued"]
    cancelled = launched("jobs", "cancel", "k3f", "--json")
    assert [(job["id"], job["state"]) for job in cancelled.document["jobs"]] == [
        ("k3f-conv", "cancelled")
    ]
    assert launched("jobs", "cancel", "k3f").code == 2
    again = launched("jobs", "retry", "k3f-conv", "--json").document["jobs"][0]
    assert (again["role"], started[-1]) == ("conversation", again["id"])
    assert again["id"] != "k3f-conv"


def test_logs_are_the_last_lines_made_harmless(launched: Cli) -> None:
    folder = launched.home / "state" / "jobs" / "k3f-conv"
    folder.mkdir(parents=True)
    (folder / "worker.log").write_bytes(b"one\ntwo\n\xff\x1b[31mthree\n")
    ended = launched("jobs", "logs", "k3f-conv", "-n", "2", "--json")
    assert ended.document["path"] == str(folder / "worker.log")
    assert [line[-3:] for line in ended.document["lines"]] == ["two", "ree"]
    assert launched("jobs", "logs", "k3f-prep").code == 0
    assert stat.S_IMODE((launched.home / "state").stat().st_mode) == 0o700


def _remote_job(id: str, *, reason: str) -> NewJob:
    return NewJob(
        id,
        "train",
        "conversation",
        "m",
        provider="together",
        state="approved",
        reason=reason,
    )


def test_logs_of_a_providers_job_are_its_log_lines_alone(cli: Cli) -> None:
    async def log(store: Store) -> None:
        await store.jobs.add_all([_remote_job("abc-conv", reason="")])
        await store.jobs.event("abc-conv", "the log: says nothing")
        await store.jobs.event("abc-conv", f"{LOG}step 1")

    cli.store(log)
    assert cli("jobs", "logs", "abc-conv", "--json").document["lines"] == ["step 1"]


async def test_nobody_waits_for_the_launch_of_a_job_that_waits_its_turn(
    workspace: Workspace,
) -> None:
    async with await Store.open(workspace) as store:
        reason = f"{WAITS_TURN}: Together takes 1 at once"
        await store.jobs.add_all([_remote_job("abc-conv", reason=reason)])
        [job] = await asyncio.wait_for(sent(store, ["abc-conv"]), 30)
    assert job.waits_turn


def test_a_launch_prints_its_jobs_and_refuses_a_bad_dataset(
    cli: Cli, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    async def pretend(_workspace: object, job_id: str) -> None:
        started.append(job_id)

    monkeypatch.setattr("waltzrl_tui.training.launch.launch_worker", pretend)
    monkeypatch.setattr("waltzrl_tui.training.launch.require", lambda: None)
    ended = cli(
        "train",
        dataset,
        "--provider",
        "local",
        "--role",
        "feedback",
        "-n",
        "10",
        "--name",
        "mine",
        "--yes",
        "--budget",
        "0",
        "--json",
    )
    assert ended.code == 0
    jobs = ended.document["jobs"]
    assert [job["id"] for job in jobs] == started
    assert [job["role"] for job in jobs] == ["both", "feedback"]
    assert "jobs watch" in ended.err

    dataset.write_text("{}\n")
    assert cli("train", dataset).code == 1
    assert len(started) == 2
