"""Which rows a command takes, by its options."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.options import SampleOptions
from waltzrl_tui.datasets.profiling.contamination import BUNDLED
from waltzrl_tui.datasets.sampling.sampling import SampleRecipe
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.local.weights import file_sha256
from waltzrl_tui.records.roles import Role


def recipe_of(
    options: SampleOptions, source: str | Path, suites: Sequence[str] = ()
) -> SampleRecipe:
    """The recipe that the options of a command ask for.

    Args:
        suites: Evaluation prompts to look for among the rows, beside the bundled ones.

    Raises:
        UsageError: A value is out of its range.
    """
    return SampleRecipe(
        source=str(Path(source).expanduser().absolute()),
        n=options.n,
        seed=options.seed,
        dedupe=options.dedupe,
        balance=None if options.balance == "none" else options.balance,
        valid=options.valid,
        where=options.where,
        suites=suites_of(suites),
    )


def suites_of(paths: Sequence[str]) -> tuple[str, ...]:
    """The evaluation suites that rows are compared with: the bundled ones and those of --suite."""
    return (BUNDLED, *(str(Path(path).expanduser().absolute()) for path in paths))


async def extended(context: Context, recipe: SampleRecipe, number: int) -> tuple[SampleRecipe, str]:
    """The recipe that grows the recorded sample `number`, and the hash of that sample.

    Raises:
        DatasetError: The sample was drawn from another file.
        NotFoundError: There is no such sample.
        UsageError: An option differs from the sample's own.
    """
    async with context.store() as store:
        recorded = await store.samples.get(number)
    base = SampleRecipe.from_json({**recorded.recipe, "source": recipe.source})
    plain = SampleRecipe(recipe.source, suites=(BUNDLED,))
    for name in ("seed", "dedupe", "balance", "valid", "where", "suites"):
        value = getattr(recipe, name)
        if value not in (getattr(plain, name), getattr(base, name)):
            option = name.removesuffix("s") if name == "suites" else name
            raise UsageError(
                f"Sample {number} was drawn with another --{option}.",
                hint=f"Leave --{option} out: a sample is extended with its own.",
            )
    if await asyncio.to_thread(file_sha256, Path(recipe.source)) != recorded.source_sha256:
        raise DatasetError(
            f"{recipe.source} is not the file that sample {number} was drawn from, or it changed.",
            hint="Give the same file, or draw a new sample.",
        )
    return base.extended(recipe.n), recorded.sha256


def roles_of(role: str) -> tuple[Role, ...]:
    """The roles that --role names."""
    return ("conversation", "feedback") if role == "both" else (cast("Role", role),)
