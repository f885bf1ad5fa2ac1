"""Create runs in the store, load their results, and record finished ones."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from waltzrl_tui.errors import UsageError
from waltzrl_tui.evaluation.agents_of_run import agents_of, pins_of
from waltzrl_tui.evaluation.items import ItemsHeader, write_items
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.spec import REPLY_TOKENS, RunSpec, suite_refs
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.evaluation.suites import Suite
from waltzrl_tui.store import Store
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS
from waltzrl_tui.workspace import Workspace

_FRESH_BYTES = 6


def judge_name(name: str) -> str:
    """The judge for a user's input: "refusal" is the refusal detector."""
    return DETECTOR if name in ("", "refusal", "detector", DETECTOR) else name


async def make_spec(
    store: Store,
    suites: Sequence[Suite],
    subjects: Sequence[Subject],
    judges: Sequence[str] = (),
    *,
    sample_size: int | None = None,
    seed: int = 0,
    max_tokens: int = REPLY_TOKENS,
    verdict_tokens: int = VERDICT_TOKENS,
    at_once: int | None = None,
    limits: Mapping[str, int] | None = None,
    fresh: bool = False,
) -> RunSpec:
    """The spec of a new run.

    Args:
        judges: Names of agents, or `refusal`; the refusal detector alone when empty.
        max_tokens, verdict_tokens: Limits of one reply and of one verdict.
        sample_size: Prompts to draw from each suite with `seed`; None: all.

    Raises:
        NotFoundError: An agent is not in the store.
        UsageError: Two subjects have the same name, or a judge is named twice.
    """
    names = tuple(judge_name(name) for name in judges) or (DETECTOR,)
    for noun, values in (("judge", names), ("pair", [subject.name for subject in subjects])):
        repeated = [value for value in values if list(values).count(value) > 1]
        if repeated:
            raise UsageError(
                f"The {noun} {one_line(repeated[0])} is named twice.", hint="Name it once."
            )
    spec = RunSpec(
        suites=suite_refs(suites, sample_size, seed),
        subjects=tuple(subjects),
        judges=names,
        max_tokens=max_tokens,
        verdict_tokens=verdict_tokens,
        at_once=at_once,
        limits=dict(limits or {}),
        fresh=fresh,
        salt=secrets.token_hex(_FRESH_BYTES) if fresh else "",
    )
    pins = await pins_of(await agents_of(store, spec.agents))
    return spec.model_copy(update={"pins": pins})


async def begin(store: Store, spec: RunSpec) -> RunRow:
    """The unfinished run of `spec`, else a new one."""
    run = await store.runs.unfinished(spec.key())
    if run is not None:
        return run
    return await store.runs.add(spec.key(), spec.model_dump(), spec.total)


def lock_path(workspace: Workspace, run_id: int) -> Path:
    """The file that the process working on a run locks."""
    return workspace.state / "evaluations" / f"run-{run_id}.lock"


async def load_results(store: Store, run: RunRow) -> RunResults:
    """The finished items of a run, with the labels by hand."""
    results = RunResults.of(run)
    results.settle(await store.runs.labels())
    rows = await store.runs.items(run.id)
    await asyncio.to_thread(results.take, [(item.place, item.document) for item in rows])
    return results


async def record(
    store: Store, workspace: Workspace, results: RunResults, seconds: float
) -> list[dict[str, Any]]:
    """Write the items of a run as JSONL, one file per subject, suite and judge; record each.

    Returns:
        The documents of `evaluate --json`, in the order of judges, suites, subjects.

    Raises:
        DatasetError: The items cannot be written.
    """
    spec, run = results.spec, results.run
    folder = workspace.state / "evaluations"
    documents: list[dict[str, Any]] = []
    for judge in spec.judges:
        for suite, ref in enumerate(spec.suites):
            for number, subject in enumerate(spec.subjects):
                items = list(results.evaluated(number, suite, judge).values())
                path = folder / _file_name(subject.name, judge, ref.name, run.id)
                header = ItemsHeader(pair=subject.name, judge=judge, suite=ref.name, run=run.id)
                await asyncio.to_thread(write_items, path, header, items)
                report = results.report(number, suite, judge)
                report = replace(report, items_path=path, seconds=seconds)
                document = {**report.to_json(), "suite": ref.path, "run": run.id}
                row = await store.evaluations.add(
                    pair=subject.name,
                    judge=judge,
                    suite=ref.path,
                    suite_sha256=ref.sha256,
                    n=report.n,
                    seconds=seconds,
                    report=document,
                    items_path=path,
                )
                documents.append({**document, "id": row.id})
    return documents


def _file_name(pair: str, judge: str, suite: str, run: int) -> str:
    name = "-".join(_slug(part) for part in (pair, suite, judge))
    # Names that differ only in other characters must not share a file.
    digest = hashlib.sha256(f"{pair}\n{suite}\n{judge}".encode()).hexdigest()[:6]
    return f"{name}-{digest}-{run}.jsonl"


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:30]
