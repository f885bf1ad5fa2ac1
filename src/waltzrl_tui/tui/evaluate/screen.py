"""The Evaluate screen: suites × pairs × judges, live tallies, items, disputes, reports."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.agents_of_run import agents_of
from waltzrl_tui.evaluation.bill import Bill, bill
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.run import load_prompts
from waltzrl_tui.evaluation.service import begin
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.evaluation.suites import BUNDLED
from waltzrl_tui.jobs.evaluation_process import is_active, last_log_lines, start_process
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.evaluation_runs import RunRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.evaluate.choose import ChooseList
from waltzrl_tui.tui.evaluate.lines import View
from waltzrl_tui.tui.evaluate.model import Wanted
from waltzrl_tui.tui.evaluate.results import EvaluateResults
from waltzrl_tui.tui.evaluate.runs import run_picker
from waltzrl_tui.tui.shell.keys import bindings, press

_LIVE_SECONDS: Final = 1.0
_ENDING_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.1


class EvaluateScreen(EvaluateResults):
    """What is evaluated on the left, how it comes out on the right. A run outlives the app."""

    NAME = "evaluate"
    CSS_PATH = "evaluate.tcss"
    BINDINGS = bindings("evaluate")
    AUTO_FOCUS = "#eval-pairs"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]

    def __init__(self) -> None:
        super().__init__()
        self._lists = {
            "suites": ChooseList("Suites", id="eval-suites"),
            "pairs": ChooseList("Pairs", id="eval-pairs"),
            "judges": ChooseList("Judges", id="eval-judges"),
        }
        self._n: int | None = None
        self._baselines = ""
        self._shown_run: int | None = None
        self._choosing = True
        self._filled = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="eval"):
            with Vertical(id="eval-side"):
                yield self._lists["suites"]
                yield self._lists["pairs"]
                yield self._lists["judges"]
                yield Static(id="eval-how", markup=False)
            with Vertical(id="eval-main", classes="pane"):
                yield Static(id="eval-head", markup=False)
                with VerticalScroll(id="eval-results"):
                    yield Static(id="eval-figures", markup=False)

    def on_mount(self) -> None:
        self.set_class(True, "-choosing")
        self.set_interval(_LIVE_SECONDS, self._tick)

    # What is read ----------------------------------------------------------------------------

    async def refresh_from_store(self) -> None:
        board, store, workspace = self._board, self.waltz.store, self.waltz.workspace
        await board.read(store, workspace)
        suites = await asyncio.to_thread(board.suite_choices, workspace)
        if self._shown_run is None and board.runs:
            self._shown_run = board.runs[0].id
        if self._shown_run is not None:
            await board.show(store, workspace, self._shown_run)
        if not self.is_attached:
            return
        self._lists["suites"].show(suites)
        self._lists["pairs"].show(board.pair_choices())
        self._lists["judges"].show(board.judge_choices())
        self._fill()
        await self._draw()
        self.refresh_bindings()

    def _fill(self) -> None:
        """Choose what the last run had, or what makes sense at first."""
        if self._filled:
            return
        self._filled = True
        runs, pairs = self._board.runs, self._board.pairs
        if runs:
            wanted = self._board.wanted(runs[0])
        else:
            names = [pair.name for pair in (pairs[0], pairs[-1])] if pairs else []
            wanted = Wanted([BUNDLED], names, [self._board.judge_choices()[0].id])
        self._lists["suites"].choose(wanted.suites)
        self._lists["pairs"].choose(wanted.pairs)
        self._lists["judges"].choose(wanted.judges)
        self._n, self._baselines = wanted.n, wanted.baselines
        self._show_how()

    def _tick(self) -> None:
        # A run that was killed writes nothing more: only looking finds it out.
        if self.is_current and self._board.state in ("running", "queued"):
            self.read_store()

    # What the keys do ------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        results, state = self._board.results, self._board.state
        here = isinstance(self.focused, ChooseList)
        several = results is not None and (len(results.spec.suites) > 1 or len(results.judges) > 1)
        allowed = {
            "run": self.ready and here,
            "choose": here,
            "baselines": here and self.focused is self._lists["pairs"],
            "edit": (self._narrow and not self._choosing) or not here,
            "results": here and results is not None,
            "items": results is not None and bool(results.items),
            "disputes": results is not None
            and bool(results.items)
            # The detector alone never differs from itself and is always read.
            and results.spec.judges != (DETECTOR,),
            "look": several,
            "categories": results is not None and bool(results.items),
            "export": results is not None and bool(results.items),
            "stop": state in ("running", "queued"),
            "go_on": state in ("left", "stopped", "failed"),
            "open": bool(self._board.runs),
        }
        return allowed.get(action, super().check_action(action, parameters))

    @property
    def ready(self) -> bool:
        """Whether enough is chosen for a run."""
        return all(each.chosen for each in self._lists.values())

    @property
    def _narrow(self) -> bool:
        return self.has_class("-narrow")

    @on(ChooseList.Changed)
    def _changed(self) -> None:
        if self._baselines and self._baselines not in self._lists["pairs"].chosen:
            self._baselines = ""
        self._show_how()
        self.refresh_bindings()

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self.refresh_bindings()

    @on(events.Resize)
    def _resized(self) -> None:
        self.start(self._draw(), group="draw", exclusive=True)

    def action_choose(self) -> None:
        if isinstance(self.focused, ChooseList):
            self.focused.toggle()

    def action_baselines(self) -> None:
        pairs = self._lists["pairs"]
        if self._baselines == pairs.here:
            self._baselines = ""
        else:
            self._baselines = pairs.here
            pairs.choose([*pairs.chosen, pairs.here])
        self._show_how()

    def action_edit(self) -> None:
        self._choose(True)
        self._lists["pairs"].focus()

    def action_results(self) -> None:
        self._choose(False)
        self.query_one("#eval-results", VerticalScroll).focus()

    def _choose(self, choosing: bool) -> None:
        self._choosing = choosing
        self.set_class(choosing, "-choosing")
        self.refresh_bindings()
        if choosing:
            self._show_how()
        else:
            # On a narrow terminal the figures had no width until now.
            self.call_after_refresh(self._redraw)

    def action_prompts(self) -> None:
        hint = "Of each suite so many prompts, spread over labels and categories. Empty: all."
        self.app.push_screen(
            AskText("How many prompts", hint, str(self._n or "")), self._prompts_asked
        )

    def _prompts_asked(self, text: str | None) -> None:
        if text is None:
            return
        if text and not (text.isdecimal() and 0 < int(text) < 10**7):
            self.notify(f"{one_line(text, 20)} is no number of prompts.", markup=False)
            return
        self._n = int(text) if text else None
        self._show_how()

    def action_add(self) -> None:
        hint = "A file with labelled prompts: JSONL, JSON, CSV, Parquet."
        self.app.push_screen(AskText("Add a suite", hint), self._add)

    def _add(self, text: str | None) -> None:
        if text:
            path = str(Path(text).expanduser().absolute())
            if not Path(path).is_file():
                self.notify(f"There is no file {one_line(path)}.", severity="error", markup=False)
                return
            self._board.added.append(path)
            self.start(self._added(path), group="add")

    async def _added(self, path: str) -> None:
        chosen = self._lists["suites"].chosen
        await self.refresh_from_store()
        self._lists["suites"].choose([*chosen, path])
        self._changed()

    def _show_how(self) -> None:
        lines = [f"{self._n} prompts of each suite" if self._n else "all prompts of each suite"]
        if self._baselines:
            others = [name for name in self._lists["pairs"].chosen if name != self._baselines]
            base = f" of {one_line(others[0], 14)}" if len(others) == 1 else ""
            lines.append(f"+ 4 baselines{base}")
        if len(judges := self._judges) > 1:
            lines.append(f"main judge {one_line(judges[0], 22)}")
        run = press("run", "evaluate")
        lines.append(
            f"{run} evaluates" if self.ready else "choose a suite, a pair and a judge with space"
        )
        if self._narrow and self._shown_run is not None:
            lines[-1] += f" · {press('results', 'evaluate')} shows run {self._shown_run}"
        self.query_one("#eval-how", Static).update(
            Content.styled(printable("\n".join(lines)), "$text-muted")
        )

    @property
    def _judges(self) -> list[str]:
        """Those chosen, the main one first: a model sees more than the detector does."""
        return sorted(self._lists["judges"].chosen, key=lambda name: name == DETECTOR)

    # A run -----------------------------------------------------------------------------------

    def action_run(self) -> None:
        lists = self._lists
        wanted = Wanted(
            lists["suites"].chosen,
            lists["pairs"].chosen,
            self._judges,
            self._n,
            self._baselines,
        )
        self.start(self._begin(wanted), group="begin", exclusive=True)

    async def _begin(self, wanted: Wanted) -> None:
        spec, cost = await self._board.spec(self.waltz.store, wanted)
        for agent in cost.unpriced:
            if not await self._ask_price(agent):
                return
        if cost.unpriced:
            spec, cost = await self._board.spec(self.waltz.store, wanted)
        if not await self._agreed(cost, f"{spec.total:,} prompts in all are evaluated."):
            return
        run = await begin(self.waltz.store, spec)
        await self._work_on(run)

    async def _ask_price(self, agent: str) -> bool:
        """Ask what an agent costs, and keep it; whether to go on."""
        hint = (
            "USD per 1M tokens read and written, for example 3,15. It is kept. 0,0: nothing. "
            "Empty: go on without knowing."
        )
        title = f"What does {one_line(agent, 40)} cost?"
        while (said := await self.app.push_screen_wait(AskText(title, hint))) is not None:
            if not said:
                return True
            try:
                read, written = (float(part) for part in said.split(","))
            except ValueError:
                read = written = -1.0
            if 0 <= read < 1e6 and 0 <= written < 1e6:
                await self.waltz.store.answers.set_price(agent, Price(read, written))
                return True
            self.notify(f"{one_line(said, 30)} is no two prices.", markup=False)
        return False

    async def _work_on(self, run: RunRow) -> None:
        self._shown_run = run.id
        self._choose(False)
        self.query_one("#eval-results", VerticalScroll).focus()
        loop = asyncio.get_running_loop()

        def ended(status: int) -> None:
            # The app may have been left meanwhile; the run's state is in the store.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._process_ended, run.id, status)

        workspace, started = self.waltz.workspace, self._board.started
        if run.ended:
            # Whoever worked on it may still be on the way out.
            for _ in range(round(_ENDING_SECONDS / _LOOK_SECONDS)):
                if run.id not in started:
                    break
                await asyncio.sleep(_LOOK_SECONDS)
        if run.id not in started and not await asyncio.to_thread(is_active, workspace, run.id):
            started.add(run.id)
            try:
                await asyncio.to_thread(start_process, workspace, run.id, ended)
            except WaltzError:
                started.discard(run.id)
                raise
        self.read_store()

    def _process_ended(self, run_id: int, status: int) -> None:
        self._board.started.discard(run_id)
        if self.is_attached:
            self.read_store()
            if status:
                self.start(self._failed(run_id), group="failed")

    async def _failed(self, run_id: int) -> None:
        run = await self.waltz.store.runs.get(run_id)
        words = await asyncio.to_thread(last_log_lines, self.waltz.workspace, run_id)
        if not run.ended and not await asyncio.to_thread(is_active, self.waltz.workspace, run_id):
            await self.waltz.store.runs.end(run_id, "failed", 0.0, words)
        self.read_store()
        if run.state != "stopped":
            raise WaltzError(words or f"The run {run_id} ended unexpectedly.")

    def action_stop(self) -> None:
        run_id = self._shown_run
        if run_id is not None:
            self.start(self._stop(run_id), group="stop")

    async def _stop(self, run_id: int) -> None:
        await self.waltz.store.runs.ask_to_stop(run_id)
        self.notify(
            f"Run {run_id} stops; {press('go_on', 'evaluate')} goes on with it.", markup=False
        )

    def action_go_on(self) -> None:
        if self._board.results is not None:
            run = self._board.results.run
            self.start(self._again(run), group="begin", exclusive=True)

    async def _again(self, run: RunRow) -> None:
        """Go on with a run: what is left of it may cost, and more than when it was begun."""
        store = self.waltz.store
        spec = RunSpec.model_validate(run.spec)
        rows = await asyncio.to_thread(load_prompts, spec)
        cost = await bill(store, spec, await agents_of(store, spec.agents), rows)
        if await self._agreed(cost, f"{cost.items - cost.kept:,} prompts are left."):
            await self._work_on(run)

    async def _agreed(self, cost: Bill, told: str) -> bool:
        if cost.free:
            return True
        title = "Evaluate for money?" if cost.usd else "Evaluate?"
        question = ConfirmScreen(title, f"{cost.words()}\n{told}", [("y", "ask them")])
        answer = await self.app.push_screen_wait(question)
        return bool(answer)

    def action_open(self) -> None:
        def chosen(name: str | None) -> None:
            if name is not None:
                self._shown_run = int(name)
                self._view = View(None, "")
                self._choose(False)
                self.read_store()

        self.app.push_screen(run_picker(self._board.runs, self._shown_run), chosen)
