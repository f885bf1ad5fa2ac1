"""Run a pair over the prompts of a suite, several at once, keeping every finished item."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

from waltzrl_tui.agents.events import WaltzEnded
from waltzrl_tui.agents.waltz import LivePair, waltz
from waltzrl_tui.datasets.rows import Row
from waltzrl_tui.errors import DatasetError, EndpointError
from waltzrl_tui.evaluation.items import EvalItem, ItemsFile, Settings, make_item
from waltzrl_tui.evaluation.judges import Judge
from waltzrl_tui.evaluation.report import Report, make_report
from waltzrl_tui.text import one_line


async def evaluate(
    pair: LivePair,
    prompts: Sequence[Row],
    judge: Judge,
    *,
    items_path: Path,
    concurrency: int = 8,
    max_tokens: int = 256,
    verdict_tokens: int = 72,
    on_item: Callable[[EvalItem], None] | None = None,
) -> Report:
    """Run `prompts` through the pair's waltz and judge the first and the final reply of each.

    Args:
        prompts: Rows with `harm` set; their replies are not used.
        items_path: Finished items are appended here. When the file has items of the same
            evaluation, their prompts are not run again.
        concurrency: Prompts in flight at once.
        max_tokens: Cap of one reply, in tokens.
        verdict_tokens: Cap of one verdict, in tokens: a model that was never taught to end one
            would go on.
        on_item: Called on the event loop with every item, also with those that were there.

    Raises:
        DatasetError: There are no prompts, one has no harm label, or items cannot be written.
        UsageError: `items_path` holds another evaluation.
        EndpointError: An agent failed twice on one prompt. What was finished is kept.
    """
    _check(prompts)
    began = time.perf_counter()
    file = ItemsFile(items_path)
    settings = Settings(
        pair=pair.name,
        judge=judge.name,
        conversation_prompt=pair.conversation_prompt,
        feedback_prompt=pair.feedback_prompt if pair.feedback else "",
        rounds=pair.rounds,
        max_tokens=max_tokens,
        verdict_tokens=verdict_tokens,
    )
    before = await asyncio.to_thread(file.open, settings)
    items, left = _resumed(prompts, before)
    if on_item:
        for item in items:
            on_item(item)

    writing = asyncio.Lock()

    async def work(coming: Iterator[Row]) -> None:
        for prompt in coming:
            item = await _twice(pair, prompt, judge, settings)
            async with writing:
                await asyncio.to_thread(file.append, item)
            items.append(item)
            if on_item:
                on_item(item)

    coming = iter(left)
    workers = [asyncio.create_task(work(coming)) for _ in range(min(concurrency, len(left)))]
    try:
        await asyncio.gather(*workers)
    except EndpointError as error:
        raise EndpointError(
            f"The evaluation stopped at {len(items)} of {len(prompts)} prompts: {error.message}",
            hint=f"{error.hint} The finished ones are kept: the same command goes on.".strip(),
        ) from error
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return make_report(
        items,
        pair=pair.name,
        judge=judge.name,
        seconds=time.perf_counter() - began,
        items_path=items_path,
    )


def _check(prompts: Sequence[Row]) -> None:
    if not prompts:
        raise DatasetError("There is no prompt to evaluate.", hint="Choose a file with prompts.")
    unlabelled = [row for row in prompts if not row.harm]
    if unlabelled:
        raise DatasetError(
            f"{len(unlabelled)} of {len(prompts)} prompts are not labelled harmful or benign, "
            f"the first on line {unlabelled[0].line}: “{one_line(unlabelled[0].prompt, 60)}”.",
            hint='Give every prompt a field "harm" with "harmful" or "benign".',
        )


def _resumed(
    prompts: Sequence[Row], before: Sequence[EvalItem]
) -> tuple[list[EvalItem], list[Row]]:
    """The items that belong to `prompts`, and the prompts that are left to run."""
    keys = [(row.prompt, str(row.harm), row.category) for row in prompts]
    wanted = Counter(keys)
    kept: list[EvalItem] = []
    for item in before:
        if wanted[item.key] > 0:
            wanted[item.key] -= 1
            kept.append(item)
    left: list[Row] = []
    for row, key in zip(prompts, keys, strict=True):
        if wanted[key] > 0:
            wanted[key] -= 1
            left.append(row)
    return kept, left


async def _twice(pair: LivePair, prompt: Row, judge: Judge, settings: Settings) -> EvalItem:
    """One item; an endpoint that fails is asked once more, since one request may be unlucky."""
    try:
        return await _item(pair, prompt, judge, settings)
    except EndpointError:
        return await _item(pair, prompt, judge, settings)


async def _item(pair: LivePair, prompt: Row, judge: Judge, settings: Settings) -> EvalItem:
    history = [{"role": "user", "content": prompt.prompt}]
    async with aclosing(
        waltz(
            pair,
            history,
            max_tokens=settings.max_tokens,
            verdict_tokens=settings.verdict_tokens,
        )
    ) as events:
        async for event in events:
            if isinstance(event, WaltzEnded):
                ended = event
    replies = (ended.rounds[0].reply, ended.rounds[-1].reply, ended.final)
    labels = {reply: await judge.labels(prompt, reply) for reply in dict.fromkeys(replies)}
    first, last, final = (labels[reply] for reply in replies)
    return make_item(prompt, ended.rounds, ended.seconds, first=first, last=last, final=final)
