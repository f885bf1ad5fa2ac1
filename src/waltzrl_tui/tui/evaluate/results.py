"""The results side of the Evaluate screen: figures as they come, items, disputes, export."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.errors import UsageError
from waltzrl_tui.evaluation.export import write_csv, write_report
from waltzrl_tui.evaluation.results import Results
from waltzrl_tui.store.evaluation_runs import HandLabel
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.ask_text import AskText
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.evaluate.disputes import DisputesScreen
from waltzrl_tui.tui.evaluate.items import ItemsScreen
from waltzrl_tui.tui.evaluate.lines import View, head_lines, result_lines
from waltzrl_tui.tui.evaluate.model import EvalBoard
from waltzrl_tui.tui.shell.keys import EMPTY
from waltzrl_tui.tui.shell.screen import WaltzScreen


class EvaluateResults(WaltzScreen):
    """Shows a run of the board: by which judge, on which suite, is a view that keys change."""

    def __init__(self) -> None:
        super().__init__()
        self._board = EvalBoard()
        self._view = View(None, "")
        self._pace: tuple[int, int, float] | None = None

    async def _draw(self) -> None:
        board, results = self._board, self._board.results
        head, figures = (
            self.query_one("#eval-head", Static),
            self.query_one("#eval-figures", Static),
        )
        main = self.query_one("#eval-main", Vertical)
        if results is None:
            main.border_title = "Results"
            head.update("")
            figures.update(Content.styled(EMPTY["evaluate.results"], "$text-muted"))
            return
        self._look_at(results)
        width = max(40, main.content_size.width - 2)
        left = self._seconds_left(results)
        head.update(head_lines(results, board.state, left, width))
        text = await asyncio.to_thread(result_lines, results, self._view, width)
        if not self.is_attached:
            return
        figures.update(text)
        suite = self._view.suite
        name = "all suites" if suite is None else results.spec.suites[suite].name
        if len(results.spec.suites) == 1:
            name = results.spec.suites[0].name
        main.border_title = Content(
            f"Run {results.run.id} · {one_line(name, 30)} · judge {one_line(self._view.judge, 30)}"
        )
        self.refresh_bindings()

    def _look_at(self, results: Results) -> None:
        """Keep the view on something that this run has."""
        view = self._view
        judge = view.judge if view.judge in results.judges else results.judges[0]
        suite = view.suite
        if suite is not None and suite >= len(results.spec.suites):
            suite = None
        self._view = View(suite, judge, view.categories)

    def _seconds_left(self, results: Results) -> float | None:
        done, run = len(results.items), results.run
        if self._board.state != "running":
            self._pace = None
            return None
        if self._pace is None or self._pace[0] != run.id:
            self._pace = (run.id, done, time.monotonic())
            return None
        _, before, began = self._pace
        if done == before:
            return None
        return (time.monotonic() - began) / (done - before) * (run.total - done)

    def action_look(self) -> None:
        """The next suite, and after the last one all together by the next judge."""
        results = self._board.results
        if results is None:
            return
        suites: list[int | None] = [None, *range(len(results.spec.suites))]
        if len(suites) == 2:
            suites = [None]
        views = [(suite, judge) for judge in results.judges for suite in suites]
        at = views.index((self._view.suite, self._view.judge))
        suite, judge = views[(at + 1) % len(views)]
        self._view = View(suite, judge, self._view.categories)
        self._redraw()

    def action_categories(self) -> None:
        self._view = View(self._view.suite, self._view.judge, not self._view.categories)
        # They stand first, where they are seen.
        self.query_one("#eval-results", VerticalScroll).scroll_home(animate=False)
        self._redraw()

    def _redraw(self) -> None:
        self.start(self._draw(), group="draw", exclusive=True)

    def action_items(self) -> None:
        results = self._board.results
        if results is not None:
            last = len(results.spec.subjects) - 1
            self.app.push_screen(ItemsScreen(results, self._view.judge, last))

    def action_disputes(self) -> None:
        results = self._board.results
        if results is not None:
            before = results.hand
            self.app.push_screen(
                DisputesScreen(self.waltz.store, results), lambda _: self._settled(results, before)
            )

    def _settled(self, results: Results, before: Mapping[str, HandLabel]) -> None:
        """Show what the labels by hand have come to, if they are others than before."""
        if results.hand != before:
            self._view = View(self._view.suite, results.main, self._view.categories)
        self._redraw()

    def action_export(self) -> None:
        results = self._board.results
        if results is None:
            return
        target = self.waltz.workspace.home / f"evaluation-{results.run.id}.html"
        hint = "The ending decides: .html is the report, which opens offline; .csv is every item."
        self.app.push_screen(
            AskText(f"Export run {results.run.id}", hint, str(target)),
            partial(self._exported, results),
        )

    def _exported(self, results: Results, name: str | None) -> None:
        if name:
            self.start(self._export(name, results), group="export")

    async def _export(self, name: str, results: Results) -> None:
        path = Path(name).expanduser().absolute()
        writers = {".html": write_report, ".csv": write_csv}
        if path.suffix.lower() not in writers:
            raise UsageError("The name must end in .html or .csv.")
        if await asyncio.to_thread(path.exists):
            question = ConfirmScreen(
                f"Replace {path.name}?", f"{path} is there already.", [("y", "replace it")]
            )
            if not await self.app.push_screen_wait(question):
                return
        await asyncio.to_thread(writers[path.suffix.lower()], path, results)
        self.notify(f"Written to {one_line(str(path))}.", markup=False)
