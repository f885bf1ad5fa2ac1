"""Which rows a command takes, by its options. Light: commands that only price import it."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from pathlib import Path

from waltzrl_tui.cli.command import Context
from waltzrl_tui.datasets.profiling.contamination import BUNDLED
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.local.weights import file_sha256
from waltzrl_tui.records.roles import Role


def recipe_of(args: Namespace, source: str | Path) -> SampleRecipe:
    """The recipe that the options of a command ask for.

    Raises:
        UsageError: A value is out of its range.
    """
    return SampleRecipe(
        source=str(Path(source).expanduser().absolute()),
        n=args.n,
        seed=args.seed,
        dedupe=args.dedupe,
        balance=None if args.balance == "none" else args.balance,
        valid=args.valid,
        where=args.where,
        suites=suites_of(args),
    )


def suites_of(args: Namespace) -> tuple[str, ...]:
    """The evaluation suites that a command compares rows with."""
    named = [str(Path(each).expanduser().absolute()) for each in getattr(args, "suite", ())]
    return (BUNDLED, *named)


async def extended(context: Context, asked: SampleRecipe) -> tuple[SampleRecipe, str]:
    """The recipe that grows a recorded sample, and the hash of that sample."""
    number = context.args.extend
    async with context.store() as store:
        recorded = await store.samples.get(number)
    base = SampleRecipe.from_json({**recorded.recipe, "source": asked.source})
    plain = SampleRecipe(asked.source, suites=(BUNDLED,))
    for name in ("seed", "dedupe", "balance", "valid", "where", "suites"):
        value = getattr(asked, name)
        if value not in (getattr(plain, name), getattr(base, name)):
            option = name.removesuffix("s") if name == "suites" else name
            raise UsageError(
                f"Sample {number} was drawn with another --{option}.",
                hint=f"Leave --{option} out: a sample is extended with its own.",
            )
    if await asyncio.to_thread(file_sha256, Path(asked.source)) != recorded.source_sha256:
        raise DatasetError(
            f"{asked.source} is not the file that sample {number} was drawn from, or it changed.",
            hint="Give the same file, or draw a new sample.",
        )
    return base.extended(asked.n), recorded.sha256


def roles_of(args: Namespace) -> tuple[Role, ...]:
    """The roles that --role names."""
    return ("conversation", "feedback") if args.role == "both" else (args.role,)
