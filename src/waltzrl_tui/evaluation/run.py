"""Carry out a run: every subject on every prompt, as many at once as the servers allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from waltzrl_tui.datasets.reading.rows import Row
from waltzrl_tui.errors import DatasetError, EndpointError, EngineError, StoreError, WaltzError
from waltzrl_tui.evaluation.agents_of_run import EndpointOpener, agents_of, pins_of, sources
from waltzrl_tui.evaluation.answers import AgentClient, Answers, Kept, Writer
from waltzrl_tui.evaluation.items import Played
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.run_item import RunContext, run_item
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.evaluation.suites import BUNDLED, load_suite
from waltzrl_tui.store import Store
from waltzrl_tui.store.answers import Answer
from waltzrl_tui.store.evaluation_runs import Place, RunRow, RunState
from waltzrl_tui.text import one_line
from waltzrl_tui.words import plural

E = TypeVar("E", bound=BaseException)
_Entry = tuple[Place, str] | Kept
OnItem = Callable[[Place, Played], None]

_FAILURES: Final = 3
"""After this many prompts in a row fail twice each, the endpoint counts as down."""
_MOST_IN_FLIGHT: Final = 256
_STOP_SECONDS: Final = 1.0


@dataclass
class RunOutcome:
    """How a run ended.

    Attributes:
        stopped: The user stopped it.
        failed: Prompts that are left out, as (subject, prompt, reason).
        error: Why a subject was given up; the first one, if several were.
    """

    stopped: bool = False
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    error: WaltzError | None = None


async def carry_out(
    store: Store,
    run: RunRow,
    opener: EndpointOpener,
    *,
    on_item: OnItem | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> RunOutcome:
    """Evaluate all unfinished items of the run, and store each as it is finished.

    The caller holds the run's lock: two processes must not work on one run. A prompt that fails
    twice is left out; when several in a row fail their subject is given up, and the others
    continue. Finished items are stored whatever happens.

    Args:
        on_item: Called on the event loop with every item as it is finished.

    Raises:
        DatasetError: A suite cannot be read, or a suite or agent has changed since the run began.
        NotFoundError: An agent does not exist any more.
        EngineError, EndpointError: An agent cannot be loaded.
        StoreError: Items cannot be stored.
    """
    spec = RunSpec.model_validate(run.spec)
    began = clock()
    outcome = RunOutcome()
    try:
        await store.runs.begin(run.id)
        work = _work(store, run, spec, opener, on_item, outcome)
        outcome.stopped = not await _unless_stopped(store, run.id, work)
    except BaseException as error:
        why = error.message if isinstance(error, WaltzError) else type(error).__name__
        state: RunState = "failed" if isinstance(error, Exception) else "stopped"
        message = why if state == "failed" else ""
        await asyncio.shield(store.runs.end(run.id, state, clock() - began, message))
        raise
    if outcome.stopped:
        await store.runs.end(run.id, "stopped", clock() - began)
    elif outcome.error is not None:
        await store.runs.end(run.id, "failed", clock() - began, outcome.error.message)
    else:
        await store.runs.end(run.id, "done", clock() - began, _left_out(outcome))
    return outcome


def _left_out(outcome: RunOutcome) -> str:
    if not outcome.failed:
        return ""
    subject, prompt, why = outcome.failed[0]
    return (
        f"Left out: {plural(len(outcome.failed), 'prompt')}; the first, of {subject}: "
        f"“{one_line(prompt, 60)}”: {why}"
    )


async def _work(
    store: Store,
    run: RunRow,
    spec: RunSpec,
    opener: EndpointOpener,
    on_item: OnItem | None,
    outcome: RunOutcome,
) -> None:
    rows = await asyncio.to_thread(load_prompts, spec)
    agents = await agents_of(store, spec.agents)
    pins = await pins_of(agents)
    if pins != spec.pins:
        changed = sorted(name for name in pins if pins[name] != spec.pins.get(name))
        raise DatasetError(
            f"The agent {one_line(changed[0])} has changed since the run began.",
            hint="Start a new run.",
        )
    writer: Writer[_Entry] = Writer(partial(_keep, store, run.id))
    ready = await sources(store, opener, agents, pins, spec.at_once, spec.limits)
    context = RunContext(
        sources=ready,
        prompts={name: agent.prompt for name, agent in agents.items()},
        judges=spec.judges,
        max_tokens=spec.max_tokens,
        verdict_tokens=spec.verdict_tokens,
        salt=spec.salt,
        answers=Answers(store.answers, await store.answers.keys(), writer.put),
    )
    done = {item.place for item in await store.runs.items(run.id)}
    left = {
        subject: [
            (place, row)
            for suite, prompts in enumerate(rows)
            for number, row in enumerate(prompts)
            if (place := (subject, suite, number)) not in done
        ]
        for subject in range(len(spec.subjects))
    }
    try:
        await _Work(spec, context, writer, left, on_item, outcome).all()
    finally:
        await writer.close()


async def _unless_stopped(store: Store, run_id: int, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before the user stopped it."""
    working = asyncio.create_task(work)
    try:
        while not working.done():
            await asyncio.wait({working}, timeout=_STOP_SECONDS)
            if not working.done() and (await store.runs.get(run_id)).stop:
                working.cancel()
                (ended,) = await asyncio.gather(working, return_exceptions=True)
                if isinstance(ended, StoreError):
                    raise ended
                return False
        working.result()
        return True
    except BaseExceptionGroup as failed:
        raise _first(failed) from None
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@dataclass
class _Work:
    """The items to do, in lanes: subjects at the same server run one after the other."""

    spec: RunSpec
    context: RunContext
    writer: Writer[_Entry]
    left: dict[int, list[tuple[Place, Row]]]
    on_item: OnItem | None
    outcome: RunOutcome

    async def all(self) -> None:
        """Do all items; failures go into the outcome."""
        lanes: dict[int, list[int]] = {}
        for number, subject in enumerate(self.spec.subjects):
            gate = self.context.sources[subject.conversation].gate
            lanes.setdefault(id(gate), []).append(number)
        async with asyncio.TaskGroup() as group:
            for numbers in lanes.values():
                group.create_task(self._lane(numbers))

    async def _lane(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            subject = self.spec.subjects[number]
            try:
                await self._subject(subject, self.left[number])
            except* (EndpointError, EngineError) as failed:
                self.outcome.error = self.outcome.error or _first(failed)

    async def _subject(self, subject: Subject, items: Sequence[tuple[Place, Row]]) -> None:
        coming = iter(items)
        failed_in_a_row = 0

        async def play() -> None:
            nonlocal failed_in_a_row
            for place, row in coming:
                try:
                    item = await self._twice(subject, row)
                except (EndpointError, EngineError) as error:
                    self.outcome.failed.append((subject.name, row.prompt, error.message))
                    failed_in_a_row += 1
                    if failed_in_a_row >= _FAILURES:
                        raise
                    continue
                failed_in_a_row = 0
                self.writer.put((place, item.model_dump_json()))
                if self.on_item:
                    self.on_item(place, item)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._in_flight(subject), len(items))):
                group.create_task(play())

    def _in_flight(self, subject: Subject) -> int:
        """Prompts in flight: enough that each server always has a request waiting."""
        judges = [name for name in self.spec.judges if name != DETECTOR]
        clients = [self.context.sources[name] for name in (*subject.agents, *judges)]
        by_gate: dict[int, AgentClient] = {id(source.gate): source for source in clients}
        limits = sum(source.limit for source in by_gate.values())
        lowest = min(source.limit for source in by_gate.values())
        return min(_MOST_IN_FLIGHT, limits + (lowest + 1) // 2)

    async def _twice(self, subject: Subject, row: Row) -> Played:
        """One item; retried once, since a single request may fail by chance."""
        try:
            return await run_item(self.context, subject, row)
        except EndpointError:
            return await run_item(self.context, subject, row)


async def _keep(store: Store, run_id: int, entries: list[_Entry]) -> None:
    # Items come after their answers, so no item is stored without them.
    items: list[tuple[Place, str]] = []
    answers: list[Kept] = []
    for name, value in entries:
        if isinstance(name, tuple) and isinstance(value, str):
            items.append((name, value))
        elif isinstance(name, str) and isinstance(value, Answer):
            answers.append((name, value))
    await store.runs.keep(run_id, items, answers)


def load_prompts(spec: RunSpec) -> list[list[Row]]:
    """The prompts of each suite. Blocks while it reads.

    Raises:
        DatasetError: A suite cannot be read, or has changed.
    """
    prompts: list[list[Row]] = []
    for ref in spec.suites:
        # On another machine the bundled prompts are installed in another place.
        moved = ref.name == BUNDLED and not Path(ref.path).is_file()
        suite = load_suite(BUNDLED if moved else ref.path, ref.sample_size, ref.seed)
        if suite.sha256 != ref.sha256 or len(suite.rows) != ref.n:
            raise DatasetError(
                f"{one_line(ref.path)} has changed since the run began.",
                hint="Start a new run.",
            )
        prompts.append(list(suite.rows))
    return prompts


def _first(failed: BaseExceptionGroup[E]) -> E:
    error: E | BaseExceptionGroup[E] = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
