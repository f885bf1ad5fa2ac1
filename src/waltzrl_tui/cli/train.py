"""`train`."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import follow
from waltzrl_tui.cli.jobs import finished, jobs_json, jobs_table
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of
from waltzrl_tui.cli.teacher import agree_to_teacher, teacher_of
from waltzrl_tui.datasets.sampling.sampling import Sample
from waltzrl_tui.local.prepare import foreseen_feedback
from waltzrl_tui.training.launch import Stage1, draw_sample, launch


async def train(context: Context) -> int:
    """`train PATH`: launch the jobs, and with --wait follow them to their end."""
    args = context.args
    if args.provider not in ("embedded", "local"):
        from waltzrl_tui.cli import remote

        return await remote.train(context)
    recipe, base_sha256 = recipe_of(args, args.path), ""
    if args.extend is not None:
        recipe, base_sha256 = await extended(context, recipe)
    teacher = await teacher_of(context)
    plan = Stage1(
        recipe=recipe,
        roles=roles_of(args),
        model=args.model,
        epochs=args.epochs,
        quick=args.quick,
        name=args.name,
        base_sha256=base_sha256,
        teacher=teacher,
    )
    if args.n is None and args.extend is None:
        plan = replace(plan, recipe=replace(plan.recipe, n=plan.settings.rows))
    drawn = await _agreed(context, plan) if teacher is not None else None
    async with context.store() as store:
        jobs = await launch(store, context.workspace, plan, drawn)
        ids = [job.id for job in jobs]
        if not args.wait:
            prefix = ids[0].partition("-")[0]
            context.out.result(jobs_json(jobs), jobs_table(jobs))
            context.out.say(f"\nThey go on without this terminal: waltzrl-tui jobs watch {prefix}")
            return 0
        try:
            jobs = await follow(store, context.workspace, ids, context.out)
        except BaseException:
            still_going(context, ids)
            raise
    return finished(context, jobs)


async def _agreed(context: Context, plan: Stage1) -> Sample:
    """The sample that is drawn, once what its teacher costs has its yes."""
    assert plan.teacher is not None
    context.out.progress("sampling", 0, 0)
    drawn = await asyncio.to_thread(draw_sample, plan.recipe, plan.base_sha256, plan.roles)
    rows = await asyncio.to_thread(
        foreseen_feedback,
        [*drawn.train, *drawn.valid],
        judged=plan.settings.judged,
        rollout_tokens=plan.settings.rollout_tokens,
    )
    await agree_to_teacher(context, plan.teacher, rows)
    return drawn


def still_going(context: Context, ids: list[str]) -> None:
    """Say that jobs outlive the command that was interrupted, and how to watch and stop them."""
    prefix = ids[0].partition("-")[0]
    context.out.say(
        f"The jobs {', '.join(ids)} go on.\n"
        f"  To watch them: waltzrl-tui jobs watch {prefix}\n"
        f"  To stop them: waltzrl-tui jobs cancel {prefix}"
    )
