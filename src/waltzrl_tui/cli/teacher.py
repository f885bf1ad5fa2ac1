"""The teacher that writes feedback, from its options, and the yes to its price."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from waltzrl_tui.cli.addresses import check_variable, checked_address
from waltzrl_tui.cli.agree import agree, approve_typed
from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import TeacherOptions
from waltzrl_tui.errors import UsageError
from waltzrl_tui.keys import find_key
from waltzrl_tui.network import on_this_machine
from waltzrl_tui.training_data.teacher import Teacher, TeacherQuote, TeacherReport, quote, teach
from waltzrl_tui.training_data.training_file import TrainingRow
from waltzrl_tui.words import money, plural
from waltzrl_tui.workspace import Workspace


def teacher_cache(workspace: Workspace) -> Path:
    """Where the answers of teachers are kept."""
    return workspace.cache / "teacher"


async def teacher_of(options: TeacherOptions) -> Teacher | None:
    """The teacher that the options name.

    Raises:
        UsageError: An option is missing or does not fit, or there is no key.
    """
    if not options.teacher:
        for option, value in (
            ("--teacher-model", options.teacher_model),
            ("--teacher-key-env", options.teacher_key_env),
            ("--teacher-price", options.teacher_price),
            ("--teacher-budget", options.teacher_budget),
        ):
            if value not in ("", None):
                raise UsageError(f"{option} goes with --teacher URL.", hint="Give both, or none.")
        return None
    if options.role == "conversation":
        raise UsageError(
            "--teacher writes feedback, of which --role conversation has none.",
            hint="Take --role feedback or --role both.",
        )
    url = checked_address("--teacher", options.teacher, "--teacher-key-env")
    if not options.teacher_model:
        raise UsageError("The teacher has no model.", hint="Name it with --teacher-model.")
    check_variable("--teacher-key-env", options.teacher_key_env)
    if options.teacher_price is None and not on_this_machine(url):
        raise UsageError(
            "The price of the teacher is not known.",
            hint="Give --teacher-price IN,OUT in USD per 1M tokens (0,0 where it costs nothing).",
        )
    usd_in, usd_out = options.teacher_price or (0.0, 0.0)
    if (usd_in or usd_out) and options.teacher_budget is None:
        raise UsageError(
            "A teacher with a price needs a budget.", hint="Give --teacher-budget USD."
        )
    variable = options.teacher_key_env
    if variable and not await asyncio.to_thread(find_key, variable):
        raise UsageError(
            "The variable that --teacher-key-env names is not set.",
            hint="Set it to the teacher's key, or store the key with `waltzrl-tui doctor "
            "--set-key VARIABLE`.",
        )
    if variable:
        how = f"waltzrl-tui agents approve --key-env {variable} --at {url}"
        await approve_typed("--teacher", variable, url, how)
    return Teacher(
        url=url,
        model=options.teacher_model,
        key_env=variable,
        usd_in=usd_in,
        usd_out=usd_out,
        budget_usd=options.teacher_budget or 0.0,
    )


async def agree_to_teacher(
    context: Context, teacher: Teacher, rows: Sequence[TrainingRow], *, yes: bool
) -> None:
    """Show what the feedback of `rows` costs, and return only after a yes if it costs anything.

    Raises:
        UsageError: There is no terminal to ask at.
        WaltzError: The answer is no.
    """
    quoted = await asyncio.to_thread(quote, rows, teacher, teacher_cache(context.workspace))
    proposal = _quote_text(teacher, quoted)
    if quoted.most_usd:
        await agree(context, proposal, yes=yes)
    else:
        context.out.say(proposal)


async def taught(
    context: Context, teacher: Teacher, rows: Sequence[TrainingRow], *, yes: bool
) -> tuple[list[TrainingRow], TeacherReport]:
    """Show the price, ask, and have the teacher write the feedback of `rows`."""
    await agree_to_teacher(context, teacher, rows, yes=yes)

    async def shown(done: int, whole: int, usd: float) -> None:
        context.out.progress("teaching", done, whole, money(usd))

    rows_and_report = await teach(rows, teacher, teacher_cache(context.workspace), on_answer=shown)
    context.out.status.clear()
    return rows_and_report


def _quote_text(teacher: Teacher, quoted: TeacherQuote) -> str:
    text = f"The teacher {teacher.model} writes the feedback of {plural(quoted.rows, 'row')}"
    if quoted.kept:
        text += f" ({quoted.kept:,} more are stored from earlier)"
    if not quoted.most_usd:
        return f"{text}, which costs nothing."
    text += f": about {money(quoted.usd)}, at most {money(quoted.most_usd)}."
    if quoted.usd > teacher.budget_usd:
        text += f" It stops at the budget of {money(teacher.budget_usd)}; templates do the rest."
    return text
