"""`evaluate`, and the evaluations of `run`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import duration, rate, table
from waltzrl_tui.cli.suites import Suite, load_suite
from waltzrl_tui.errors import UsageError
from waltzrl_tui.evaluation.items import EvalItem
from waltzrl_tui.evaluation.judges import LabelJudge
from waltzrl_tui.evaluation.run import evaluate as run_evaluation
from waltzrl_tui.jobs.locks import Lock, try_hold
from waltzrl_tui.local.live import Engines, ensure_base
from waltzrl_tui.store import Store

FIGURES = (
    ("attack success (ASR)", "asr"),
    ("over-refusal (ORR)", "orr"),
    ("· prompts that sound alike", "orr_sounds_alike"),
    ("feedback triggered (FTR)", "ftr"),
    ("labels right", "label_accuracy"),
)
"""The rows of a report: name, and key in the document."""


@dataclass(frozen=True)
class Settings:
    """How prompts are run."""

    n: int | None = None
    seed: int = 0
    max_tokens: int = 256
    concurrency: int = 8


async def evaluate(context: Context) -> int:
    """`evaluate --pair NAME`."""
    args = context.args
    settings = Settings(args.n, args.seed, args.max_tokens, args.concurrency)
    suite = await asyncio.to_thread(load_suite, args.prompts, args.n, args.seed)
    async with context.store() as store, context.engines(bulk=True) as engines:
        await ensure_base(store)
        document = await measure(context, store, engines, args.pair, suite, settings)
    context.out.result(document, report_text(document))
    return 0


async def measure(
    context: Context,
    store: Store,
    engines: Engines,
    pair: str,
    suite: Suite,
    settings: Settings,
) -> dict[str, Any]:
    """Evaluate a pair, record it, and return the document of `evaluate`.

    An evaluation that was interrupted goes on where it stopped; one that was finished is run anew.

    Raises:
        NotFoundError: There is no such pair.
        DatasetError: The prompts cannot be used, or items cannot be written.
        EndpointError: An agent failed. What was finished is kept.
        UsageError: The same evaluation is running in another process.
    """
    live = await engines.pair(store, pair)
    path, lock = await _items_file(context, store, pair, suite, settings)
    if suite.bad:
        first = suite.bad[0]
        context.out.say(
            f"{len(suite.bad)} bad lines of {suite.path.name} are left out; "
            f"line {first.line}: {first.reason}"
        )
    progress = _Progress(context, f"evaluating {pair}", len(suite.rows))
    with lock:
        try:
            report = await run_evaluation(
                live,
                suite.rows,
                LabelJudge(),
                items_path=path,
                concurrency=settings.concurrency,
                max_tokens=settings.max_tokens,
                on_item=progress.item,
            )
        except asyncio.CancelledError:
            context.out.say(
                f"Stopped at {progress.done} of {len(suite.rows)} prompts. They are kept: the "
                "same command goes on."
            )
            raise
        document = report.to_json()
        row = await store.evaluations.add(
            pair=pair,
            judge=report.judge,
            suite=suite.path,
            suite_sha256=suite.sha256,
            n=report.n,
            seconds=report.seconds,
            report=document,
            items_path=path,
        )
    return {**document, "id": row.id, "suite": str(suite.path)}


class _Progress:
    def __init__(self, context: Context, what: str, total: int) -> None:
        self.done = 0
        self._out = context.out
        self._what = what
        self._total = total
        self._began = time.monotonic()
        self._unsafe = self._refused = 0
        self._out.progress(what, 0, total)

    def item(self, item: EvalItem) -> None:
        self.done += 1
        self._unsafe += item.final_unsafe
        self._refused += item.final_overrefused
        left = (time.monotonic() - self._began) / self.done * (self._total - self.done)
        self._out.progress(
            self._what,
            self.done,
            self._total,
            f"{self._unsafe} unsafe, {self._refused} overrefused, {duration(left)} left",
        )


async def _items_file(
    context: Context, store: Store, pair: str, suite: Suite, settings: Settings
) -> tuple[Path, Lock]:
    """Where the items go, locked: the file of an unfinished run of the same, else a new one."""
    row = await store.agents.get_pair(pair)
    names = [name for name in (row.conversation, row.feedback) if name]
    agents = [asdict(await store.agents.get(name)) for name in names]
    # A name can be given to another pair, and a file can change: those are other evaluations.
    same = [asdict(row), agents, suite.sha256, settings.n, settings.seed, settings.max_tokens]
    key = hashlib.sha256(json.dumps(same).encode()).hexdigest()[:10]
    stem = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', pair)[:40]}-{key}"
    finished = {Path(each.items_path) for each in await store.evaluations.list(pair=pair, limit=-1)}
    folder = context.workspace.state / "evaluations"
    path = next(
        path for number in count(1) if (path := folder / f"{stem}-{number}.jsonl") not in finished
    )
    lock = await asyncio.to_thread(try_hold, path.with_suffix(".lock"))
    if lock is None:
        raise UsageError(
            f"The same evaluation of {pair} is running in another process.",
            hint="Wait for it, or take other prompts or another -n.",
        )
    return path, lock


def report_text(document: Mapping[str, Any]) -> str:
    """The figures of one evaluation as a table."""
    rows = []
    for name, key in FIGURES:
        figure = document[key]
        if figure is not None:
            final = figure.get("final")
            rows.append((name, rate(figure["first"]), rate(final), str(figure["first"]["n"])))
    accuracy = document["label_accuracy"]
    if accuracy is not None:
        baseline = accuracy["baseline_always_false"]
        rows.append(("· by never raising a flag", rate(baseline), "", str(baseline["n"])))
    lines = [
        f"pair {document['pair']}, {document['n']} prompts, judge {document['judge']}, "
        f"{duration(document['seconds'])}",
        "",
        table(("", "first reply", "final reply", "n"), rows, right={1, 2, 3}),
        "",
        "In brackets: 95 % Wilson intervals.",
    ]
    if document["verdict_errors"]:
        lines.append(f"Verdicts that could not be read: {document['verdict_errors']}.")
    return "\n".join([*lines, f"Every item: {document['items_path']}"])
