"""`train`."""

from __future__ import annotations

from dataclasses import replace

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.data import recipe_of, roles_of
from waltzrl_tui.cli.follow import follow
from waltzrl_tui.cli.jobs import finished, jobs_json, jobs_table
from waltzrl_tui.stage1 import Stage1, launch


async def train(context: Context) -> int:
    """`train PATH`: launch the jobs, and with --wait follow them to their end."""
    args = context.args
    plan = Stage1(
        recipe=recipe_of(args, args.path),
        roles=roles_of(args),
        model=args.model,
        epochs=args.epochs,
        quick=args.quick,
        name=args.name,
    )
    if args.n is None:
        plan = replace(plan, recipe=replace(plan.recipe, n=plan.settings.rows))
    async with context.store() as store:
        jobs = await launch(store, context.workspace, plan)
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


def still_going(context: Context, ids: list[str]) -> None:
    """Say that jobs outlive the command that was interrupted, and how to watch and stop them."""
    prefix = ids[0].partition("-")[0]
    context.out.say(
        f"The jobs {', '.join(ids)} go on.\n"
        f"  To watch them: waltzrl-tui jobs watch {prefix}\n"
        f"  To stop them: waltzrl-tui jobs cancel {prefix}"
    )
