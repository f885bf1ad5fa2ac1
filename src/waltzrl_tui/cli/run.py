"""`run`: the whole story on the embedded engine, from a dataset to figures before and after."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.evaluate import FIGURES, Settings, measure
from waltzrl_tui.cli.follow import failure, follow
from waltzrl_tui.cli.jobs import jobs_json
from waltzrl_tui.cli.layout import duration, rate, table
from waltzrl_tui.cli.samples import recipe_of
from waltzrl_tui.cli.train import still_going
from waltzrl_tui.datasets.starter import STARTER, bundled
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.items import read_items
from waltzrl_tui.evaluation.suites import load_suite
from waltzrl_tui.evaluation.verdicts import judge_drafts
from waltzrl_tui.local.live import BASE_PAIR, Engines, ensure_base
from waltzrl_tui.store import JobRow, PairRow, Store
from waltzrl_tui.training.launch import Stage1, draw_sample, launch, result_pair


async def run(context: Context) -> int:
    """`run [--quick] [PATH]`."""
    began = time.monotonic()
    args, out = context.args, context.out
    plan = plan_of(context)
    recipe = plan.settings
    settings = Settings(n=recipe.evaluation_prompts, max_tokens=recipe.evaluation_tokens)
    # Both files are read first: a bad one must not be found after minutes of evaluation.
    drawn = await asyncio.to_thread(draw_sample, plan.recipe)
    suite = await asyncio.to_thread(load_suite, args.prompts, settings.n)
    out.say(
        f"sample: {len(drawn.train)} rows to train, {len(drawn.valid)} held out; "
        f"{len(suite.rows)} other prompts to evaluate"
    )
    async with context.store() as store:
        await ensure_base(store)
        async with context.engines(bulk=True) as engines:
            before = await measure(context, store, engines, BASE_PAIR, suite, settings)
        # The engine is stopped meanwhile: training needs its memory and cores.
        jobs = await launch(store, context.workspace, plan)
        jobs = await _trained(context, store, jobs)
        pair = await result_pair(store, [job.id for job in jobs])
        if pair is None:
            raise WaltzError(
                "The jobs succeeded, but the pair that they made is not in the store any more.",
                hint="See `waltzrl-tui pairs list`.",
            )
        async with context.engines(bulk=True) as engines:
            after = await measure(context, store, engines, pair.name, suite, settings)
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
    out.result(document, _text(document))
    return 0


def plan_of(context: Context) -> Stage1:
    """The training of both agents that the arguments ask for."""
    args = context.args
    plan = Stage1(
        recipe=recipe_of(args, args.path or bundled(STARTER)),
        epochs=args.epochs,
        quick=args.quick,
        name=args.name,
    )
    if args.n is None:
        plan = replace(plan, recipe=replace(plan.recipe, n=plan.settings.rows))
    return plan


async def _trained(context: Context, store: Store, jobs: list[JobRow]) -> list[JobRow]:
    """The jobs once all have succeeded.

    Raises:
        WaltzError: One has failed or was cancelled.
    """
    ids = [job.id for job in jobs]
    try:
        jobs = await follow(store, context.workspace, ids, context.out)
    except BaseException:
        still_going(context, ids)
        raise
    if error := failure(jobs):
        raise error
    return jobs


async def _verdicts(
    context: Context, store: Store, engines: Engines, pair: PairRow, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The trained feedback agent on the untrained base's drafts, half of which deserve a flag."""
    items = await asyncio.to_thread(read_items, Path(before["items_path"]))
    agent = await store.agents.get(pair.feedback)
    said = "the new feedback agent on the base's drafts"
    report = await judge_drafts(
        await engines.endpoint(store, agent),
        agent.prompt,
        items,
        on_item=lambda done: context.out.progress(said, done, len(items)),
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
    before, after = document["before"], document["after"]
    rows = []
    for name, key in FIGURES:
        was, now = before[key] or {}, after[key] or {}
        rows.append(
            (
                name,
                rate(was.get("final", was.get("first"))),
                rate(now.get("first")),
                rate(now.get("final")),
                str(now["first"]["n"]) if now else "–",
            )
        )
    rows.append(_verdict_row(document))
    pair = document["pair"]
    return "\n".join(
        [
            table(
                ("", f"before: {before['pair']}", "after: first reply", "after: final", "n"),
                rows,
                right={1, 2, 3, 4},
            ),
            "",
            "Never raising a flag would be right on "
            f"{rate(document['verdicts_on_base']['baseline_always_false'])} of the base's drafts.",
            f"{after['n']} prompts each, judge {after['judge']}. In brackets: 95 % Wilson "
            "intervals.",
            f"The whole run took {duration(document['seconds'])}. "
            f"The new pair is {pair}: waltzrl-tui chat --pair {pair}",
        ]
    )


def _verdict_row(document: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    was = document["before"]["label_accuracy"] or {}
    now = document["verdicts_on_base"]["label_accuracy"]
    return ("· on the base's drafts", rate(was.get("first")), rate(now), "–", str(now["n"]))
