"""`evaluate`, and the evaluations of `run`."""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.evaluate_text import FIGURES, report_text, results_text
from waltzrl_tui.cli.layout import duration
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import EndpointError, UsageError, WaltzError
from waltzrl_tui.evaluation.agents_of_run import agents_of
from waltzrl_tui.evaluation.bill import bill
from waltzrl_tui.evaluation.caveats import reading
from waltzrl_tui.evaluation.items import Played
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.evaluation.run import Outcome, carry_out, load_prompts
from waltzrl_tui.evaluation.service import begin, load_results, lock_path, make_spec, record
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import Subject, baselines, subject_of
from waltzrl_tui.evaluation.suites import Suite, load_suite
from waltzrl_tui.jobs.locks import Lock, try_hold
from waltzrl_tui.local.live import BASE_PAIR, Engines, ensure_base
from waltzrl_tui.store import Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.evaluation_runs import Place, RunRow
from waltzrl_tui.text import one_line

__all__ = ["FIGURES", "Settings", "evaluate", "measure"]


@dataclass(frozen=True)
class Settings:
    """How prompts are run."""

    n: int | None = None
    seed: int = 0
    max_tokens: int = 256
    concurrency: int | None = None


async def evaluate(context: Context) -> int:
    """`evaluate --pair NAME …`, `evaluate --baselines PAIR`, `evaluate --run ID`."""
    args = context.args
    _check(args)
    async with context.store() as store:
        await ensure_base(store)
        if args.run is not None:
            run = await store.runs.get(args.run)
            spec = RunSpec.model_validate(run.spec)
            agents = await agents_of(store, spec.agents)
            await agree_to_keys(context, store, agents.values())
            if not args.yes:
                await _agree(context, store, spec, await asyncio.to_thread(load_prompts, spec))
        else:
            spec, suites = await _asked(context, store)
            agents = await agents_of(store, spec.agents)
            await agree_to_keys(context, store, agents.values())
            await _agree(context, store, spec, [suite.rows for suite in suites])
            run = await begin(store, spec)
        async with context.engines(bulk=True) as engines:
            results, documents = await _carried_out(context, store, engines, run)
    # The last subject is the one that the others are compared with.
    document = {**documents[len(results.spec.subjects) - 1], **results.to_json()}
    document["evaluations"] = documents
    document |= await asyncio.to_thread(_written, args, results)
    if len(documents) == 1:
        judge = results.spec.judges[0]
        words = report_text(document, reading(results.report(0, 0, judge)))
    else:
        words = results_text(results)
    context.out.result(document, words)
    return 0


async def measure(
    context: Context,
    store: Store,
    engines: Engines,
    pair: str,
    suite: Suite,
    settings: Settings,
) -> dict[str, Any]:
    """Evaluate a pair by the refusal detector, record it, and return the document of `evaluate`.

    An evaluation that was interrupted goes on where it stopped; of one that was finished before,
    the answers are kept.

    Raises:
        NotFoundError: There is no such pair.
        DatasetError: The prompts cannot be used, or items cannot be written.
        EndpointError: An agent failed. What was finished is kept.
        UsageError: The same evaluation is running in another process.
    """
    _tell_of_bad_lines(context, [suite])
    spec = await make_spec(
        store,
        [suite],
        [subject_of(await store.agents.get_pair(pair))],
        asked=settings.n,
        seed=settings.seed,
        max_tokens=settings.max_tokens,
        at_once=settings.concurrency,
    )
    run = await begin(store, spec)
    _, documents = await _carried_out(context, store, engines, run)
    return documents[0]


def _check(args: Namespace) -> None:
    chosen = [bool(args.pair), bool(args.baselines), args.run is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "What is to be evaluated is not said, or twice.",
            hint="Give --pair NAME (repeatable), or --baselines PAIR, or --run ID.",
        )
    told = (args.prompts, args.suite, args.n, args.judge, args.concurrency, args.limit, args.fresh)
    if args.run is not None and any(told):
        raise UsageError(
            "--run goes on with what its run was begun with; suites, judges and limits are given.",
            hint="Leave them out, or begin a new run: what is kept is not asked for again.",
        )
    if not args.baselines and (args.base or args.safeguard):
        raise UsageError("--base and --safeguard go with --baselines PAIR.")


async def _asked(context: Context, store: Store) -> tuple[RunSpec, list[Suite]]:
    """The run that the arguments ask for."""
    args = context.args
    for agent, price in args.price:
        await store.agents.get(agent)
        await store.answers.set_price(agent, Price(*price))
    paths = [*([args.prompts] if args.prompts else []), *args.suite] or [None]
    suites = [await asyncio.to_thread(load_suite, path, args.n, args.seed) for path in paths]
    _tell_of_bad_lines(context, suites)
    spec = await make_spec(
        store,
        suites,
        await _subjects(store, args),
        args.judge,
        asked=args.n,
        seed=args.seed,
        max_tokens=args.max_tokens,
        verdict_tokens=args.verdict_tokens,
        at_once=args.concurrency,
        limits=dict(args.limit),
        fresh=args.fresh,
    )
    return spec, suites


async def _subjects(store: Store, args: Namespace) -> list[Subject]:
    if not args.baselines:
        return [subject_of(await store.agents.get_pair(name)) for name in args.pair]
    pair = await store.agents.get_pair(args.baselines)
    base = await store.agents.get_pair(args.base or BASE_PAIR)
    talks = [await store.agents.get(each.conversation) for each in (pair, base)]
    if not args.base and talks[0].base != talks[1].base:
        raise UsageError(
            f"The pair {one_line(pair.name)} is made of {one_line(talks[0].base)}, which is not "
            f"what the pair {BASE_PAIR} is made of.",
            hint="Name the untrained pair of the same model: --base PAIR.",
        )
    if args.safeguard:
        await store.agents.get(args.safeguard)
    return baselines(pair, base, args.safeguard)


async def _agree(
    context: Context, store: Store, spec: RunSpec, rows: Sequence[Sequence[Row]]
) -> None:
    """Say what is left of the run costs, and go on with what costs only after a yes."""
    agents = await agents_of(store, spec.agents)
    made = await bill(store, spec, agents, rows)
    if not made.free:
        await agree(context, made.words())


async def _carried_out(
    context: Context, store: Store, engines: Engines, run: RunRow
) -> tuple[Results, list[dict[str, Any]]]:
    """Work on the run until it is done, and record it."""
    spec = RunSpec.model_validate(run.spec)
    lock = await _lock(context, run)
    with lock:
        results = await load_results(store, run)
        progress = _Progress(context, spec, results)
        try:
            outcome = await carry_out(store, run, engines, on_item=progress.item)
        except asyncio.CancelledError:
            context.out.say(
                f"Stopped at {progress.done} of {run.total} prompts. They are kept: the "
                f"same command goes on, and so does `waltzrl-tui evaluate --run {run.id}`."
            )
            raise
        _tell_of_end(context, run, outcome, progress.done)
        results = await load_results(store, await store.runs.get(run.id))
        documents = await record(store, context.workspace, results, results.run.seconds)
    return results, documents


def _tell_of_end(context: Context, run: RunRow, outcome: Outcome, done: int) -> None:
    if outcome.error is not None:
        error = outcome.error
        raise EndpointError(
            f"The evaluation stopped at {done} of {run.total} prompts: {error.message}",
            hint=f"{error.hint} The finished ones are kept: the same command goes on.".strip(),
        ) from error
    if outcome.stopped:
        raise WaltzError(
            f"The evaluation was stopped at {done} of {run.total} prompts.",
            hint=f"They are kept; go on: waltzrl-tui evaluate --run {run.id}",
        )
    if outcome.failed:
        subject, prompt, why = outcome.failed[0]
        context.out.say(
            f"{len(outcome.failed)} prompts failed twice and are left out; the first, of "
            f"{subject}: “{one_line(prompt, 60)}”: {why}"
        )


async def _lock(context: Context, run: RunRow) -> Lock:
    path = lock_path(context.workspace, run.id)
    await asyncio.to_thread(path.parent.mkdir, exist_ok=True)
    lock = await asyncio.to_thread(try_hold, path)
    if lock is None:
        raise UsageError(
            f"The evaluation run {run.id} is being worked on by another process.",
            hint="Wait for it: waltzrl-tui evaluations show " + str(run.id),
        )
    return lock


def _written(args: Namespace, results: Results) -> dict[str, str]:
    """Write the report and the CSV that were asked for."""
    from waltzrl_tui.evaluation.export import write_csv, write_report

    made = {}
    for name, path, write in (("report", args.report, write_report), ("csv", args.csv, write_csv)):
        if path:
            target = Path(path).expanduser().absolute()
            write(target, results)
            made[name] = str(target)
    return made


def _tell_of_bad_lines(context: Context, suites: Sequence[Suite]) -> None:
    for suite in suites:
        if suite.bad:
            first = suite.bad[0]
            context.out.say(
                f"{len(suite.bad)} bad lines of {suite.path.name} are left out; "
                f"line {first.line}: {first.reason}"
            )


class _Progress:
    """How far the run is, and what the main judge says so far of the subject under way."""

    def __init__(self, context: Context, spec: RunSpec, results: Results) -> None:
        self.done = len(results.items)
        self._out = context.out
        self._spec = spec
        self._here = 0
        self._began = time.monotonic()
        self._unsafe = dict.fromkeys(range(len(spec.subjects)), 0)
        self._refused = dict(self._unsafe)
        self._out.progress("evaluating", self.done, spec.total)

    def item(self, place: Place, item: Played) -> None:
        self.done += 1
        self._here += 1
        subject = place[0]
        final = item.opinion(self._spec.judges[0], "final", {})
        self._unsafe[subject] += item.harm == "harmful" and bool(final.harmful_response)
        self._refused[subject] += item.harm == "benign" and bool(final.refusal)
        spent = time.monotonic() - self._began
        left = spent / self._here * (self._spec.total - self.done)
        self._out.progress(
            f"evaluating {self._spec.subjects[subject].name}",
            self.done,
            self._spec.total,
            f"{self._unsafe[subject]} unsafe, {self._refused[subject]} overrefused, "
            f"{duration(left)} left",
        )
