"""`evaluations`: runs listed, shown, exported and stopped, and disputed replies labelled."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import Options
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import count
from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.jobs.locks import held
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import HandLabel, RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.words import NONE, duration

if TYPE_CHECKING:
    from waltzrl_tui.evaluation.results import Dispute, RunResults

_LABELS = {
    "unsafe": HandLabel(harmful=True, refusal=False),
    "refusal": HandLabel(harmful=False, refusal=True),
    "fine": HandLabel(harmful=False, refusal=False),
    "clear": None,
}


@dataclass(frozen=True, kw_only=True)
class ListOptions(Options):
    """The options of `evaluations list`."""

    limit: int


@dataclass(frozen=True, kw_only=True)
class ShowOptions(Options):
    """The options of `evaluations show`."""

    run: int
    categories: bool
    report: str | None
    csv: str | None


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """The options of the commands that take a run and nothing else."""

    run: int


@dataclass(frozen=True, kw_only=True)
class LabelOptions(Options):
    """The options of `evaluations label`."""

    key: str
    label: str


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    runs = subcommands(parser)
    listed = subcommand(runs, "list", "all runs, newest first", ListOptions, list_runs)
    listed.add_argument("--limit", type=count, default=50, metavar="N", help="at most N (50)")
    shown = subcommand(runs, "show", "the figures of a run, finished or not", ShowOptions, show)
    shown.add_argument("--categories", action="store_true", help="include rates by category")
    shown.add_argument("--report", metavar="FILE", help="an HTML report that opens offline")
    shown.add_argument("--csv", metavar="FILE", help="every item and opinion as CSV")
    stopped = subcommand(runs, "stop", "stop a run; finished prompts are kept", RunOptions, stop)
    disputed = subcommand(
        runs, "disputes", "replies on which the judges differ", RunOptions, disputes
    )
    for one in (shown, stopped, disputed):
        one.add_argument("run", type=count, metavar="ID")
    labelled = subcommand(runs, "label", "label a disputed reply by hand", LabelOptions, label)
    labelled.add_argument("key", metavar="KEY", help="as disputes shows it")
    labels = labelled.add_mutually_exclusive_group(required=True)
    for name, help in (
        ("unsafe", "the reply is harmful"),
        ("refusal", "it refuses"),
        ("fine", "neither"),
        ("clear", "remove the label"),
    ):
        labels.add_argument(f"--{name}", dest="label", action="store_const", const=name, help=help)


async def list_runs(context: Context, options: ListOptions) -> int:
    """`evaluations list`."""
    from waltzrl_tui.evaluation.spec import RunSpec

    async with context.store() as store:
        runs = await store.runs.recent(options.limit)
        counts = await store.runs.counts([run.id for run in runs])
    live = await asyncio.to_thread(lambda: {run.id: _live(context, run) for run in runs})
    specs = {run.id: RunSpec.model_validate(run.spec) for run in runs}
    document = {
        "runs": [
            {
                "id": run.id,
                "state": _state(run, live[run.id]),
                "done": counts[run.id],
                "total": run.total,
                "created_at": run.created_at,
                "seconds": round(run.seconds, 2),
                "pairs": [subject.name for subject in specs[run.id].subjects],
                "suites": [suite.name for suite in specs[run.id].suites],
                "judges": list(specs[run.id].judges),
                "error": run.error,
            }
            for run in runs
        ]
    }
    rows = [
        (
            str(each["id"]),
            str(each["state"]),
            f"{each['done']}/{each['total']}",
            duration(run.seconds),
            ", ".join(subject.name for subject in specs[run.id].subjects),
            ", ".join(suite.name for suite in specs[run.id].suites),
            ", ".join(specs[run.id].judges),
        )
        for run, each in zip(runs, document["runs"], strict=True)
    ]
    heads = ("run", "state", "done", "took", "pairs", "suites", "judges")
    text = table(heads, rows, right={0, 2, 3}) if rows else "No runs yet: waltzrl-tui evaluate"
    context.out.result(document, text)
    return 0


async def show(context: Context, options: ShowOptions) -> int:
    """`evaluations show ID`."""
    from waltzrl_tui.cli.evaluate import write_files
    from waltzrl_tui.cli.evaluate_text import results_text
    from waltzrl_tui.evaluation.service import load_results

    async with context.store() as store:
        results = await load_results(store, await store.runs.get(options.run))
    document = results.to_json()
    document |= await asyncio.to_thread(write_files, options.report, options.csv, results)
    context.out.result(document, results_text(results, categories=options.categories))
    return 0


async def stop(context: Context, options: RunOptions) -> int:
    """`evaluations stop ID`."""
    async with context.store() as store:
        run = await store.runs.get(options.run)
        if run.ended:
            text = f"The run {run.id} is not running."
        elif await asyncio.to_thread(_live, context, run):
            await store.runs.ask_to_stop(run.id)
            text = f"The run {run.id} stops within seconds; finished prompts are kept."
        else:
            await store.runs.end(run.id, "stopped", 0.0)
            text = f"The run {run.id} was interrupted; resume: waltzrl-tui evaluate --run {run.id}"
    context.out.result({"run": run.id}, text)
    return 0


async def disputes(context: Context, options: RunOptions) -> int:
    """`evaluations disputes ID`."""
    from waltzrl_tui.evaluation.service import load_results

    async with context.store() as store:
        results = await load_results(store, await store.runs.get(options.run))
    disputed = results.disputes()
    document = {"disputes": [_dispute(results, each) for each in disputed]}
    rows = [
        (
            each.key,
            _label_word(each.label),
            *(_opinion(each, judge) for judge in results.spec.judges),
            one_line(each.item.prompt, 40),
            one_line(each.reply, 50),
        )
        for each in disputed
    ]
    heads = ("key", "by hand", *results.spec.judges, "prompt", "reply")
    context.out.result(document, table(heads, rows) if rows else "The judges agree on every reply.")
    return 0


async def label(context: Context, options: LabelOptions) -> int:
    """`evaluations label KEY --unsafe|--refusal|--fine|--clear`."""
    async with context.store() as store:
        if not await _is_disputed(store, options.key):
            raise NotFoundError(
                f"There is no disputed reply {one_line(options.key, 60)}.",
                hint="Take a key from `waltzrl-tui evaluations disputes ID`.",
            )
        await store.runs.label(options.key, _LABELS[options.label])
    context.out.result(
        {"key": options.key, "label": options.label}, f"{options.key}: {options.label}"
    )
    return 0


async def _is_disputed(store: Store, key: str) -> bool:
    from waltzrl_tui.evaluation.service import load_results

    for run in await store.runs.recent(-1):
        results = await load_results(store, run)
        if any(each.key == key for each in results.disputes()):
            return True
    return False


def _dispute(results: RunResults, each: Dispute) -> dict[str, object]:
    return {
        "key": each.key,
        "prompt": each.item.prompt,
        "harm": each.item.harm,
        "reply": each.reply,
        "by_hand": None if each.label is None else _label_word(each.label),
        "opinions": {
            judge: each.item.opinion(judge, each.stage, {}).model_dump()
            for judge in results.spec.judges
        },
    }


def _opinion(each: Dispute, judge: str) -> str:
    opinion = each.item.opinion(judge, each.stage, {})
    if opinion.error:
        return "unread"
    return _label_word(HandLabel(bool(opinion.harmful_response), bool(opinion.refusal)))


def _label_word(label: HandLabel | None) -> str:
    from waltzrl_tui.evaluation.item_view import label_words

    return NONE if label is None else label_words(label)


def _live(context: Context, run: RunRow) -> bool:
    from waltzrl_tui.evaluation.service import lock_path

    return not run.ended and held(lock_path(context.workspace, run.id))


def _state(run: RunRow, live: bool) -> str:
    """Its state: a run whose process was killed is still stored as running."""
    return "left" if run.state == "running" and not live else run.state
