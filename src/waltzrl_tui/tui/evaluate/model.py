"""What the Evaluate screen knows of the store, and how a run is begun from it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.files import list_files
from waltzrl_tui.errors import EngineError, UsageError
from waltzrl_tui.evaluation.agents_of_run import agents_of
from waltzrl_tui.evaluation.bill import Bill, bill
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.evaluation.service import lock_path, make_spec
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import UNTRAINED, Subject, baselines, subject_of
from waltzrl_tui.evaluation.suites import BUNDLED, load_suite
from waltzrl_tui.jobs.locks import held
from waltzrl_tui.local.live import BASE_PAIR, ensure_base
from waltzrl_tui.store import AgentRow, PairRow, Store
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.evaluate.choose import Choice
from waltzrl_tui.workspace import Workspace

_PAGE: Final = 400


@dataclass(frozen=True)
class Wanted:
    """What is chosen for a run.

    Attributes:
        baselines: The pair that is to stand beside the paper's baselines, or "".
    """

    suites: Sequence[str]
    pairs: Sequence[str]
    judges: Sequence[str]
    n: int | None = None
    baselines: str = ""


@dataclass
class EvalBoard:
    """Choices, the runs, and the results of the one that is shown.

    Attributes:
        state: Of the run that is shown, as `RunRow.state`, or "left": nobody works on it.
        added: Suites that were added by their paths.
        started: Runs whose processes were started here and have not ended.
    """

    pairs: list[PairRow] = field(default_factory=list)
    agents: dict[str, AgentRow] = field(default_factory=dict)
    runs: list[RunRow] = field(default_factory=list)
    results: Results | None = None
    state: str = ""
    added: list[str] = field(default_factory=list)
    started: set[int] = field(default_factory=set)
    _cursor: int = 0

    async def read(self, store: Store, workspace: Workspace) -> None:
        """Read what can be chosen and the runs."""
        await ensure_base(store)
        pairs = await store.agents.pairs()
        # The untrained one first: it is what the others are measured against.
        self.pairs = sorted(pairs, key=lambda pair: pair.name != BASE_PAIR)
        self.agents = {agent.name: agent for agent in await store.agents.list()}
        self.runs = await store.runs.recent()

    async def show(self, store: Store, workspace: Workspace, run_id: int) -> None:
        """Read the run that is shown; of one that was shown before, what is new."""
        run = await store.runs.get(run_id)
        if self.results is None or self.results.run.id != run_id:
            self.results = Results.of(run)
            self._cursor = 0
        results = self.results
        results.run = run
        results.settle(await store.runs.labels())
        while page := await store.runs.items(run_id, self._cursor, _PAGE):
            self._cursor = page[-1].id
            await asyncio.to_thread(results.take, [(item.place, item.document) for item in page])
        self.state = run.state
        mine = run_id in self.started
        if not run.ended and not mine and not await asyncio.to_thread(worked_on, workspace, run_id):
            self.state = "left"

    def suite_choices(self, workspace: Workspace) -> list[Choice]:
        """The bundled prompts, the files in data/, and what was added. Blocks."""
        files = [file for file in list_files(workspace.data) if file.readable]
        found = [Choice(str(file.path), file.path.name) for file in files]
        mine = {choice.id for choice in found}
        past = [suite.path for run in self.runs for suite in _spec(run).suites]
        more = [
            Choice(path, Path(path).name, str(Path(path).parent))
            for path in dict.fromkeys([*self.added, *past])
            if path not in mine and Path(path).name != "starter-eval.jsonl"
        ]
        return [Choice(BUNDLED, BUNDLED, "starter-eval, 168 prompts"), *found, *more]

    def pair_choices(self) -> list[Choice]:
        """The pairs, the newest first, and the untrained one last."""
        return [Choice(pair.name, pair.name, self._made_of(pair)) for pair in reversed(self.pairs)]

    def judge_choices(self) -> list[Choice]:
        """The detector, and every agent that is no embedded model, which could not judge."""
        able = [agent for agent in self.agents.values() if agent.kind != "embedded"]
        return [
            Choice(DETECTOR, DETECTOR, "asks no model"),
            *(Choice(agent.name, agent.name, agent.base) for agent in reversed(able)),
        ]

    async def spec(self, store: Store, wanted: Wanted) -> tuple[RunSpec, Bill]:
        """The run that is wanted, and what it costs.

        Raises:
            WaltzError: It cannot be made of this.
        """
        suites = [await asyncio.to_thread(load_suite, path, wanted.n) for path in wanted.suites]
        spec = await make_spec(store, suites, self._subjects(wanted), wanted.judges, asked=wanted.n)
        agents = await agents_of(store, spec.agents)
        return spec, await bill(store, spec, agents, [suite.rows for suite in suites])

    def wanted(self, run: RunRow) -> Wanted:
        """What was chosen for a run, to be chosen again."""
        spec = _spec(run)
        paths = [BUNDLED if suite.name == BUNDLED else suite.path for suite in spec.suites]
        names, made = [subject.name for subject in spec.subjects], ""
        base = next((each for each in spec.subjects if each.name == UNTRAINED), None)
        if base is not None:
            made = names[-1]
            parts = (base.conversation, base.feedback)
            like = [each.name for each in self.pairs if (each.conversation, each.feedback) == parts]
            names = [made, *like[:1]]
        return Wanted(paths, names, spec.judges, spec.suites[0].asked, made)

    def _subjects(self, wanted: Wanted) -> list[Subject]:
        known = {pair.name: pair for pair in self.pairs}
        if not wanted.baselines:
            # The last one is what the others are compared with: the newest.
            return [subject_of(pair) for pair in self.pairs if pair.name in wanted.pairs]
        pair = known[wanted.baselines]
        base = known[self._base_of(pair, wanted.pairs)]
        return baselines(pair, base)

    def _base_of(self, pair: PairRow, chosen: Sequence[str]) -> str:
        """The untrained pair: the one that is chosen beside it, else the embedded base."""
        # The embedded base is chosen before the user chooses, whatever the pair is made of.
        others = [name for name in chosen if name not in (pair.name, BASE_PAIR)]
        if len(others) == 1:
            return others[0]
        model = self.agents[pair.conversation].base
        base = next((each for each in self.pairs if each.name == BASE_PAIR), None)
        if base is None or self.agents[base.conversation].base != model:
            raise UsageError(
                f"Which pair is {one_line(pair.name)} before training ({UNTRAINED}) is not known.",
                hint="Choose the untrained pair of the same model beside it, and no other.",
            )
        return base.name

    def _made_of(self, pair: PairRow) -> str:
        agent = self.agents.get(pair.conversation)
        if agent is None:
            return ""
        trained = "trained " if agent.adapter or agent.job_id else ""
        return f"{trained}{agent.base}"


def worked_on(workspace: Workspace, run_id: int) -> bool:
    """Whether a process works on the run. Blocks for a moment."""
    return held(lock_path(workspace, run_id))


def spawn(workspace: Workspace, run_id: int, on_end: Callable[[int], None]) -> None:
    """Work on a run in a process of its own, which outlives the app. Blocks for a moment.

    Args:
        on_end: Called in another thread with its exit status.

    Raises:
        EngineError: The process cannot be started.
    """
    log = workspace.state / "logs" / f"evaluation-{run_id}.log"
    # -P: files in the workspace must not be taken for Python's modules.
    command = [sys.executable, "-P", "-m", "waltzrl_tui", "--home", str(workspace.home)]
    try:
        output = os.open(log, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            process = subprocess.Popen(
                [*command, "evaluate", "--run", str(run_id), "--yes", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                cwd=workspace.home,
                env=_environment(),
                start_new_session=True,
            )
        finally:
            os.close(output)
    except OSError as error:
        raise EngineError(
            f"The evaluation could not be started: {error.strerror or error}.",
            hint="See that the disk is not full and that there is memory left.",
        ) from error
    # Somebody has to take note of its end, or it stays in the process table as a zombie.
    threading.Thread(target=lambda: on_end(process.wait()), daemon=True).start()


def last_words(workspace: Workspace, run_id: int) -> str:
    """What the process said last. Blocks."""
    try:
        text = (workspace.state / "logs" / f"evaluation-{run_id}.log").read_text("utf-8", "replace")
    except OSError:
        return ""
    return one_line(text[-600:], 500)


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    if folders := environment.get("PYTHONPATH"):
        # The process runs in the workspace, where relative ones would mean something else.
        environment["PYTHONPATH"] = os.pathsep.join(
            str(Path(folder).absolute()) for folder in folders.split(os.pathsep) if folder
        )
    return environment


def _spec(run: RunRow) -> RunSpec:
    return RunSpec.model_validate(run.spec)
