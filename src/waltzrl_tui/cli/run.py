"""`run`: the whole path on the embedded engine, from a dataset to figures before and after."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.evaluate import measure
from waltzrl_tui.cli.follow import failure
from waltzrl_tui.cli.jobs_text import jobs_json
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import SampleOptions, add_epochs, add_sample_options
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.samples import recipe_of
from waltzrl_tui.cli.train import follow_or_leave
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.suites import load_suite
from waltzrl_tui.store import JobRow, PairRow, Store
from waltzrl_tui.words import NONE, duration, plural

if TYPE_CHECKING:
    from waltzrl_tui.local.live import Engines
    from waltzrl_tui.training.launch import Stage1


@dataclass(frozen=True, kw_only=True)
class RunOptions(SampleOptions):
    """The options of `run`."""

    path: str | None
    quick: bool
    epochs: float | None
    name: str
    prompts: str | None


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, RunOptions, run)
    parser.add_argument("path", nargs="?", metavar="PATH", help="a dataset (default: bundled)")
    parser.add_argument("--quick", action="store_true", help="a short training and fewer prompts")
    add_sample_options(parser, rows="rows (default: as many as the recipe takes)")
    add_epochs(parser, "passes over the rows (default: the recipe's)")
    parser.add_argument("--name", default="", help="the name of the agents and the pair")
    parser.add_argument("--prompts", metavar="FILE", help="evaluation prompts (default: bundled)")


async def run(context: Context, options: RunOptions) -> int:
    """`run [--quick] [PATH]`."""
    from waltzrl_tui.local.live import BASE_PAIR, ensure_base
    from waltzrl_tui.training.launch import draw_sample, launch, result_pair

    began = time.monotonic()
    plan = _plan_of(options)
    recipe = plan.settings
    sample_size, max_tokens = recipe.evaluation_prompts, recipe.evaluation_tokens
    # Both files are read first, so that a bad one is not met after minutes of evaluation.
    drawn = await asyncio.to_thread(draw_sample, plan.recipe)
    suite = await asyncio.to_thread(load_suite, options.prompts, sample_size)
    context.out.say(
        f"sample: {plural(len(drawn.train), 'training row')}, {len(drawn.valid):,} held out; "
        f"{plural(len(suite.rows), 'other prompt')} to evaluate"
    )
    async with context.store() as store:
        await ensure_base(store)
        async with context.engines(bulk=True) as engines:
            before = await measure(
                context,
                store,
                engines,
                BASE_PAIR,
                suite,
                sample_size=sample_size,
                max_tokens=max_tokens,
            )
        # The engine is stopped meanwhile: training needs its memory and cores.
        jobs = await launch(store, context.workspace, plan)
        jobs = await follow_or_leave(context, store, [job.id for job in jobs])
        if error := failure(jobs):
            raise error
        pair = await result_pair(store, [job.id for job in jobs])
        if pair is None:
            raise WaltzError(
                "The jobs succeeded, but the pair that they made is no longer in the store.",
                hint="See `waltzrl-tui pairs list`.",
            )
        async with context.engines(bulk=True) as engines:
            after = await measure(
                context,
                store,
                engines,
                pair.name,
                suite,
                sample_size=sample_size,
                max_tokens=max_tokens,
            )
            verdicts = await _verdicts(context, store, engines, pair, before)
        sample = await _sample(store, jobs)
    document = {
        "sample": sample,
        **jobs_json(jobs),
        "before": before,
        "after": after,
        "verdicts_on_base": verdicts,
        "pair": pair.name,
        "seconds": round(time.monotonic() - began, 2),
    }
    context.out.result(document, _text(document))
    return 0


def _plan_of(options: RunOptions) -> Stage1:
    from waltzrl_tui.training.launch import Stage1

    plan = Stage1(
        recipe=recipe_of(options, options.path or bundled(STARTER)),
        epochs=options.epochs,
        quick=options.quick,
        name=options.name,
    )
    if options.n is None:
        plan = replace(plan, recipe=replace(plan.recipe, n=plan.settings.rows))
    return plan


async def _verdicts(
    context: Context, store: Store, engines: Engines, pair: PairRow, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The trained feedback agent on the untrained base's drafts, half of which deserve a flag."""
    from waltzrl_tui.evaluation.items import read_items
    from waltzrl_tui.evaluation.verdicts import judge_drafts

    items = await asyncio.to_thread(read_items, Path(before["items_path"]))
    agent = await store.agents.get(pair.feedback)
    label = "the new feedback agent on the base's drafts"
    report = await judge_drafts(
        await engines.endpoint(store, agent),
        agent.prompt,
        items,
        on_item=lambda done: context.out.progress(label, done, len(items)),
    )
    return report.to_json()


async def _sample(store: Store, jobs: list[JobRow]) -> dict[str, Any]:
    """The sample that was trained on, in the shape of `data sample`."""
    number = next(job.sample_id for job in jobs if job.sample_id is not None)
    sample = await store.samples.get(number)
    files = await store.samples.files(number)
    recipe = {**sample.recipe, "sha256": sample.sha256}
    return {
        "id": sample.id,
        "rows": sample.rows,
        "recipe": recipe,
        "files": [asdict(file) for file in files if file.split == "train"],
        "valid_files": [asdict(file) for file in files if file.split == "valid"],
        "dropped": recipe.pop("dropped", {}),
    }


def _text(document: Mapping[str, Any]) -> str:
    from waltzrl_tui.cli.evaluate_text import FIGURES, rate_text

    before, after = document["before"], document["after"]
    rows = []
    for name, key in FIGURES:
        was, now = before[key] or {}, after[key] or {}
        rows.append(
            (
                name,
                rate_text(was.get("final", was.get("first"))),
                rate_text(now.get("first")),
                rate_text(now.get("final")),
                str(now["first"]["n"]) if now else NONE,
            )
        )
    verdicts = document["verdicts_on_base"]
    accuracy, baseline = verdicts["label_accuracy"], verdicts["baseline_always_false"]
    was = before["label_accuracy"] or {}
    first, n = rate_text(was.get("first")), str(accuracy["n"])
    rows.append(("· on the base's drafts", first, rate_text(accuracy), NONE, n))
    pair = document["pair"]
    return "\n".join(
        [
            table(
                ("", f"before: {before['pair']}", "after: first reply", "after: final", "n"),
                rows,
                right={1, 2, 3, 4},
            ),
            "",
            f"Never raising a flag would be right on {rate_text(baseline)} of the base's drafts.",
            f"{plural(after['n'], 'prompt')} each, judge {after['judge']}. "
            "In brackets: 95 % Wilson intervals.",
            f"The whole run took {duration(document['seconds'])}. "
            f"The new pair is {pair}: waltzrl-tui chat --pair {pair}",
        ]
    )
