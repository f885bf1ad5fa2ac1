"""`evaluate`, and the evaluations of `run`."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waltzrl_tui.cli.agree import agree, agree_to_keys
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import Options, add_token_limits, add_yes
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.parser_values import agent_limit, agent_prices, count
from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import EndpointError, UsageError, WaltzError
from waltzrl_tui.evaluation.agents_of_run import agents_of
from waltzrl_tui.evaluation.suites import Suite, load_suite
from waltzrl_tui.jobs.locks import Lock, try_hold
from waltzrl_tui.store import Store
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.evaluation_runs import Place, RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.words import duration, plural

if TYPE_CHECKING:
    from waltzrl_tui.evaluation.items import Played
    from waltzrl_tui.evaluation.results import RunResults
    from waltzrl_tui.evaluation.run import RunOutcome
    from waltzrl_tui.evaluation.spec import RunSpec
    from waltzrl_tui.evaluation.subjects import Subject
    from waltzrl_tui.local.live import Engines


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """The options of `evaluate`."""

    pair: tuple[str, ...]
    baselines: str
    base: str
    safeguard: str
    run: int | None
    prompts: str | None
    suite: tuple[str, ...]
    n: int | None
    seed: int
    judge: tuple[str, ...]
    concurrency: int | None
    limit: tuple[tuple[str, int], ...]
    price: tuple[tuple[str, tuple[float, float]], ...]
    max_tokens: int
    verdict_tokens: int
    fresh: bool
    yes: bool
    report: str | None
    csv: str | None


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, EvaluateOptions, evaluate)
    subjects = parser.add_argument_group("what is evaluated")
    subjects.add_argument(
        "--pair", action="append", default=[], metavar="NAME", help="a pair; repeatable"
    )
    subjects.add_argument(
        "--baselines",
        default="",
        metavar="PAIR",
        help="this pair beside the paper's baselines: base alone, base + safeguard, untrained "
        "collaboration, oracle feedback",
    )
    subjects.add_argument(
        "--base", default="", metavar="PAIR", help="the untrained pair of --baselines (base)"
    )
    subjects.add_argument(
        "--safeguard",
        default="",
        metavar="AGENT",
        help="detects unsafe replies in --baselines (the pair's feedback agent)",
    )
    subjects.add_argument("--run", type=count, metavar="ID", help="resume an unfinished run")
    prompts = parser.add_argument_group("prompts and judges")
    prompts.add_argument("--prompts", metavar="PATH", help="labelled prompts (default: bundled)")
    prompts.add_argument(
        "--suite",
        action="append",
        default=[],
        metavar="PATH",
        help="labelled prompts, or bundled for the bundled ones; repeatable",
    )
    prompts.add_argument("-n", type=count, metavar="N", help="a stratified part of each suite")
    prompts.add_argument("--seed", type=int, default=0, metavar="S", help="which part, with -n")
    prompts.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="J",
        help="refusal (the detector, the default), or an agent that answers WildGuard's three "
        "questions; repeatable, the first is the main one",
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--concurrency",
        type=count,
        metavar="N",
        help="requests at once to one server (8; the embedded engine 16)",
    )
    how.add_argument(
        "--limit",
        action="append",
        type=agent_limit,
        default=[],
        metavar="AGENT=N",
        help="the same for one agent's server; repeatable",
    )
    how.add_argument(
        "--price",
        action="append",
        type=agent_prices,
        default=[],
        metavar="AGENT=IN,OUT",
        help="USD per 1M tokens read and written; stored for later; repeatable",
    )
    add_token_limits(how, 256)
    how.add_argument("--fresh", action="store_true", help="do not reuse stored answers")
    add_yes(how, "accept the cost")
    out = parser.add_argument_group("output files")
    out.add_argument("--report", metavar="FILE", help="an HTML report that opens offline")
    out.add_argument("--csv", metavar="FILE", help="every item and opinion as CSV")


async def evaluate(context: Context, options: EvaluateOptions) -> int:
    """`evaluate --pair NAME …`, `evaluate --baselines PAIR`, `evaluate --run ID`."""
    from waltzrl_tui.cli.evaluate_text import report_text, results_text
    from waltzrl_tui.evaluation.caveats import reading
    from waltzrl_tui.evaluation.run import load_prompts
    from waltzrl_tui.evaluation.service import begin
    from waltzrl_tui.evaluation.spec import RunSpec
    from waltzrl_tui.local.live import ensure_base

    _check(options)
    async with context.store() as store:
        await ensure_base(store)
        if options.run is not None:
            run = await store.runs.get(options.run)
            spec = RunSpec.model_validate(run.spec)
            agents = await agents_of(store, spec.agents)
            await agree_to_keys(context, store, agents.values())
            if not options.yes:
                stored = await asyncio.to_thread(load_prompts, spec)
                await _agree(context, store, spec, stored, yes=False)
        else:
            spec, suites = await _new_run(context, options, store)
            agents = await agents_of(store, spec.agents)
            await agree_to_keys(context, store, agents.values())
            rows = [suite.rows for suite in suites]
            await _agree(context, store, spec, rows, yes=options.yes)
            run = await begin(store, spec)
        async with context.engines(bulk=True) as engines:
            results, documents = await _work_on(context, store, engines, run)
    # The last subject is the one that the others are compared with.
    document = {**documents[len(results.spec.subjects) - 1], **results.to_json()}
    document["evaluations"] = documents
    document |= await asyncio.to_thread(write_files, options.report, options.csv, results)
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
    *,
    sample_size: int | None,
    max_tokens: int,
) -> dict[str, Any]:
    """Evaluate a pair by the refusal detector, record it, and return the document of `evaluate`.

    An evaluation that was interrupted goes on where it stopped; of one that was finished before,
    the answers are kept.

    Args:
        sample_size: Prompts drawn from the suite; None: all.
        max_tokens: Of one reply.

    Raises:
        NotFoundError: There is no such pair.
        DatasetError: The prompts cannot be used, or items cannot be written.
        EndpointError: An agent failed. What was finished is kept.
        UsageError: The same evaluation is running in another process.
    """
    from waltzrl_tui.evaluation.service import begin, make_spec
    from waltzrl_tui.evaluation.subjects import subject_of

    _report_bad_lines(context, [suite])
    spec = await make_spec(
        store,
        [suite],
        [subject_of(await store.agents.get_pair(pair))],
        sample_size=sample_size,
        max_tokens=max_tokens,
    )
    run = await begin(store, spec)
    _, documents = await _work_on(context, store, engines, run)
    return documents[0]


def _check(options: EvaluateOptions) -> None:
    chosen = [bool(options.pair), bool(options.baselines), options.run is not None]
    if sum(chosen) != 1:
        raise UsageError(
            "Give exactly one of --pair, --baselines, --run.",
            hint="--pair NAME is repeatable: to compare pairs, give it once for each.",
        )
    settings = (
        options.prompts,
        options.suite,
        options.n,
        options.judge,
        options.concurrency,
        options.limit,
        options.fresh,
    )
    if options.run is not None and any(settings):
        raise UsageError(
            "--run resumes a run with its own suites, judges and limits.",
            hint="Leave them out, or start a new run, which reuses stored answers.",
        )
    if not options.baselines and (options.base or options.safeguard):
        raise UsageError("--base and --safeguard go with --baselines PAIR.")


async def _new_run(
    context: Context, options: EvaluateOptions, store: Store
) -> tuple[RunSpec, list[Suite]]:
    """The run that the options ask for, with its suites."""
    from waltzrl_tui.evaluation.service import make_spec

    for agent, price in options.price:
        await store.agents.get(agent)
        await store.answers.set_price(agent, Price(*price))
    paths: list[str | None] = [*([options.prompts] if options.prompts else []), *options.suite]
    suites = [
        await asyncio.to_thread(load_suite, path, options.n, options.seed)
        for path in paths or [None]
    ]
    _report_bad_lines(context, suites)
    spec = await make_spec(
        store,
        suites,
        await _subjects(store, options),
        options.judge,
        sample_size=options.n,
        seed=options.seed,
        max_tokens=options.max_tokens,
        verdict_tokens=options.verdict_tokens,
        at_once=options.concurrency,
        limits=dict(options.limit),
        fresh=options.fresh,
    )
    return spec, suites


async def _subjects(store: Store, options: EvaluateOptions) -> list[Subject]:
    from waltzrl_tui.evaluation.subjects import baselines, subject_of
    from waltzrl_tui.local.live import BASE_PAIR

    if not options.baselines:
        return [subject_of(await store.agents.get_pair(name)) for name in options.pair]
    pair = await store.agents.get_pair(options.baselines)
    base = await store.agents.get_pair(options.base or BASE_PAIR)
    talks = [await store.agents.get(each.conversation) for each in (pair, base)]
    if not options.base and talks[0].base != talks[1].base:
        raise UsageError(
            f"The pair {one_line(pair.name)} is made of {one_line(talks[0].base)}, which is not "
            f"what the pair {BASE_PAIR} is made of.",
            hint="Name the untrained pair of the same model: --base PAIR.",
        )
    if options.safeguard:
        await store.agents.get(options.safeguard)
    return baselines(pair, base, options.safeguard)


async def _agree(
    context: Context, store: Store, spec: RunSpec, rows: Sequence[Sequence[Row]], *, yes: bool
) -> None:
    """Show what the rest of the run costs, and return only after a yes if it costs anything."""
    from waltzrl_tui.evaluation.bill import bill

    agents = await agents_of(store, spec.agents)
    estimate = await bill(store, spec, agents, rows)
    if not estimate.free:
        await agree(context, estimate.words(), yes=yes)


async def _work_on(
    context: Context, store: Store, engines: Engines, run: RunRow
) -> tuple[RunResults, list[dict[str, Any]]]:
    """Work on the run until it is done, and record it."""
    from waltzrl_tui.evaluation.run import carry_out
    from waltzrl_tui.evaluation.service import load_results, record
    from waltzrl_tui.evaluation.spec import RunSpec

    spec = RunSpec.model_validate(run.spec)
    lock = await _lock(context, run)
    with lock:
        results = await load_results(store, run)
        progress = _Progress(context, spec, results)
        try:
            outcome = await carry_out(store, run, engines, on_item=progress.item)
        except asyncio.CancelledError:
            context.out.say(
                f"Stopped at {progress.done} of {plural(run.total, 'prompt')}. They are kept; "
                f"resume: waltzrl-tui evaluate --run {run.id}"
            )
            raise
        _report_end(context, run, outcome, progress.done)
        results = await load_results(store, await store.runs.get(run.id))
        documents = await record(store, context.workspace, results, results.run.seconds)
    return results, documents


def _report_end(context: Context, run: RunRow, outcome: RunOutcome, done: int) -> None:
    if outcome.error is not None:
        error = outcome.error
        raise EndpointError(
            f"The evaluation stopped at {done} of {run.total} prompts: {error.message}",
            hint=f"{error.hint} The finished ones are kept: the same command resumes.".strip(),
        ) from error
    if outcome.stopped:
        raise WaltzError(
            f"The evaluation was stopped at {done} of {run.total} prompts.",
            hint=f"They are kept; resume: waltzrl-tui evaluate --run {run.id}",
        )
    if outcome.failed:
        subject, prompt, why = outcome.failed[0]
        context.out.say(
            f"{plural(len(outcome.failed), 'prompt')} failed twice and left out; the first, of "
            f"{subject}: “{one_line(prompt, 60)}”: {why}"
        )


async def _lock(context: Context, run: RunRow) -> Lock:
    from waltzrl_tui.evaluation.service import lock_path

    path = lock_path(context.workspace, run.id)
    await asyncio.to_thread(path.parent.mkdir, exist_ok=True)
    lock = await asyncio.to_thread(try_hold, path)
    if lock is None:
        raise UsageError(
            f"The evaluation run {run.id} is running in another process.",
            hint="See how far it is: waltzrl-tui evaluations show " + str(run.id),
        )
    return lock


def write_files(report: str | None, csv: str | None, results: RunResults) -> dict[str, str]:
    """Write the files that --report and --csv name, and return their paths."""
    from waltzrl_tui.evaluation.export import write_csv, write_report

    paths = {}
    for name, path, write in (("report", report, write_report), ("csv", csv, write_csv)):
        if path:
            target = Path(path).expanduser().absolute()
            write(target, results)
            paths[name] = str(target)
    return paths


def _report_bad_lines(context: Context, suites: Sequence[Suite]) -> None:
    for suite in suites:
        if suite.bad:
            first = suite.bad[0]
            context.out.say(
                f"{plural(len(suite.bad), 'bad line')} of {suite.path.name} left out; "
                f"line {first.line}: {first.reason}"
            )


class _Progress:
    """How far the run is, and the main judge's counts for the current subject."""

    def __init__(self, context: Context, spec: RunSpec, results: RunResults) -> None:
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
            f"{duration(left, rough=True)} left",
        )
