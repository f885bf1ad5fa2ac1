"""What the Evaluate screen shows: what can be evaluated, the runs, the results of one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from waltzrl_tui.datasets.data_folder import list_files
from waltzrl_tui.endpoints.key_gate import KeyUse, unapproved
from waltzrl_tui.errors import UsageError
from waltzrl_tui.evaluation.agents_of_run import agents_of
from waltzrl_tui.evaluation.bill import Bill, bill
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.run import load_prompts
from waltzrl_tui.evaluation.service import make_spec
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.subjects import UNTRAINED, Subject, baselines, subject_of
from waltzrl_tui.evaluation.suites import BUNDLED, load_suite
from waltzrl_tui.local.live import BASE_PAIR, ensure_base
from waltzrl_tui.store import AgentRow, PairRow, Store
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.evaluate.processes import RunProcesses
from waltzrl_tui.workspace import Workspace

_PAGE: Final = 400


@dataclass(frozen=True, slots=True)
class Candidate:
    """What can be chosen for a run.

    Attributes:
        id: Identifies it; `name`: what is shown; `note`: a few words about it.
    """

    id: str
    name: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is chosen for a run.

    Attributes:
        prompts: Prompts of each suite; None for all.
        baselines: The pair to compare with the paper's baselines, or "".
    """

    suites: Sequence[str]
    pairs: Sequence[str]
    judges: Sequence[str]
    prompts: int | None = None
    baselines: str = ""

    @property
    def complete(self) -> bool:
        """Whether enough is chosen for a run."""
        return bool(self.suites and self.pairs and self.judges)


@dataclass(frozen=True, slots=True)
class View:
    """Which of the results are shown.

    Attributes:
        suite: Its number, or None for all together; `judge`: its name.
        categories: Whether the rates of each category are shown.
    """

    suite: int | None = None
    judge: str = ""
    categories: bool = False


class EvaluateModel:
    """Candidates, the runs, and the results of the run that is shown.

    Attributes:
        shown_run: The id of the run that is shown, or None.
        state: Of that run, as `RunRow.state`, or "left": no process is working on it.
        added: Paths of suites that the user added.
        prompts, baselines: See `RunRequest`.
    """

    def __init__(self, store: Store, workspace: Workspace) -> None:
        self._store = store
        self._workspace = workspace
        self.processes = RunProcesses(store, workspace)
        self.pairs: list[PairRow] = []
        self.agents: dict[str, AgentRow] = {}
        self.runs: list[RunRow] = []
        self.results: RunResults | None = None
        self.shown_run: int | None = None
        self.state = ""
        self.view = View()
        self.added: list[str] = []
        self.prompts: int | None = None
        self.baselines = ""
        self._cursor = 0
        self._pace: tuple[int, int, float] | None = None

    async def read(self) -> None:
        """Read what can be chosen, the runs, and the results of the run that is shown."""
        store = self._store
        await ensure_base(store)
        pairs = await store.agents.pairs()
        # The untrained pair comes first: the others are compared with it.
        self.pairs = sorted(pairs, key=lambda pair: pair.name != BASE_PAIR)
        self.agents = {agent.name: agent for agent in await store.agents.list()}
        self.runs = await store.runs.recent()
        if self.shown_run is None and self.runs:
            self.shown_run = self.runs[0].id
        if self.shown_run is not None:
            await self._read_results(self.shown_run)

    async def _read_results(self, run_id: int) -> None:
        """Read the results of a run; of the one shown before, only what is new."""
        runs = self._store.runs
        run = await runs.get(run_id)
        if self.results is None or self.results.run.id != run_id:
            self.results = RunResults.of(run)
            self._cursor = 0
        results = self.results
        results.run = run
        results.settle(await runs.labels())
        while page := await runs.items(run_id, self._cursor, _PAGE):
            self._cursor = page[-1].id
            await asyncio.to_thread(results.take, [(item.place, item.document) for item in page])
        self.state = run.state
        if not run.ended and not await self.processes.is_active(run_id):
            self.state = "left"

    @property
    def running(self) -> bool:
        """Whether the run that is shown goes on."""
        return self.state in ("running", "queued")

    def suite_candidates(self) -> list[Candidate]:
        """The bundled prompts, the files in data/, and added ones. Blocks."""
        files = [file.path for file in list_files(self._workspace.data) if file.readable]
        listed = {str(path) for path in files}
        past = [suite.path for run in self.runs for suite in _spec(run).suites]
        return [
            Candidate(BUNDLED, BUNDLED, "starter-eval, 168 prompts"),
            *(Candidate(str(path), path.name) for path in files),
            *(
                Candidate(path, Path(path).name, str(Path(path).parent))
                for path in dict.fromkeys([*self.added, *past])
                if path not in listed and Path(path).name != "starter-eval.jsonl"
            ),
        ]

    def pair_candidates(self) -> list[Candidate]:
        """The pairs, the newest first, and the untrained one last."""
        pairs = reversed(self.pairs)
        return [Candidate(pair.name, pair.name, self._describe(pair)) for pair in pairs]

    def judge_candidates(self) -> list[Candidate]:
        """The detector, and the agents that can judge: an embedded model cannot."""
        agents = [agent for agent in self.agents.values() if not agent.embedded]
        return [
            Candidate(DETECTOR, DETECTOR, "asks no model"),
            *(Candidate(agent.name, agent.name, agent.base) for agent in reversed(agents)),
        ]

    async def prepare(self, request: RunRequest) -> tuple[RunSpec, Bill]:
        """The run that is requested, and what it costs.

        Raises:
            WaltzError: The request does not make a run.
        """
        store, prompts = self._store, request.prompts
        suites = [await asyncio.to_thread(load_suite, path, prompts) for path in request.suites]
        subjects = self._subjects(request)
        spec = await make_spec(store, suites, subjects, request.judges, sample_size=prompts)
        agents = await agents_of(store, spec.agents)
        return spec, await bill(store, spec, agents, [suite.rows for suite in suites])

    async def rest_of(self, run: RunRow) -> Bill:
        """What the rest of a run costs.

        Raises:
            WaltzError: Its prompts or agents cannot be read.
        """
        spec = _spec(run)
        rows = await asyncio.to_thread(load_prompts, spec)
        return await bill(self._store, spec, await agents_of(self._store, spec.agents), rows)

    async def unapproved_keys(self, spec: RunSpec) -> list[KeyUse]:
        """The keys that a run would send to servers that the user has not approved."""
        agents = (await agents_of(self._store, spec.agents)).values()
        up = await self._store.deployments.list(up=True)
        return await asyncio.to_thread(unapproved, agents, up)

    def first_request(self) -> RunRequest:
        """The request of the last run, or a sensible one for the first."""
        if self.runs:
            return self._request_of(self.runs[0])
        pairs = [self.pairs[0].name, self.pairs[-1].name] if self.pairs else []
        return RunRequest(suites=[BUNDLED], pairs=pairs, judges=[DETECTOR])

    def _request_of(self, run: RunRow) -> RunRequest:
        spec = _spec(run)
        paths = [BUNDLED if suite.name == BUNDLED else suite.path for suite in spec.suites]
        names, trained = [subject.name for subject in spec.subjects], ""
        base = next((each for each in spec.subjects if each.name == UNTRAINED), None)
        if base is not None:
            trained = names[-1]
            parts = (base.conversation, base.feedback)
            like = [each.name for each in self.pairs if (each.conversation, each.feedback) == parts]
            names = [trained, *like[:1]]
        return RunRequest(
            suites=paths,
            pairs=names,
            judges=spec.judges,
            prompts=spec.suites[0].sample_size,
            baselines=trained,
        )

    # The view

    def keep_view(self, results: RunResults) -> View:
        """Keep the view on a judge and a suite that the results have now; returns it."""
        view = self.view
        judge = view.judge if view.judge in results.judges else results.judges[0]
        suite = view.suite
        if suite is not None and suite >= len(results.spec.suites):
            suite = None
        self.view = View(suite, judge, view.categories)
        return self.view

    def next_view(self) -> None:
        """Show the next suite; after the last one all suites together by the next judge."""
        if self.results is None:
            return
        suites: list[int | None] = [None, *range(len(self.results.spec.suites))]
        if len(suites) == 2:
            suites = [None]
        views = [(suite, judge) for judge in self.results.judges for suite in suites]
        view = self.keep_view(self.results)
        at = views.index((view.suite, view.judge))
        suite, judge = views[(at + 1) % len(views)]
        self.view = replace(self.view, suite=suite, judge=judge)

    def toggle_categories(self) -> None:
        self.view = replace(self.view, categories=not self.view.categories)

    def seconds_left(self) -> float | None:
        """An estimate for the run that is shown, from its pace since it was first looked at."""
        results = self.results
        if results is None or self.state != "running":
            self._pace = None
            return None
        done, run = len(results.items), results.run
        if self._pace is None or self._pace[0] != run.id:
            self._pace = (run.id, done, time.monotonic())
            return None
        _, before, began = self._pace
        if done == before:
            return None
        return (time.monotonic() - began) / (done - before) * (run.total - done)

    def allows(self, action: str) -> bool | None:
        """Whether an action on the results is possible now; None for any other action."""
        results = self.results
        items = results is not None and bool(results.items)
        return {
            "results": results is not None,
            "items": items,
            # The detector alone never differs from itself and is always readable.
            "disputes": items and results is not None and results.spec.judges != (DETECTOR,),
            "look": results is not None and len(results.spec.suites) + len(results.judges) > 2,
            "categories": items,
            "export": items,
            "stop": self.running,
            "go_on": self.state in ("left", "stopped", "failed"),
            "open": bool(self.runs),
        }.get(action)

    def _subjects(self, request: RunRequest) -> list[Subject]:
        known = {pair.name: pair for pair in self.pairs}
        if not request.baselines:
            # The last one, the newest, is compared with the others.
            return [subject_of(pair) for pair in self.pairs if pair.name in request.pairs]
        pair = known[request.baselines]
        base = known[self._base_of(pair, request.pairs)]
        return baselines(pair, base)

    def _base_of(self, pair: PairRow, chosen: Sequence[str]) -> str:
        """The untrained pair: the only other one that is chosen, else the embedded base."""
        # The embedded base is preselected, whatever the model of the pair.
        others = [name for name in chosen if name not in (pair.name, BASE_PAIR)]
        if len(others) == 1:
            return others[0]
        model = self.agents[pair.conversation].base
        base = next((each for each in self.pairs if each.name == BASE_PAIR), None)
        if base is None or self.agents[base.conversation].base != model:
            raise UsageError(
                f"The untrained pair ({UNTRAINED}) behind {one_line(pair.name)} is not known.",
                hint="Choose the untrained pair of the same model too, and no other pair.",
            )
        return base.name

    def _describe(self, pair: PairRow) -> str:
        agent = self.agents.get(pair.conversation)
        if agent is None:
            return ""
        trained = "trained " if agent.adapter or agent.job_id else ""
        return f"{trained}{agent.base}"


def _spec(run: RunRow) -> RunSpec:
    return RunSpec.model_validate(run.spec)
