"""The Evaluate screen: suites × pairs × judges, live results, items, disputes, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.evaluation.bill import Bill
from waltzrl_tui.evaluation.export import write_csv, write_report
from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.evaluation.service import begin
from waltzrl_tui.evaluation.spec import RunSpec
from waltzrl_tui.store.answers import Price
from waltzrl_tui.store.evaluation_runs import HandLabel, RunRow
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.dialogs.export_to import ExportTo
from waltzrl_tui.tui.dialogs.key_question import approve_all, key_question
from waltzrl_tui.tui.evaluate.choose import ChooseList
from waltzrl_tui.tui.evaluate.disputes import DisputesScreen
from waltzrl_tui.tui.evaluate.items import ItemsScreen
from waltzrl_tui.tui.evaluate.model import EvaluateModel, RunRequest, View
from waltzrl_tui.tui.evaluate.results_pane import ResultsPane
from waltzrl_tui.tui.evaluate.runs import run_picker
from waltzrl_tui.tui.shell.keys import bindings, press
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.words import plural

_LIVE_SECONDS: Final = 1.0
_EXPORT_TYPES: Final = {".html": "report that opens offline", ".csv": "all items"}


class EvaluateScreen(WaltzScreen):
    """The request of a run on the left, results on the right. A run outlives the app."""

    NAME = "evaluate"
    CSS_PATH = "evaluate.tcss"
    BINDINGS = bindings("evaluate")
    AUTO_FOCUS = "#eval-pairs"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]

    def __init__(self) -> None:
        super().__init__()
        self._model = EvaluateModel(self.waltz.store, self.waltz.workspace)
        self._suites = ChooseList("Suites", id="eval-suites")
        self._pairs = ChooseList("Pairs", id="eval-pairs")
        self._judges = ChooseList("Judges", id="eval-judges")
        self._results = ResultsPane(self._model, id="eval-main")
        self._choosing = True
        self._filled = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="eval"):
            with Vertical(id="eval-side"):
                yield self._suites
                yield self._pairs
                yield self._judges
                yield Static(id="eval-how", markup=False)
            yield self._results

    def on_mount(self) -> None:
        self.set_class(True, "-choosing")
        self.set_interval(_LIVE_SECONDS, self._tick)

    # What is read and drawn

    async def refresh_from_store(self) -> None:
        model = self._model
        await model.read()
        suites = await asyncio.to_thread(model.suite_candidates)
        if not self.is_attached:
            return
        self._suites.show(suites)
        self._pairs.show(model.pair_candidates())
        self._judges.show(model.judge_candidates())
        self._fill()
        await self._draw()

    def _fill(self) -> None:
        """Choose what the last run had, or what makes sense at first."""
        if not self._filled:
            self._filled = True
            request = self._model.first_request()
            self._suites.choose(request.suites)
            self._pairs.choose(request.pairs)
            self._judges.choose(request.judges)
            self._model.prompts, self._model.baselines = request.prompts, request.baselines
            self._show_request()

    def _tick(self) -> None:
        # A run that was killed writes nothing more: only looking finds it out.
        if self.is_current and self._model.running:
            self.read_store()

    async def _draw(self) -> None:
        await self._results.draw()
        self.refresh_bindings()

    def _redraw(self) -> None:
        self.start(self._draw(), group="draw", exclusive=True)

    @on(events.Resize)
    def _resized(self) -> None:
        self._redraw()

    # The request

    @property
    def _request(self) -> RunRequest:
        """What is chosen now, the main judge first: a model sees more than the detector does."""
        return RunRequest(
            suites=self._suites.chosen,
            pairs=self._pairs.chosen,
            judges=sorted(self._judges.chosen, key=lambda name: name == DETECTOR),
            prompts=self._model.prompts,
            baselines=self._model.baselines,
        )

    @property
    def _narrow(self) -> bool:
        return self.has_class("-narrow")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        in_list = isinstance(self.focused, ChooseList)
        allowed = {
            "run": in_list and self._request.complete,
            "choose": in_list,
            "baselines": self.focused is self._pairs,
            "edit": (self._narrow and not self._choosing) or not in_list,
            "results": in_list and bool(self._model.allows("results")),
        }.get(action, self._model.allows(action))
        return super().check_action(action, parameters) if allowed is None else allowed

    @on(ChooseList.Changed)
    def _changed(self) -> None:
        if self._model.baselines not in self._pairs.chosen:
            self._model.baselines = ""
        self._show_request()
        self.refresh_bindings()

    @on(events.DescendantFocus)
    def _focus_moved(self) -> None:
        self.refresh_bindings()

    def action_choose(self) -> None:
        if isinstance(self.focused, ChooseList):
            self.focused.toggle()

    def action_baselines(self) -> None:
        model, pair = self._model, self._pairs.here
        if model.baselines == pair:
            model.baselines = ""
        else:
            model.baselines = pair
            self._pairs.choose([*self._pairs.chosen, pair])
        self._show_request()

    def action_edit(self) -> None:
        self._show_lists(True)
        self._pairs.focus()

    def action_results(self) -> None:
        self._show_lists(False)
        self._results.figures.focus()

    def _show_lists(self, choosing: bool) -> None:
        """On a narrow terminal, show the lists or the results."""
        self._choosing = choosing
        self.set_class(choosing, "-choosing")
        self.refresh_bindings()
        if choosing:
            self._show_request()
        else:
            # The figures had no width until now.
            self.call_after_refresh(self._redraw)

    def action_prompts(self) -> None:
        hint = "Prompts per suite, balanced over labels and categories. Empty: all."
        number = str(self._model.prompts or "")
        self.app.push_screen(AskText("How many prompts", hint, number), self._set_prompts)

    def _set_prompts(self, text: str | None) -> None:
        if text is None:
            return
        if text and not (text.isdecimal() and 0 < int(text) < 10**7):
            self.notify(f"“{one_line(text, 20)}” is not a number of prompts.", markup=False)
            return
        self._model.prompts = int(text) if text else None
        self._show_request()

    def action_add(self) -> None:
        hint = "A file of labelled prompts: JSONL, JSON, CSV or Parquet."
        self.app.push_screen(AskText("Add a suite", hint), self._add)

    def _add(self, text: str | None) -> None:
        if text:
            path = str(Path(text).expanduser().absolute())
            if not Path(path).is_file():
                self.notify(f"There is no file {one_line(path)}.", severity="error", markup=False)
                return
            self._model.added.append(path)
            self.start(self._choose_added(path), group="add")

    async def _choose_added(self, path: str) -> None:
        chosen = self._suites.chosen
        await self.refresh_from_store()
        self._suites.choose([*chosen, path])
        self._changed()

    def _show_request(self) -> None:
        """Write below the lists what would be run, and with which key."""
        request, shown_run = self._request, self._model.shown_run
        prompts = plural(request.prompts, "prompt") if request.prompts else "all prompts"
        lines = [f"{prompts} of each suite"]
        if request.baselines:
            others = [name for name in request.pairs if name != request.baselines]
            base = f" of {one_line(others[0], 14)}" if len(others) == 1 else ""
            lines.append(f"+ 4 baselines{base}")
        if len(request.judges) > 1:
            lines.append(f"main judge {one_line(request.judges[0], 22)}")
        if request.complete:
            lines.append(f"{press('run', 'evaluate')} evaluates")
        else:
            lines.append("choose a suite, a pair and a judge with space")
        if self._narrow and shown_run is not None:
            lines[-1] += f" · {press('results', 'evaluate')} shows run {shown_run}"
        text = Content.styled(printable("\n".join(lines)), "$text-muted")
        self.query_one("#eval-how", Static).update(text)

    # Runs

    def action_run(self) -> None:
        self.start(self._begin(self._request), group="begin", exclusive=True)

    async def _begin(self, request: RunRequest) -> None:
        spec, cost = await self._model.prepare(request)
        if not await self._keys_agreed(spec):
            return
        for agent in cost.unpriced:
            if not await self._ask_price(agent):
                return
        if cost.unpriced:
            spec, cost = await self._model.prepare(request)
        if await self._cost_agreed(cost, f"{plural(spec.total, 'prompt')} in all."):
            await self._work_on(await begin(self.waltz.store, spec))

    async def _ask_price(self, agent: str) -> bool:
        """Ask what an agent costs, and store it; whether to go on."""
        hint = (
            "USD per 1M input and output tokens, e.g. 3,15. It is stored. 0,0: free. "
            "Empty: continue without a price."
        )
        dialog = f"What does {one_line(agent, 40)} cost?", hint
        while (text := await self.app.push_screen_wait(AskText(*dialog))) is not None:
            if not text:
                return True
            price = _parse_price(text)
            if price is not None:
                await self.waltz.store.answers.set_price(agent, price)
                return True
            self.notify("Enter two prices, e.g. 3,15.", markup=False)
        return False

    async def _cost_agreed(self, cost: Bill, text: str) -> bool:
        if cost.free:
            return True
        title = "Evaluate for money?" if cost.usd else "Evaluate?"
        dialog = ConfirmScreen(title, f"{cost.words()}\n{text}", [("y", "evaluate")])
        answer = await self.app.push_screen_wait(dialog)
        return bool(answer)

    async def _work_on(self, run: RunRow) -> None:
        self._model.shown_run = run.id
        self.action_results()
        await self._model.processes.start(run, self._process_ended)
        self.read_store()

    def _process_ended(self, run_id: int, status: int) -> None:
        if self.is_attached:
            self.read_store()
            if status:
                self.start(self._report_failure(run_id), group="failed")

    async def _report_failure(self, run_id: int) -> None:
        reason = await self._model.processes.failure(run_id)
        self.read_store()
        if reason:
            raise WaltzError(reason)

    def action_stop(self) -> None:
        if (run_id := self._model.shown_run) is not None:
            self.start(self._stop(run_id), group="stop")

    async def _stop(self, run_id: int) -> None:
        await self.waltz.store.runs.ask_to_stop(run_id)
        resume = press("go_on", "evaluate")
        self.notify(f"Run {run_id} is stopping; {resume} resumes it.", markup=False)

    def action_go_on(self) -> None:
        if self._model.results is not None:
            self.start(self._resume(self._model.results.run), group="begin", exclusive=True)

    async def _resume(self, run: RunRow) -> None:
        """Resume a run: the rest may cost, and more than when it began."""
        cost = await self._model.rest_of(run)
        left = f"{plural(cost.items - cost.kept, 'prompt')} left."
        if await self._keys_agreed(RunSpec.model_validate(run.spec)) and await self._cost_agreed(
            cost, left
        ):
            await self._work_on(run)

    async def _keys_agreed(self, spec: RunSpec) -> bool:
        """Whether the user approves every server to which the run sends a key."""
        uses = await self._model.unapproved_keys(spec)
        if uses:
            if not await self.app.push_screen_wait(key_question(uses)):
                return False
            await asyncio.to_thread(approve_all, uses)
        return True

    def action_open(self) -> None:
        def choose(name: str | None) -> None:
            if name is not None:
                self._model.shown_run = int(name)
                self._model.view = View()
                self._show_lists(False)
                self.read_store()

        self.app.push_screen(run_picker(self._model.runs, self._model.shown_run), choose)

    # Results

    def action_look(self) -> None:
        self._model.next_view()
        self._redraw()

    def action_categories(self) -> None:
        self._model.toggle_categories()
        # They come first, so they must be in view.
        self._results.figures.scroll_home(animate=False)
        self._redraw()

    def action_items(self) -> None:
        results = self._model.results
        if results is not None:
            last = len(results.spec.subjects) - 1
            self.app.push_screen(ItemsScreen(results, self._model.view.judge, last))

    def action_disputes(self) -> None:
        results = self._model.results
        if results is not None:
            before = results.hand
            self.app.push_screen(
                DisputesScreen(self.waltz.store, results),
                lambda _: self._show_settled(results, before),
            )

    def _show_settled(self, results: RunResults, before: Mapping[str, HandLabel]) -> None:
        """Show what the labels by hand have changed, if they differ from `before`."""
        if results.hand != before:
            self._model.view = replace(self._model.view, judge=results.main)
        self._redraw()

    def action_export(self) -> None:
        results = self._model.results
        if results is None:
            return

        def export(path: Path | None) -> None:
            if path is not None:
                self.start(self._export(path, results), group="export")

        run_id = results.run.id
        target = self.waltz.workspace.home / f"evaluation-{run_id}.html"
        self.app.push_screen(ExportTo(f"Export run {run_id}", target, _EXPORT_TYPES), export)

    async def _export(self, path: Path, results: RunResults) -> None:
        write = write_csv if path.suffix.lower() == ".csv" else write_report
        await asyncio.to_thread(write, path, results)
        self.notify(f"Written to {one_line(str(path))}.", markup=False)


def _parse_price(text: str) -> Price | None:
    """The price in `3,15`: USD per 1M input and output tokens."""
    try:
        read, written = (float(part) for part in text.split(","))
    except ValueError:
        return None
    return Price(read, written) if 0 <= read < 1e6 and 0 <= written < 1e6 else None
