"""The options of a teacher that writes feedback, and the yes to what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from waltzrl_tui.cli.addresses import check_variable, checked_address
from waltzrl_tui.cli.agree import agree, approve_typed
from waltzrl_tui.cli.command import Context
from waltzrl_tui.errors import UsageError
from waltzrl_tui.keys import find_key
from waltzrl_tui.network import on_this_machine
from waltzrl_tui.training_data.teacher import Teacher, TeacherQuote, TeacherReport, quote, teach
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.workspace import Workspace


def teacher_cache(workspace: Workspace) -> Path:
    """Where the answers of teachers are kept."""
    return workspace.cache / "teacher"


async def teacher_of(context: Context) -> Teacher | None:
    """The teacher that the options name.

    Raises:
        UsageError: A part of it is missing, or its key is not to be found.
    """
    args = context.args
    if not args.teacher:
        for name in ("model", "key_env", "price", "budget"):
            if getattr(args, f"teacher_{name}") not in ("", None):
                option = f"--teacher-{name.replace('_', '-')}"
                raise UsageError(f"{option} goes with --teacher URL.", hint="Give both, or none.")
        return None
    if args.role == "conversation":
        raise UsageError(
            "--teacher writes feedback, of which --role conversation has none.",
            hint="Take --role feedback or --role both.",
        )
    url = checked_address("--teacher", args.teacher, "--teacher-key-env")
    if not args.teacher_model:
        raise UsageError("The teacher has no model.", hint="Name it with --teacher-model.")
    check_variable("--teacher-key-env", args.teacher_key_env)
    if args.teacher_price is None and not on_this_machine(url):
        raise UsageError(
            "What the teacher costs is not known.",
            hint="Give --teacher-price IN,OUT in USD per 1M tokens (0,0 where it costs nothing).",
        )
    usd_in, usd_out = args.teacher_price or (0.0, 0.0)
    if (usd_in or usd_out) and args.teacher_budget is None:
        raise UsageError(
            "A teacher with a price needs a budget.", hint="Give --teacher-budget USD."
        )
    variable = args.teacher_key_env
    if variable and not await asyncio.to_thread(find_key, variable):
        raise UsageError(
            "The variable that --teacher-key-env names is not set.",
            hint="Set it to the teacher's key, or keep the key with `waltzrl-tui doctor "
            "--set-key VARIABLE`.",
        )
    if variable:
        how = f"waltzrl-tui agents approve --key-env {variable} --at {url}"
        await approve_typed("--teacher", variable, url, how)
    return Teacher(url, args.teacher_model, variable, usd_in, usd_out, args.teacher_budget or 0.0)


async def agree_to_teacher(context: Context, teacher: Teacher, rows: Sequence[TrainingRow]) -> None:
    """Say what it costs to have the feedback of `rows` written; what costs wants a yes.

    Raises:
        UsageError: Nobody can be asked.
        WaltzError: The answer is no.
    """
    quoted = await asyncio.to_thread(quote, rows, teacher, teacher_cache(context.workspace))
    said = _quote_text(teacher, quoted)
    if quoted.most_usd:
        await agree(context, said)
    else:
        context.out.say(said)


async def taught(
    context: Context, teacher: Teacher, rows: Sequence[TrainingRow]
) -> tuple[list[TrainingRow], TeacherReport]:
    """Say what it costs, ask, and have the teacher write the feedback of `rows`."""
    await agree_to_teacher(context, teacher, rows)

    async def shown(done: int, whole: int, usd: float) -> None:
        context.out.progress("teaching", done, whole, f"${usd:.4f}")

    made = await teach(rows, teacher, teacher_cache(context.workspace), on_answer=shown)
    context.out.status.clear()
    return made


def _quote_text(teacher: Teacher, quoted: TeacherQuote) -> str:
    said = f"The teacher {teacher.model} is asked for the feedback of {quoted.rows:,} rows"
    if quoted.kept:
        said += f" ({quoted.kept:,} more are kept from earlier)"
    if not quoted.most_usd:
        return f"{said}, which costs nothing."
    said += f": about ${quoted.usd:.4f}, at most ${quoted.most_usd:.4f}."
    if quoted.usd > teacher.budget_usd:
        said += f" The budget of ${teacher.budget_usd:.4f} ends it before; the rest is templated."
    return said
