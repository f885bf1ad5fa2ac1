"""`train`: agents trained on a dataset, here or at a provider."""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.follow import finished, follow
from waltzrl_tui.cli.jobs_text import jobs_json, jobs_table
from waltzrl_tui.cli.options import (
    SampleOptions,
    TeacherOptions,
    add_epochs,
    add_provider_url,
    add_role,
    add_sample_options,
    add_teacher_options,
    add_yes,
)
from waltzrl_tui.cli.parser import command
from waltzrl_tui.cli.parser_values import count, usd
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of
from waltzrl_tui.datasets.sampling.sampling import Sample
from waltzrl_tui.store import JobRow, Store

if TYPE_CHECKING:
    from waltzrl_tui.training.launch import Stage1


@dataclass(frozen=True, kw_only=True)
class TrainOptions(SampleOptions, TeacherOptions):
    """The options of `train`."""

    path: str
    provider: str
    provider_url: str
    model: str
    extend: int | None
    epochs: float | None
    name: str
    quick: bool
    size: Literal["small", "default", "large"]
    method: Literal["sft", "dpo"]
    budget: float | None
    wait: bool


def build(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    command(parser, TrainOptions, train)
    parser.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    parser.add_argument(
        "--provider",
        default="embedded",
        metavar="P",
        help="where: embedded (also called local, the default), together, openai, or one that "
        "a package adds",
    )
    parser.add_argument("--model", default="", metavar="M", help="base model, by its name there")
    add_role(parser)
    add_sample_options(
        parser,
        rows="rows (default: as many as the recipe takes; all at a provider or with --extend)",
    )
    parser.add_argument(
        "--extend",
        type=count,
        metavar="SAMPLE",
        help="train on this earlier sample, grown to -n rows; its own rows keep their order and "
        "split",
    )
    add_teacher_options(parser)
    add_epochs(parser, "passes over the rows (default: the recipe's; 3 at a provider)")
    parser.add_argument("--name", default="", help="the name of the agents and the pair")
    parser.add_argument("--quick", action="store_true", help="a short training, to see it work")
    parser.add_argument(
        "--size",
        choices=("small", "default", "large"),
        default="default",
        help="of the base model at a provider, without --model",
    )
    parser.add_argument(
        "--method", choices=("sft", "dpo"), default="sft", help="training method (sft)"
    )
    parser.add_argument("--budget", type=usd, metavar="USD", help="launch nothing that costs more")
    add_yes(parser, "accept the price without being asked")
    add_provider_url(parser)
    parser.add_argument("--wait", action="store_true", help="wait until the jobs have ended")


async def train(context: Context, options: TrainOptions) -> int:
    """`train PATH`: launch the jobs, and with --wait follow them to their end."""
    from waltzrl_tui.cli.teacher import teacher_of
    from waltzrl_tui.training.launch import Stage1, launch

    if options.provider not in ("embedded", "local"):
        from waltzrl_tui.cli import remote

        return await remote.train(context, options)
    recipe, base_sha256 = recipe_of(options, options.path), ""
    if options.extend is not None:
        recipe, base_sha256 = await extended(context, recipe, options.extend)
    teacher = await teacher_of(options)
    plan = Stage1(
        recipe=recipe,
        roles=roles_of(options.role),
        model=options.model,
        epochs=options.epochs,
        quick=options.quick,
        name=options.name,
        base_sha256=base_sha256,
        teacher=teacher,
    )
    if options.n is None and options.extend is None:
        plan = replace(plan, recipe=replace(plan.recipe, n=plan.settings.rows))
    drawn = await _agreed(context, plan, yes=options.yes) if teacher is not None else None
    async with context.store() as store:
        jobs = await launch(store, context.workspace, plan, drawn)
        ids = [job.id for job in jobs]
        if not options.wait:
            prefix = ids[0].partition("-")[0]
            context.out.result(jobs_json(jobs), jobs_table(jobs))
            context.out.say(
                f"\nThey continue without this terminal. Follow: waltzrl-tui jobs watch {prefix}"
            )
            return 0
        jobs = await follow_or_leave(context, store, ids)
    return finished(context, jobs)


async def _agreed(context: Context, plan: Stage1, *, yes: bool) -> Sample:
    """The sample, drawn before the user is asked to pay its teacher."""
    from waltzrl_tui.cli.teacher import agree_to_teacher
    from waltzrl_tui.local.prepare import foreseen_feedback
    from waltzrl_tui.training.launch import draw_sample

    assert plan.teacher is not None
    context.out.progress("sampling", 0, 0)
    drawn = await asyncio.to_thread(draw_sample, plan.recipe, plan.base_sha256, plan.roles)
    rows = await asyncio.to_thread(
        foreseen_feedback,
        [*drawn.train, *drawn.valid],
        judged=plan.settings.judged,
        rollout_tokens=plan.settings.rollout_tokens,
    )
    await agree_to_teacher(context, plan.teacher, rows, yes=yes)
    return drawn


async def follow_or_leave(context: Context, store: Store, ids: list[str]) -> list[JobRow]:
    """The jobs once all have ended. They outlive an interrupted command, which says so."""
    try:
        return await follow(store, context.workspace, ids, context.out)
    except BaseException:
        prefix = ids[0].partition("-")[0]
        context.out.say(
            f"Still running: {', '.join(ids)}.\n"
            f"  Watch: waltzrl-tui jobs watch {prefix}\n"
            f"  Stop: waltzrl-tui jobs cancel {prefix}"
        )
        raise
