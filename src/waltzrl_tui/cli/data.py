"""`data`: datasets profiled, downloaded and sampled."""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.options import (
    Options,
    SampleOptions,
    TeacherOptions,
    add_epochs,
    add_role,
    add_sample_options,
    add_suites,
    add_teacher_options,
    add_yes,
)
from waltzrl_tui.cli.parser import subcommand, subcommands
from waltzrl_tui.cli.parser_values import count
from waltzrl_tui.cli.profile_text import profile_text
from waltzrl_tui.cli.pull import PullOptions, pull, store_mapping
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of, suites_of
from waltzrl_tui.datasets.contradictions import contradiction_warning
from waltzrl_tui.datasets.profiling.profile import Profile
from waltzrl_tui.datasets.profiling.profile import profile as make_profile
from waltzrl_tui.datasets.reading.read import Dataset, open_dataset
from waltzrl_tui.datasets.reading.rows import BadRow, Row
from waltzrl_tui.datasets.sampling.sampling import Sample, SampleRecipe, draw
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.local.weights import file_sha256
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store import Store
from waltzrl_tui.store.rows import Split
from waltzrl_tui.training_data.provider_formats import STYLES
from waltzrl_tui.training_data.training_file import TrainingFile, TrainingRow, write_training
from waltzrl_tui.waltz.prompts import default_prompt

if TYPE_CHECKING:
    from waltzrl_tui.training_data.teacher import Teacher, TeacherReport

_COLUMN_ROWS = 1000


@dataclass(frozen=True, kw_only=True)
class ProfileOptions(Options):
    """The options of `data profile`."""

    path: str
    suite: tuple[str, ...]
    bad_rows: str | None
    map: str | None
    provider: str
    epochs: float


@dataclass(frozen=True, kw_only=True)
class DrawOptions(SampleOptions, TeacherOptions):
    """The options of `data sample`."""

    path: str
    suite: tuple[str, ...]
    extend: int | None
    for_provider: str
    out: str


def build(parser: argparse.ArgumentParser) -> None:
    """Add the commands of the group."""
    data = subcommands(parser)
    profiled = subcommand(
        data,
        "profile",
        "rows, bad rows, tokens, duplicates, labels, refusals, leaks, personal data",
        ProfileOptions,
        profile,
    )
    profiled.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    add_suites(profiled)
    profiled.add_argument(
        "--bad-rows", metavar="FILE", help="write every bad row, with line and reason, as JSONL"
    )
    profiled.add_argument(
        "--map",
        metavar="PART=FIELD,…",
        help="which field is the prompt, reply, harm, category, context or reply_label (whether "
        "the reply is safe or wanted); stored for this file "
        "(harm==harmful: all rows are; harm=FIELD,harmful=VALUE: that value means harmful; "
        "guess: drop the stored mapping)",
    )
    profiled.add_argument(
        "--provider", metavar="P", default="", help="price the waste there, in USD"
    )
    add_epochs(profiled, "(3)", default=3.0)
    pulled = subcommand(
        data, "pull", "download a dataset from the Hugging Face hub into data/", PullOptions, pull
    )
    pulled.add_argument("repo", metavar="REPO", help="OWNER/NAME")
    pulled.add_argument("--split", metavar="S", help="default: train, or the only one")
    pulled.add_argument("--config", metavar="C", help="one of the dataset's configurations")
    pulled.add_argument("--revision", metavar="R", help="a branch, tag or commit (default: newest)")
    pulled.add_argument("--out", metavar="NAME", help="the name of the file in data/")
    drawn = subcommand(data, "sample", "write the training files of a sample", DrawOptions, sample)
    drawn.add_argument("path", metavar="PATH", help="a dataset (JSONL, JSON, CSV, Parquet, gz)")
    add_role(drawn)
    add_sample_options(drawn)
    add_suites(drawn)
    drawn.add_argument(
        "--extend",
        type=count,
        metavar="SAMPLE",
        help="grow this earlier sample to -n rows; its own rows keep their order and split",
    )
    drawn.add_argument(
        "--for",
        dest="for_provider",
        choices=tuple(STYLES),
        default="local",
        help="the provider whose file format is written (local)",
    )
    drawn.add_argument("--out", metavar="DIR", required=True, help="the folder for the files")
    add_teacher_options(drawn)
    add_yes(drawn, "accept what the teacher costs")


async def profile(context: Context, options: ProfileOptions) -> int:
    """`data profile PATH`."""
    if options.map is not None:
        await store_mapping(context, options.path, options.map)
    stopping = threading.Event()

    def shown(rows: int) -> None:
        context.out.progress("reading", rows, 0, "rows")

    try:
        figures = await asyncio.to_thread(
            _profiled,
            options.path,
            suites=suites_of(options.suite),
            on_progress=shown,
            stop=stopping.is_set,
            bad_rows=options.bad_rows,
        )
    finally:
        stopping.set()
    document = figures.to_json()
    if options.provider:
        document["waste_usd"] = await _waste_usd(context, options, figures)
    context.out.result(document, profile_text(figures, document.get("waste_usd")))
    return 0


async def _waste_usd(context: Context, options: ProfileOptions, figures: Profile) -> dict[str, Any]:
    """The cost of the profile's waste at --provider."""
    # Plans read their catalogue, which profiles without a provider need not wait for.
    from waltzrl_tui.cli.plan import provider_named
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.plans.model import PlanSettings
    from waltzrl_tui.plans.waste import price_waste

    catalogue = await asyncio.to_thread(load_catalogue, context.workspace)
    settings = PlanSettings(
        epochs=options.epochs, provider=provider_named(options.provider, catalogue)
    )
    async with context.store() as store:
        priced = await price_waste(store, context.workspace, figures, settings)
    return {
        "provider": settings.provider,
        "epochs": settings.epochs,
        "roles": list(priced.settings.roles) if priced else [],
        "usd": priced.usd if priced else None,
    }


def _profiled(path: str, *, bad_rows: str | None, **options: Any) -> Profile:
    if bad_rows is None:
        return make_profile(path, **options)
    target = Path(bad_rows).expanduser()
    try:
        with target.open("x", encoding="utf-8") as out:

            def write(row: BadRow) -> None:
                out.write(json.dumps({"line": row.line, "reason": row.reason}) + "\n")

            try:
                return make_profile(path, on_bad=write, **options)
            except BaseException:
                target.unlink()
                raise
    except FileExistsError:
        raise UsageError(
            f"{bad_rows} exists already.", hint="Name a new file for the bad rows."
        ) from None
    except OSError as error:
        raise DatasetError(
            f"The bad rows cannot be written to {bad_rows}: {error.strerror or error}.",
            hint="Choose another folder.",
        ) from error


async def sample(context: Context, options: DrawOptions) -> int:
    """`data sample PATH --out DIR`."""
    from waltzrl_tui.cli.teacher import teacher_of

    recipe, base_sha256 = recipe_of(options, options.path, options.suite), ""
    roles = roles_of(options.role)
    teacher = await teacher_of(options)
    if options.extend is not None:
        recipe, base_sha256 = await extended(context, recipe, options.extend)
    context.out.progress("sampling", 0, 0)
    drawn = await asyncio.to_thread(_draw, recipe, base_sha256)
    folder = Path(options.out).expanduser().absolute()
    parts: list[_Part] = []
    left_out = {"no_good_reply": 0, "unlabelled": 0}
    splits: tuple[tuple[Split, list[Row]], ...] = (("train", drawn.train), ("valid", drawn.valid))
    for role in roles:
        reason = "no_good_reply" if role == "conversation" else "unlabelled"
        for split, rows in splits:
            usable, dropped = _usable(role, rows)
            left_out[reason] += dropped
            if split == "train" and not usable:
                raise _nothing_for(role, recipe.source)
            if usable:
                rendered = await asyncio.to_thread(_rendered, role, usable)
                parts.append(_Part(role, split, rendered))
    report = None
    if teacher is not None:
        report = await _teach(context, teacher, parts, yes=options.yes)
    for part in parts:
        part.file = await asyncio.to_thread(
            write_training,
            folder / f"{part.role}-{part.split}.jsonl",
            part.rows,
            STYLES[options.for_provider],
        )
    async with context.store() as store:
        number = await _record(store, recipe, drawn, parts)
    document = {
        "id": number,
        "recipe": {**recipe.to_json(), "sha256": drawn.sha256},
        "files": [part.to_json() for part in parts if part.split == "train"],
        "valid_files": [part.to_json() for part in parts if part.split == "valid"],
        "dropped": {**drawn.dropped, **left_out},
        "contradicting_prompts": drawn.contradicting,
    }
    if report is not None:
        document["teacher"] = report.to_json()
    context.out.result(document, _sample_text(document, report))
    return 0


@dataclass
class _Part:
    """One file that is to be written."""

    role: Role
    split: Split
    rows: list[TrainingRow]
    file: TrainingFile = field(init=False)
    teacher: dict[str, str] = field(default_factory=dict)

    @property
    def recipe(self) -> dict[str, Any]:
        """What it was recipe by, for the store."""
        from waltzrl_tui.training_data.rendering import feedback_writers

        recipe: dict[str, Any] = {"prompt": default_prompt(self.role)}
        if self.role == "feedback":
            recipe["feedback_by"] = feedback_writers(self.rows)
        return {**recipe, "teacher": self.teacher} if self.teacher else recipe

    def to_json(self) -> dict[str, Any]:
        from waltzrl_tui.training_data.rendering import case_counts, feedback_writers

        document: dict[str, Any] = {
            "role": self.role,
            "path": str(self.file.path),
            "rows": self.file.rows,
            "tokens": self.file.tokens,
            "tokens_exact": False,
            "sha256": self.file.sha256,
        }
        if self.role == "feedback":
            document["cases"] = case_counts(self.rows)
            document["feedback_by"] = feedback_writers(self.rows)
        return document


async def _teach(
    context: Context, teacher: Teacher, parts: Sequence[_Part], *, yes: bool
) -> TeacherReport:
    """Have the feedback of all parts written, for one yes."""
    from waltzrl_tui.cli.teacher import taught
    from waltzrl_tui.training_data.teacher_text import PROMPT_VERSION

    mine = [part for part in parts if part.role == "feedback"]
    rows = [row for part in mine for row in part.rows]
    written, report = await taught(context, teacher, rows, yes=yes)
    coming = iter(written)
    for part in mine:
        part.rows = list(islice(coming, len(part.rows)))
        part.teacher = {"model": teacher.model, "prompt": PROMPT_VERSION}
    return report


def _draw(recipe: SampleRecipe, base_sha256: str) -> Sample:
    dataset = open_dataset(recipe.source)
    _check_column(dataset, recipe.balance)
    return draw(dataset, recipe, base_sha256=base_sha256)


def _check_column(dataset: Dataset, column: str | None) -> None:
    if column in (None, "harm", "category"):
        return
    first = [row for row in islice(dataset, _COLUMN_ROWS) if isinstance(row, Row)]
    known = {name for row in first for name in row.extra}
    if column not in known:
        raise UsageError(
            f"{dataset.path} has no column {column!r} to balance.",
            hint=f"Choose one of: {', '.join(['harm', 'category', *sorted(known), 'none'])}.",
        )


def _usable(role: Role, rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows that can teach the role, and how many cannot."""
    from waltzrl_tui.training_data.rendering import teaches_feedback, worth_learning

    teaches = worth_learning if role == "conversation" else teaches_feedback
    usable = [row for row in rows if row.reply and teaches(row)]
    return usable, len(rows) - len(usable)


def _nothing_for(role: Role, source: str) -> DatasetError:
    if role == "conversation":
        return DatasetError(
            f"{source} has no replies that a conversation agent could learn.",
            hint="Give rows with a reply that neither complies with harm nor refuses without need.",
        )
    return DatasetError(
        f"{source} has no rows with a reply and a label that a feedback agent could learn from.",
        hint='Give rows a "reply" and a "harm" of "harmful" or "benign", or take --role '
        "conversation.",
    )


def _rendered(role: Role, rows: Sequence[Row]) -> list[TrainingRow]:
    from waltzrl_tui.training_data.rendering import conversation_rows, feedback_rows

    version = default_prompt(role)
    if role == "conversation":
        # Revisions need replies of the base to revise; training samples those first.
        return conversation_rows(rows, {}, version, revisions=0.0)
    return feedback_rows(rows, {}, version)


async def _record(store: Store, recipe: SampleRecipe, drawn: Sample, parts: Sequence[_Part]) -> int:
    source_sha256 = await asyncio.to_thread(file_sha256, Path(recipe.source))
    async with store.transaction():
        row = await store.samples.add(
            source=recipe.source,
            source_sha256=source_sha256,
            recipe=recipe.to_json(),
            sha256=drawn.sha256,
            rows=len(drawn.train) + len(drawn.valid),
        )
        for part in sorted(parts, key=lambda part: part.split):
            await store.samples.add_file(
                row.id,
                role=part.role,
                split=part.split,
                path=part.file.path,
                rows=part.file.rows,
                tokens=part.file.tokens,
                sha256=part.file.sha256,
                recipe=part.recipe,
            )
    return row.id


def _sample_text(document: dict[str, Any], report: TeacherReport | None) -> str:
    rows = [
        (each["role"], split, f"{each['rows']:,}", f"about {each['tokens']:,}", each["path"])
        for split, name in (("train", "files"), ("valid", "valid_files"))
        for each in document[name]
    ]
    dropped = {name.replace("_", " "): n for name, n in document["dropped"].items() if n}
    lines = [table(("role", "split", "rows", "tokens", "file"), rows, right={2, 3})]
    if dropped:
        lines += ["", "left out: " + ", ".join(f"{n:,} {name}" for name, n in dropped.items())]
    if prompts := document["contradicting_prompts"]:
        lines += ["", f"! {contradiction_warning(prompts)}"]
    if document["recipe"]["valid"] and not document["valid_files"]:
        lines += ["", "nothing is held out: all prompts are near duplicates of each other"]
    if report is not None:
        lines += ["", report.words]
    lines += ["", f"sample {document['id']}, sha256 {document['recipe']['sha256']}"]
    return "\n".join(lines)
