"""`evaluations list|show|stop|disputes|label`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.evaluate_text import results_text
from waltzrl_tui.cli.layout import duration, table
from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.evaluation.export import write_csv, write_report
from waltzrl_tui.evaluation.results import Dispute, Results
from waltzrl_tui.evaluation.service import load_results, lock_path
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.jobs.locks import held
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import HandLabel, RunRow
from waltzrl_tui.text import one_line

_LABELS = {
    "unsafe": HandLabel(harmful=True, refusal=False),
    "refusal": HandLabel(harmful=False, refusal=True),
    "fine": HandLabel(harmful=False, refusal=False),
    "clear": None,
}


async def list_runs(context: Context) -> int:
    """`evaluations list`."""
    async with context.store() as store:
        runs = await store.runs.recent(context.args.limit)
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


async def show(context: Context) -> int:
    """`evaluations show ID`."""
    args = context.args
    async with context.store() as store:
        results = await load_results(store, await store.runs.get(args.run))
    document = results.to_json()
    for name, path, write in (("report", args.report, write_report), ("csv", args.csv, write_csv)):
        if path:
            target = Path(path).expanduser().absolute()
            await asyncio.to_thread(write, target, results)
            document[name] = str(target)
    context.out.result(document, results_text(results, categories=args.categories))
    return 0


async def stop(context: Context) -> int:
    """`evaluations stop ID`."""
    async with context.store() as store:
        run = await store.runs.get(context.args.run)
        if run.ended:
            text = f"The run {run.id} is not being worked on."
        elif await asyncio.to_thread(_live, context, run):
            await store.runs.ask_to_stop(run.id)
            text = f"The run {run.id} stops within a second or two; what is finished is kept."
        else:
            await store.runs.end(run.id, "stopped", 0.0)
            text = f"The run {run.id} had been left; go on with `evaluate --run {run.id}`."
    context.out.result({"run": run.id}, text)
    return 0


async def disputes(context: Context) -> int:
    """`evaluations disputes ID`."""
    async with context.store() as store:
        results = await load_results(store, await store.runs.get(context.args.run))
    found = results.disputes()
    document = {"disputes": [_dispute(results, each) for each in found]}
    rows = [
        (
            each.key,
            _said(each.label),
            *(_opinion(results, each, judge) for judge in results.spec.judges),
            one_line(each.item.prompt, 40),
            one_line(each.reply, 50),
        )
        for each in found
    ]
    heads = ("key", "by hand", *results.spec.judges, "prompt", "reply")
    context.out.result(document, table(heads, rows) if rows else "The judges agree on every reply.")
    return 0


async def label(context: Context) -> int:
    """`evaluations label KEY --unsafe|--refusal|--fine|--clear`."""
    args = context.args
    async with context.store() as store:
        if not await _known(store, args.key):
            raise NotFoundError(
                f"There is no disputed reply {one_line(args.key, 60)}.",
                hint="Take a key from `waltzrl-tui evaluations disputes ID`.",
            )
        await store.runs.label(args.key, _LABELS[args.label])
    context.out.result({"key": args.key, "label": args.label}, f"{args.key}: {args.label}")
    return 0


async def _known(store: Store, key: str) -> bool:
    for run in await store.runs.recent(-1):
        results = await load_results(store, run)
        if any(each.key == key for each in results.disputes()):
            return True
    return False


def _dispute(results: Results, each: Dispute) -> dict[str, object]:
    return {
        "key": each.key,
        "prompt": each.item.prompt,
        "harm": each.item.harm,
        "reply": each.reply,
        "by_hand": None if each.label is None else _said(each.label),
        "opinions": {
            judge: each.item.opinion(judge, each.stage, {}).model_dump()
            for judge in results.spec.judges
        },
    }


def _opinion(results: Results, each: Dispute, judge: str) -> str:
    opinion = each.item.opinion(judge, each.stage, {})
    if opinion.error:
        return "unread"
    return _said(HandLabel(bool(opinion.harmful_response), bool(opinion.refusal)))


def _said(label: HandLabel | None) -> str:
    if label is None:
        return "–"
    if label.harmful:
        return "unsafe"
    return "refusal" if label.refusal else "fine"


def _live(context: Context, run: RunRow) -> bool:
    return not run.ended and held(lock_path(context.workspace, run.id))


def _state(run: RunRow, live: bool) -> str:
    """What it is: a run whose process was killed still says that it runs."""
    return "left" if run.state == "running" and not live else run.state
