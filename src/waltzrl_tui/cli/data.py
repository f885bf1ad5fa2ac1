"""`data profile` and `data sample`."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from waltzrl_tui.cli.command import Context
from waltzrl_tui.cli.layout import table
from waltzrl_tui.cli.profile_text import profile_text
from waltzrl_tui.cli.pull import keep_mapping
from waltzrl_tui.cli.samples import extended, recipe_of, roles_of, suites_of
from waltzrl_tui.cli.teacher import taught, teacher_of
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
from waltzrl_tui.training_data.rendering import (
    case_counts,
    conversation_rows,
    feedback_rows,
    feedback_writers,
    teaches_feedback,
    worth_learning,
)
from waltzrl_tui.training_data.teacher import Teacher, TeacherReport
from waltzrl_tui.training_data.teacher_text import PROMPT_VERSION
from waltzrl_tui.training_data.training_file import TrainingFile, TrainingRow, write_training
from waltzrl_tui.waltz.prompts import default_prompt

_COLUMN_ROWS = 1000


async def profile(context: Context) -> int:
    """`data profile PATH`."""
    if context.args.map is not None:
        await keep_mapping(context, context.args.path, context.args.map)
    stopping = threading.Event()

    def shown(rows: int) -> None:
        context.out.progress("reading", rows, 0, "rows")

    try:
        found = await asyncio.to_thread(
            _profiled,
            context.args.path,
            suites=suites_of(context.args),
            on_progress=shown,
            stop=stopping.is_set,
            bad_rows=context.args.bad_rows,
        )
    finally:
        stopping.set()
    document = found.to_json()
    if context.args.provider:
        document["waste_usd"] = await _waste_usd(context, found)
    context.out.result(document, profile_text(found, document.get("waste_usd")))
    return 0


async def _waste_usd(context: Context, found: Profile) -> dict[str, Any]:
    """What the profile's waste would cost at --provider."""
    # Plans read their catalogue, which profiles without a provider need not wait for.
    from waltzrl_tui.cli.plan import provider_named
    from waltzrl_tui.plans.catalogue import load_catalogue
    from waltzrl_tui.plans.model import PlanSettings
    from waltzrl_tui.plans.waste import price_waste

    args = context.args
    catalogue = await asyncio.to_thread(load_catalogue, context.workspace)
    settings = PlanSettings(epochs=args.epochs, provider=provider_named(args.provider, catalogue))
    async with context.store() as store:
        priced = await price_waste(store, context.workspace, found, settings)
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


async def sample(context: Context) -> int:
    """`data sample PATH --out DIR`."""
    args = context.args
    recipe, base_sha256 = recipe_of(args, args.path), ""
    roles = roles_of(args)
    teacher = await teacher_of(context)
    if args.extend is not None:
        recipe, base_sha256 = await extended(context, recipe)
    context.out.progress("sampling", 0, 0)
    drawn = await asyncio.to_thread(_draw, recipe, base_sha256)
    folder = Path(args.out).expanduser().absolute()
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
    report = await _teach(context, teacher, parts) if teacher is not None else None
    for part in parts:
        part.file = await asyncio.to_thread(
            write_training,
            folder / f"{part.role}-{part.split}.jsonl",
            part.rows,
            STYLES[args.for_provider],
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
        """What it was made by, for the store."""
        made: dict[str, Any] = {"prompt": default_prompt(self.role)}
        if self.role == "feedback":
            made["feedback_by"] = feedback_writers(self.rows)
        return {**made, "teacher": self.teacher} if self.teacher else made

    def to_json(self) -> dict[str, Any]:
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


async def _teach(context: Context, teacher: Teacher, parts: Sequence[_Part]) -> TeacherReport:
    """Have the feedback of all parts written, for one yes."""
    mine = [part for part in parts if part.role == "feedback"]
    written, report = await taught(context, teacher, [row for part in mine for row in part.rows])
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
        lines += ["", "nothing is held out: all prompts are near each other, so none can be"]
    if report is not None:
        lines += ["", report.words]
    lines += ["", f"sample {document['id']}, sha256 {document['recipe']['sha256']}"]
    return "\n".join(lines)
