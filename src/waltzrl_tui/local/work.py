"""The work of a worker: make the training files, or train one agent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import psutil

from waltzrl_tui.errors import UsageError
from waltzrl_tui.local.optional_deps import TRAINING, require
from waltzrl_tui.local.params import PairNames, PrepareParams, TrainParams
from waltzrl_tui.local.prepare import Rollouts, read_rows, render, wanted_rollouts
from waltzrl_tui.local.serving import EmbeddedEndpoint, Servers
from waltzrl_tui.local.weights import find_weights
from waltzrl_tui.records.jobs import Level
from waltzrl_tui.records.metrics import Metric
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store import JobRow, Store
from waltzrl_tui.store.rows import Split, now
from waltzrl_tui.training_data.rendering import feedback_writers
from waltzrl_tui.training_data.teacher import Teacher, teach
from waltzrl_tui.training_data.teacher_text import PROMPT_VERSION
from waltzrl_tui.training_data.training_file import TrainingRow, read_training, write_training
from waltzrl_tui.waltz.prompts import DEFAULT_CONVERSATION
from waltzrl_tui.words import plural
from waltzrl_tui.workspace import Workspace

T = TypeVar("T")


class Cancelled(Exception):
    """The work was stopped on request; its progress is kept."""


class Work:
    """One job at work, and the ways to stop it."""

    def __init__(self, store: Store, workspace: Workspace, job: JobRow) -> None:
        self.store = store
        self.workspace = workspace
        self.job = job
        self.stop = threading.Event()
        self.terminated = False
        self._task = asyncio.current_task()

    @property
    def folder(self) -> Path:
        return self.workspace.job_dir(self.job.id)

    def cancel(self) -> None:
        """Stop at the next point that loses nothing."""
        self.stop.set()

    def terminate(self) -> None:
        """Stop on a signal: the job was not cancelled and can be resumed."""
        self.terminated = True
        self.stop.set()

    def check(self) -> None:
        """Raises Cancelled once the work has been stopped."""
        if self.stop.is_set():
            raise Cancelled

    async def event(self, text: str, level: Level = "info") -> None:
        await self.store.jobs.event(self.job.id, text, level)

    async def set_reason(self, reason: str) -> None:
        """Show the current activity of the job."""
        await self.store.jobs.update(self.job.id, reason=reason)


async def prepare_files(work: Work) -> None:
    """Roll out the base on the sampled prompts, then render all files of the launch.

    Raises:
        Cancelled: On request; finished rollouts are kept.
        WaltzError: Weights, rows or the server failed.
    """
    params = PrepareParams.from_json(work.job.params)
    train = await asyncio.to_thread(read_rows, Path(params.train_rows))
    valid = await asyncio.to_thread(read_rows, Path(params.valid_rows))
    prompts = wanted_rollouts([*train, *valid], params.judged)
    rollouts = Rollouts(work.folder / "rollouts.jsonl")
    left = len(set(prompts) - set(rollouts.replies))
    await work.store.jobs.update(work.job.id, total_steps=len(set(prompts)))
    if left:
        await work.set_reason("loading the weights")
        weights = await asyncio.to_thread(find_weights, work.workspace, work.job.model)
        await work.event(
            f"weights from {weights.origin}; {plural(left, 'base reply', 'base replies')} to sample"
        )
        await _sample(work, weights.servable(), rollouts, prompts, params.rollout_tokens)
    await work.set_reason("rendering")
    for role in params.roles:
        splits: list[tuple[Split, Any]] = [("train", train), ("valid", valid)]
        for split, rows in splits:
            if rows:
                await _render(work, params, role, split, rows, rollouts.replies)
    if await work.store.jobs.move(work.job.id, "succeeded", from_states={"running"}, reason=""):
        await work.event("training files are ready")


async def _sample(
    work: Work, gguf: Path, rollouts: Rollouts, prompts: Sequence[str], max_tokens: int
) -> None:
    servers = Servers(streaming=False)
    written = 0

    async def record_progress(count: int) -> None:
        nonlocal written
        if count - written >= 4 or count == len(prompts):
            written = count
            await work.store.jobs.update(
                work.job.id, step=count, reason=f"sampling replies {count}/{len(prompts)}"
            )

    async def sampling() -> None:
        await rollouts.sample(
            EmbeddedEndpoint(servers, gguf, None),
            prompts,
            prompt_version=DEFAULT_CONVERSATION,
            max_tokens=max_tokens,
            on_progress=record_progress,
        )

    try:
        await _unless_stopped(work, sampling())
    except* Exception as group:
        raise group.exceptions[0] from None
    finally:
        await servers.close()
    await work.store.jobs.update(work.job.id, step=len(set(prompts)))


async def _unless_stopped(work: Work, coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of `coroutine`, which is cancelled when the work is stopped.

    Raises:
        Cancelled: The work was stopped.
    """
    task = asyncio.create_task(coroutine)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.2)
            work.check()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _render(
    work: Work,
    params: PrepareParams,
    role: Role,
    split: Split,
    rows: Sequence[Any],
    replies: dict[str, str],
) -> None:
    path = work.folder / f"{role}-{split}.jsonl"
    recorded = await _recorded(work, path)
    if recorded and await asyncio.to_thread(path.exists):
        return  # a resumed job keeps the file whose hash is in the store
    rendered, counts = await asyncio.to_thread(
        render,
        role,
        rows,
        replies,
        prompt_version=params.prompts[role],
        revisions=params.revisions,
        refusals_within=params.refusals_within,
        judged=params.judged,
    )
    recipe = {"counts": counts, "prompt": params.prompts[role], "job": work.job.id}
    if role == "feedback":
        if teacher := params.teacher:
            rendered = await _write_feedback(work, rendered, teacher)
            recipe["teacher"] = {"model": teacher.model, "prompt": PROMPT_VERSION}
        recipe["feedback_by"] = feedback_writers(rendered)
    file = await asyncio.to_thread(write_training, path, rendered)
    if work.job.sample_id is not None and not recorded:
        await work.store.samples.add_file(
            work.job.sample_id,
            role=role,
            split=split,
            path=file.path,
            rows=file.rows,
            tokens=file.tokens,
            sha256=file.sha256,
            recipe=recipe,
        )
    parts = ", ".join(f"{number} {name}" for name, number in counts.items())
    await work.event(f"{role} {split}: {plural(file.rows, 'row')} ({parts})")


async def _recorded(work: Work, path: Path) -> bool:
    if work.job.sample_id is None:
        return False
    files = await work.store.samples.files(work.job.sample_id)
    return str(path) in {file.path for file in files}


async def _write_feedback(
    work: Work, rows: list[TrainingRow], teacher: Teacher
) -> list[TrainingRow]:
    """Have the teacher write the feedback within its remaining budget."""
    # Spent on this job's earlier files, and by a worker that was killed.
    spent = (await work.store.jobs.get(work.job.id)).cost_usd
    left = replace(teacher, budget_usd=max(0.0, teacher.budget_usd - spent))

    async def record_cost(done: int, whole: int, usd: float) -> None:
        await work.store.jobs.update(
            work.job.id,
            cost_usd=spent + usd,
            reason=f"the teacher is writing feedback {done}/{whole}",
        )

    cache = work.workspace.cache / "teacher"
    teaching = teach(rows, left, cache, on_answer=record_cost)
    written, report = await _unless_stopped(work, teaching)
    await work.event(report.words, "warning" if report.stopped else "info")
    return written


async def train_agent(work: Work) -> None:
    """Train one agent on the files of its launch, add it and, once both exist, the pair.

    Raises:
        Cancelled: On request; the last checkpoint is kept.
        WaltzError: Weights, rows, memory or disk failed.
    """
    require(TRAINING)
    job, store = work.job, work.store
    params = TrainParams.from_json(job.params)
    await work.set_reason("loading the weights")
    weights = await asyncio.to_thread(find_weights, work.workspace, job.model)
    work.check()
    await work.event(f"weights from {weights.origin}")
    adapter = await _train(work, params, weights.source)
    name = params.agent
    async with store.transaction():
        if not await store.jobs.move(
            job.id,
            "succeeded",
            from_states={"running"},
            reason="",
            result_model=str(adapter),
            agent=name,
            eta_seconds=0.0,
        ):
            return
        await store.agents.add(
            name,
            role=cast("Role", job.role),
            kind="embedded",
            base=job.model,
            adapter=str(adapter),
            prompt=params.prompt,
            job_id=job.id,
        )
        await work.event(f"agent {name} is ready")
        await _add_pair(work, params.pair)


async def _add_pair(work: Work, pair: PairNames) -> None:
    """Add the pair, in whichever of its two jobs ends last."""
    agents = work.store.agents
    if not {pair.conversation, pair.feedback} <= {agent.name for agent in await agents.list()}:
        return
    try:
        await agents.add_pair(pair.name, conversation=pair.conversation, feedback=pair.feedback)
    except UsageError:
        return  # the job was resumed and the pair exists
    await work.event(f"pair {pair.name} is ready")


async def _train(work: Work, params: TrainParams, source: str) -> Path:
    # torch takes seconds to import; the trainer's module does not import it until it runs.
    from waltzrl_tui.local.training import Note, Trainer, TrainingStep

    loop = asyncio.get_running_loop()
    reports: asyncio.Queue[Note | TrainingStep] = asyncio.Queue()

    def report(event: Note | TrainingStep) -> None:
        loop.call_soon_threadsafe(reports.put_nowait, event)

    trainer = Trainer(
        source,
        work.folder,
        await asyncio.to_thread(read_training, Path(params.train_file)),
        await asyncio.to_thread(_read_valid, params.valid_file),
        params.settings,
        report=report,
        stop=work.stop,
        threads=training_threads(),
    )
    training = asyncio.create_task(asyncio.to_thread(trainer.run))
    while not training.done() or not reports.empty():
        coming = asyncio.create_task(reports.get())
        await asyncio.wait({training, coming}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            # The thread's last report may still be on its way into the queue.
            await asyncio.sleep(0)
            if not coming.done():
                coming.cancel()
                continue
        await _record(work, coming.result())
    adapter = training.result()
    if adapter is None:
        raise Cancelled
    return adapter


async def _record(work: Work, report: Any) -> None:
    from waltzrl_tui.local.training import Note

    if isinstance(report, Note):
        await work.event(report.text, cast("Level", report.level))
        return
    if report.step == 1 or work.job.total_steps != report.total_steps:
        await work.store.jobs.update(work.job.id, total_steps=report.total_steps, reason="training")
        work.job = await work.store.jobs.get(work.job.id)
    await work.store.jobs.metric(work.job.id, Metric(report.step, report.values, now()))


def _read_valid(path: str) -> list[Any]:
    return read_training(Path(path)) if path and Path(path).exists() else []


def training_threads() -> int:
    """Threads of one training: all physical cores up to two, otherwise all but one."""
    cores = psutil.cpu_count(logical=False) or 1
    return cores if cores <= 2 else cores - 1
