"""The pane that shows the results of a run."""

from __future__ import annotations

import asyncio

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from waltzrl_tui.evaluation.results import RunResults
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.evaluate.lines import head_lines, result_lines
from waltzrl_tui.tui.evaluate.model import EvaluateModel, View
from waltzrl_tui.tui.shell.keys import EMPTY


class ResultsPane(Vertical):
    """The progress of the run on top, its figures below."""

    def __init__(self, model: EvaluateModel, *, id: str) -> None:
        super().__init__(id=id, classes="pane")
        self._model = model

    def compose(self) -> ComposeResult:
        yield Static(id="eval-head", markup=False)
        with VerticalScroll(id="eval-results"):
            yield Static(id="eval-figures", markup=False)

    @property
    def figures(self) -> VerticalScroll:
        """The part that scrolls."""
        return self.query_one("#eval-results", VerticalScroll)

    async def draw(self) -> None:
        """Draw the results of the model's run by its view."""
        model, results = self._model, self._model.results
        head, figures = (
            self.query_one("#eval-head", Static),
            self.query_one("#eval-figures", Static),
        )
        if results is None:
            self.border_title = "RunResults"
            head.update("")
            figures.update(Content.styled(EMPTY["evaluate.results"], "$text-muted"))
            return
        view = model.keep_view(results)
        width = max(40, self.content_size.width - 2)
        head.update(head_lines(results, model.state, model.seconds_left(), width))
        text = await asyncio.to_thread(result_lines, results, view, width)
        if self.is_attached:
            figures.update(text)
            self.border_title = Content(_title(results, view))


def _title(results: RunResults, view: View) -> str:
    suites = results.spec.suites
    number = 0 if len(suites) == 1 else view.suite
    name = "all suites" if number is None else suites[number].name
    return f"Run {results.run.id} · {one_line(name, 30)} · judge {one_line(view.judge, 30)}"
